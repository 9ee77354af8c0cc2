//! Random values for the arguments of calls, by the names of the arguments: what an attacker would send.
//!
//! Calls that change something leave the seeded files as they are: they write below names of their own, or
//! pass the hash of another file.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::dice::Dice;
use super::library::{Library, SEEDER, SeededFile};
use crate::fixtures::{NO_HASH, sha256};

/// A value for an argument, mostly one about this file. A name that is not known here fails the test: add
/// what an attacker would send.
pub(super) fn value(
    library: &Library,
    dice: &mut Dice,
    name: &str,
    schema: &Value,
    file: &SeededFile,
) -> Value {
    if let Some(allowed) = schema["enum"].as_array() {
        let kind = file.path.split('/').nth(usize::from(file.path.starts_with("static/"))).map(Value::from);
        let fitting = kind.filter(|kind| allowed.contains(kind) && dice.often(70));
        return fitting.unwrap_or_else(|| dice.pick(allowed).clone());
    }
    match schema["type"].as_str() {
        Some("boolean") => return dice.often(60).into(),
        Some("integer") if name == "file_size" => return library.scratch_asset(&file.book).len().into(),
        Some("integer") => return (*dice.pick(&[1, 2, 1000, 0])).into(),
        _ => {}
    }
    match name {
        "book_id" => book_name(library, dice, &file.book),
        "user_id" => user_name(library, dice, file),
        "path" => path_name(library, dice, &file.path),
        "filename" => filename(&path_name(library, dice, &file.path)),
        "hash" | "expected_hash" | "if_none_match" | "sha256" | "manifest_hash" | "target_manifest_hash" => {
            hash(library, dice, file)
        }
        "pattern" if schema["description"].as_str().is_some_and(|about| about.contains("line")) => {
            (*dice.pick(&[".", "(?i)[a-z]", "^", "[0-9]", "(a+)+$", "("])).to_owned()
        }
        "pattern" | "path_glob" => pattern(library, dice, file),
        "since" | "until" => {
            (*dice.pick(&["2020-01-01T00:00:00Z", "2020-01-01T00:00:01Z", "2100-01-01T00:00:00Z", "now"]))
                .to_owned()
        }
        "agent_id" => (*dice.pick(&[SEEDER, "writer-7"])).to_owned(),
        "operation" => (*dice.pick(&["WRITE", "READ", "DELETE", "UPLOAD"])).to_owned(),
        "upload_id" => upload_id(library, dice, &file.book),
        "lines" => (*dice.pick(&["1", "1-", "1-2", "9-99"])).to_owned(),
        "section" => (*dice.pick(&["lesson", "Lesson", "no-such-section"])).to_owned(),
        "message" => format!("about {}", path_name(library, dice, &file.path)),
        "edits" => return edits(library, dice, file),
        "changes" => return changes(library, dice, file),
        "cursor" | "content" => String::new(),
        "binary_data" => BASE64_STANDARD.encode(library.scratch_asset(&file.book)),
        _ => panic!("the argument `{name}` needs random values"),
    }
    .into()
}

pub(super) fn book_name(library: &Library, dice: &mut Dice, fitting: &str) -> String {
    match dice.below(20) {
        0..14 => fitting.to_owned(),
        14..17 => dice.pick(&library.books).clone(),
        17 => library.near_miss(dice.pick::<String>(&library.books)),
        18 => (*dice.pick(&["scratch-book-1", "scratch-book-2"])).to_owned(),
        _ => "no-such-book".to_owned(),
    }
}

pub(super) fn user_name(library: &Library, dice: &mut Dice, file: &SeededFile) -> String {
    match dice.below(10) {
        0..6 => file.user.clone().unwrap_or_else(|| library.users[0].clone()),
        6..9 => dice.pick(&library.users).clone(),
        _ => library.near_miss(dice.pick::<String>(&library.users)),
    }
}

pub(super) fn path_name(library: &Library, dice: &mut Dice, fitting: &str) -> String {
    match dice.below(20) {
        0..10 => fitting.to_owned(),
        10..13 => library.near_miss(fitting),
        13..16 => library.near_miss(&dice.pick(&library.files).path),
        16 => "content/01-Part/01-Chapter".to_owned(),
        17 => format!("users/{}/{fitting}", dice.pick(&library.users)),
        18 => format!("{fitting}/more.md"),
        _ => "content/01-Part/01-Chapter/03-nothing.md".to_owned(),
    }
}

/// The part of a path that `asset_type` leaves to `filename`.
fn filename(path: &str) -> String {
    let rest = path.strip_prefix("content/").or_else(|| path.strip_prefix("static/img/"));
    rest.unwrap_or(path).to_owned()
}

pub(super) fn hash(library: &Library, dice: &mut Dice, file: &SeededFile) -> String {
    match dice.below(10) {
        0..6 => file.hash.clone(),
        6..8 => dice.pick(&library.files).hash.clone(),
        8 => dice.pick(&library.hashes()).clone(),
        _ => NO_HASH.to_owned(),
    }
}

