//! Paths, book ids, user ids and schemas. Laws: what parses keeps its text and the rules of the contract;
//! an id is accepted exactly if its characters and length are; whatever `strict` admits `docusaurus` admits
//! too; a suggested name is admitted.

#![no_main]

use libfuzzer_sys::fuzz_target;
use panaversity_model::path::{MAX_BYTES, Prefix};
use panaversity_model::{BookId, BookPath, Refusal, Schema, UserId};

fuzz_target!(|text: &str| {
    check_ids(text);
    if let Some((prefix, path)) = text.split_once('\n')
        && let Some(prefix) = Prefix::parse(prefix)
    {
        let (from, to) = prefix.range();
        let is_inside = path >= from && to.is_none_or(|to| path < to.as_str());
        assert_eq!(is_inside, path.starts_with(from));
    }
    if let Ok(path) = BookPath::parse(text) {
        check_path(text, &path);
    }
});

fn check_ids(text: &str) {
    let is_book = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_book = text.chars().all(is_book) && (3..=50).contains(&text.len());
    let book = BookId::parse(text);
    assert_eq!(book.is_ok(), is_book);
    assert!(book.is_err() || book.is_ok_and(|book| book.as_str() == text));
    let is_user = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_user = text.chars().all(is_user) && (1..=100).contains(&text.len()) && text != "__base__";
    let user = UserId::parse(text);
    assert_eq!(user.is_ok(), is_user);
    assert!(user.is_err() || user.is_ok_and(|user| user.as_str() == text));
}

fn check_path(text: &str, path: &BookPath) {
    assert_eq!(path.as_str(), text);
    assert!(!text.is_empty() && text.len() <= MAX_BYTES);
    assert!(!text.starts_with(['/', '~']) && !text.contains(['\\', '%']) && !text.contains(char::is_control));
    assert!(path.segments().all(|segment| !matches!(segment, "" | "." | "..")));
    assert!(path.segments().next() != Some("users"));
    assert_eq!([path.folder(), path.name()].join("/").trim_start_matches('/'), text);
    // Names that differ by case are refused by this form: it must not depend on the case it started from.
    if let Ok(folded) = BookPath::parse(&path.folded()) {
        assert_eq!(folded.folded(), path.folded());
    }
    for schema in [Schema::Strict, Schema::Docusaurus] {
        match schema.admit(path) {
            Ok(()) => check_admitted(schema, path),
            Err(Refusal::SchemaViolation { suggestion, why, .. }) => {
                assert!(!why.is_empty());
                if let Some(name) = suggestion {
                    let name = BookPath::parse(&name).expect("a suggested name is a path");
                    assert!(schema.admit(&name).is_ok() && name != *path, "{name}");
                }
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn check_admitted(schema: Schema, path: &BookPath) {
    let text = path.as_str();
    assert!(text.starts_with("content/") || text.starts_with("static/"));
    assert!(!text.contains(['#', '?', '[', ']', '!', '<', '>', ':', '"', '|', '*']));
    for segment in path.segments() {
        assert!(!segment.ends_with('.') && !segment.ends_with(char::is_whitespace));
    }
    if schema == Schema::Strict {
        assert!(Schema::Docusaurus.admit(path).is_ok());
        assert!(path.is_asset() || path.is_page());
    }
}
