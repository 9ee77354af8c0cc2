//! The rules: each looks at the folder of a workspace and returns its offences, one line each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::workspace::{dependencies, files, files_below, folders, name, read, rust_files, shown, step};

/// A crate's folder and package, the packages of ours that it may use, and those its tests may use
/// beside them. Which crate may use which foreign one stands in `deny.toml`.
pub(crate) const CRATES: [(&str, &str, &[&str], &[&str]); 7] = [
    ("model", "panaversity-model", &[], &[]),
    ("store", "panaversity-store", &["panaversity-model"], &["panaversity-testkit"]),
    ("service", "panaversity-service", &["panaversity-model"], &["panaversity-testkit"]),
    ("server", "panaversity-server", &["panaversity-model", "panaversity-service"], &["panaversity-testkit"]),
    ("client", "panaversity-client", &["panaversity-model"], &["panaversity-testkit"]),
    (
        "cli",
        "panaversity-fs",
        &[
            "panaversity-client",
            "panaversity-model",
            "panaversity-server",
            "panaversity-service",
            "panaversity-store",
        ],
        &["panaversity-testkit"],
    ),
    ("testkit", "panaversity-testkit", &["panaversity-model", "panaversity-store"], &[]),
];
/// The folders of a crate that hold Rust.
const ALL: [&str; 4] = ["src", "tests", "benches", "examples"];
const LONGEST: usize = 500;
const VAGUE: [&str; 7] = ["util", "utils", "helper", "helpers", "common", "manager", "managers"];
/// In two halves, so that this file keeps its own rule.
pub(crate) const OPEN_ENDS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
pub(crate) const ENGINES: [&str; 2] = ["sqlite", "postgres"];

pub(crate) fn arrows_up(root: &Path) -> Vec<String> {
    let mut offences = Vec::new();
    for folder in folders(&root.join("crates")) {
        let here = name(&folder);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        let Some((.., below, for_tests)) = CRATES.iter().find(|(known, ..)| *known == here) else {
            offences.push(format!("{here}: is no crate of the layout"));
            continue;
        };
        for (kind, dependency) in dependencies(&manifest) {
            let dependency = dependency.as_str();
            let is_ours = CRATES.iter().any(|(_, package, ..)| *package == dependency);
            let is_allowed = below.contains(&dependency)
                || (kind == "dev-dependencies" && for_tests.contains(&dependency));
            if is_ours && !is_allowed {
                offences.push(format!("{here}: [{kind}] points up to {dependency}"));
            }
        }
    }
    offences
}

pub(crate) fn long_files(root: &Path) -> Vec<String> {
    rust_files(root, &ALL)
        .into_iter()
        .filter_map(|file| {
            let lines = read(&file).lines().count();
            (lines > LONGEST).then(|| format!("{}: {lines} lines, at most {LONGEST}", shown(root, &file)))
        })
        .collect()
}

pub(crate) fn files_without_a_heading(root: &Path) -> Vec<String> {
    rust_files(root, &ALL)
        .into_iter()
        .filter(|file| !read(file).starts_with("//!"))
        .map(|file| format!("{}: does not open with `//!`", shown(root, &file)))
        .collect()
}

pub(crate) fn lone_migrations(root: &Path) -> Vec<String> {
    let migrations = root.join("crates/store/migrations");
    let mut offences = Vec::new();
    let mut steps = BTreeSet::new();
    for engine in ENGINES {
        for file in files(&migrations.join(engine)) {
            match step(&name(&file)) {
                Some(step) => _ = steps.insert(step),
                None => offences.push(format!(
                    "{}: must be named NNNN_name.up.sql or NNNN_name.down.sql",
                    shown(root, &file)
                )),
            }
        }
    }
    for step in &steps {
        for engine in ENGINES {
            for way in ["up", "down"] {
                let file = migrations.join(engine).join(format!("{step}.{way}.sql"));
                if !file.is_file() {
                    offences.push(format!("{}: is missing", shown(root, &file)));
                }
            }
        }
    }
    for (one, next) in steps.iter().zip(steps.iter().skip(1)) {
        if one[..4] == next[..4] {
            offences.push(format!("{one} and {next}: share a number"));
        }
    }
    if steps.is_empty() {
        offences.push("crates/store/migrations: holds no migration".to_owned());
    }
    offences
}

pub(crate) fn vague_names(root: &Path) -> Vec<String> {
    rust_files(root, &ALL)
        .into_iter()
        .map(|file| shown(root, &file))
        .filter(|path| path.split('/').any(|part| VAGUE.contains(&part.trim_end_matches(".rs"))))
        .map(|path| format!("{path}: a name that does not say what the file is"))
        .collect()
}

pub(crate) fn open_ends(root: &Path) -> Vec<String> {
    let mut offences = Vec::new();
    for file in files_below(&root.join("crates")) {
        if !["rs", "toml", "sql"].iter().any(|end| file.extension().is_some_and(|has| has == *end)) {
            continue;
        }
        for (number, line) in read(&file).lines().enumerate() {
            if OPEN_ENDS.iter().any(|mark| line.contains(mark)) {
                offences.push(format!("{}:{}: {}", shown(root, &file), number + 1, line.trim()));
            }
        }
    }
    offences
}

/// Types of one name: two public ones in the workspace, or two of any visibility in one crate. One name
/// means one thing.
pub(crate) fn ambiguous_types(root: &Path) -> Vec<String> {
    let (mut public, mut of_crate) = (Types::new(), Types::new());
    for file in rust_files(root, &ALL) {
        let place = shown(root, &file);
        let folder = place.split('/').nth(1).unwrap_or_default().to_owned();
        for (is_public, name) in read(&file).lines().filter_map(declared_type) {
            if is_public && place.contains("/src/") {
                public.entry((String::new(), name.to_owned())).or_default().push(place.clone());
            }
            of_crate.entry((folder.clone(), name.to_owned())).or_default().push(place.clone());
        }
    }
    let twice = of_crate.into_iter().chain(public).filter(|(_, places)| places.len() > 1);
    twice.map(|((_, name), places)| format!("{name}: is declared in {}", places.join(" and "))).collect()
}

/// By crate (empty: all) and name, the files that declare it.
type Types = BTreeMap<(String, String), Vec<String>>;

/// The type that a line declares, and whether it is `pub`. Associated types, which stand indented, do
/// not count.
fn declared_type(line: &str) -> Option<(bool, &str)> {
    let text = line.trim_start();
    let visibility = if text.starts_with("pub") { text.find([' ', '(']).unwrap_or(0) } else { 0 };
    let is_public = visibility > 0 && text[visibility..].starts_with(' ');
    let text = match text.strip_prefix("pub(") {
        Some(rest) => rest.split_once(") ")?.1,
        None => text.strip_prefix("pub ").unwrap_or(text),
    };
    let (keyword, rest) = text.split_once(' ')?;
    let declares = matches!(keyword, "struct" | "enum" | "trait" | "union")
        || (keyword == "type" && !line.starts_with(' '));
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    (declares && end > 0 && rest.starts_with(char::is_uppercase)).then(|| (is_public, &rest[..end]))
}