/// Edits that fit no text: the words may be looked for, not replaced.
fn edits(library: &Library, dice: &mut Dice, file: &SeededFile) -> Value {
    let old = library.near_miss(&path_name(library, dice, &file.path));
    json!([{ "old_text": old, "new_text": "scratch" }])
}

/// Changes that leave the seeded files alone: of files of no marker, or with the hash of another file.
fn changes(library: &Library, dice: &mut Dice, file: &SeededFile) -> Value {
    let scratch = |n: usize| format!("content/01-Part/01-Chapter/9{n}-scratch.md");
    let n = dice.below(3);
    json!([
        { "op": "write", "path": scratch(n), "content": library.scratch_text(&file.book, None, n) },
        { "op": "edit", "path": path_name(library, dice, &file.path), "edits": edits(library, dice, file) },
        { "op": "move", "path": path_name(library, dice, &file.path), "to": scratch(3), "expected_hash": NO_HASH },
        { "op": "delete", "path": path_name(library, dice, &file.path), "expected_hash": NO_HASH },
    ])
}

fn upload_id(library: &Library, dice: &mut Dice, book: &str) -> String {
    let fitting: Vec<_> = library.uploads.iter().filter(|(of, _)| of == book).collect();
    let upload = if dice.often(80) { *dice.pick(&fitting) } else { dice.pick(&library.uploads) };
    upload.1.clone()
}

pub(super) fn pattern(library: &Library, dice: &mut Dice, file: &SeededFile) -> String {
    let patterns = ["**", "content/**/*.md", "**/0[34]-*", "users/**", "static/**", "*"];
    match dice.below(3) {
        0 => (*dice.pick(&patterns)).to_owned(),
        1 => file.path.clone(),
        _ => format!("{}*", library.near_miss(&file.path)),
    }
}

/// Makes a call that changes something leave the seeded files alone: half of them name one, with a hash
/// that it does not have; the others name files of no marker.
pub(super) fn spare_seeded_files(
    library: &Library,
    dice: &mut Dice,
    arguments: &mut Map<String, Value>,
    known: &Value,
) {
    let named = |name: &str, arguments: &Map<String, Value>| {
        arguments.get(name).and_then(Value::as_str).map(str::to_owned)
    };
    let (book, user) = (named("book_id", arguments).unwrap_or_default(), named("user_id", arguments));
    if arguments.contains_key("content") {
        let content = library.scratch_text(&book, user.as_deref(), dice.below(9));
        arguments.insert("content".to_owned(), content.into());
    }
    if arguments.contains_key("binary_data") {
        let bytes = BASE64_STANDARD.encode(library.scratch_asset(&book));
        arguments.insert("binary_data".to_owned(), bytes.into());
        if dice.often(80) {
            arguments.remove("file_size");
            arguments.remove("sha256");
        }
    }
    if known.get("expected_hash").is_some() && dice.often(50) {
        let path = named("path", arguments).or_else(|| named("filename", arguments)).unwrap_or_default();
        let other = dice.pick(&library.files);
        let other = if filename(&other.path) == filename(&path) { NO_HASH } else { &other.hash };
        arguments.insert("expected_hash".to_owned(), other.into());
        return;
    }
    arguments.remove("expected_hash");
    let n = dice.below(3);
    for (name, own) in [("path", "content/01-Part/01-Chapter/9"), ("filename", "scratch-")] {
        if arguments.contains_key(name) {
            let end = if name == "path" { "-scratch.md" } else { ".png" };
            arguments.insert(name.to_owned(), format!("{own}{n}{end}").into());
        }
    }
}

/// A cursor that the server accepts from this call, with a position of the caller's choice.
pub(super) fn forged_cursor(
    library: &Library,
    dice: &mut Dice,
    tool: &str,
    arguments: &Map<String, Value>,
    file: &SeededFile,
) -> String {
    let mut call = tool.to_owned();
    for (name, value) in arguments.iter().filter(|(name, _)| !["cursor", "limit"].contains(&name.as_str())) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if value != "false" {
            call.extend(["\0", name, "\0", &value]);
        }
    }
    let path = library.near_miss(&file.path);
    let at = *dice.pick(&[i64::MAX, 0]);
    let manifest = dice.pick(&library.hashes()).clone();
    let position = dice
        .pick(&[
            json!(path),
            json!({ "book": "aaa", "path": "content/A.md", "folder": null }),
            json!({ "book": file.book, "path": path, "folder": "content" }),
            json!({ "manifest": manifest, "path": "" }),
            json!({ "path": path, "until": at, "total": 5 }),
            json!({ "at": at, "id": "" }),
            json!({ "path": path, "before": at }),
        ])
        .to_string();
    format!("{}.{}", &sha256(call)[..12], BASE64_URL_SAFE_NO_PAD.encode(position))
}
