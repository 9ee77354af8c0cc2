//! The rules of the house (design: arrows, sizes, headings, pairs), each with a proof that it can
//! fail. A rule looks at a workspace folder and returns its offences, one line each.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may give up loudly")]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

const OURS: [&str; 5] = [
    "panaversity-model",
    "panaversity-service",
    "panaversity-store",
    "panaversity-testkit",
    "panaversity-fs",
];
/// A room, the rooms it may stand on, and those its tests may use as well.
const ARROWS: [(&str, &[&str], &[&str]); 5] = [
    ("model", &[], &[]),
    ("store", &["panaversity-model"], &["panaversity-testkit"]),
    ("service", &["panaversity-model"], &["panaversity-testkit"]),
    ("server", &["panaversity-model", "panaversity-service", "panaversity-store"], &["panaversity-testkit"]),
    ("testkit", &["panaversity-model"], &[]),
];
/// What only one room may know, in its tests too.
const KNOWN_ONLY_BY: [(&str, &str); 5] =
    [("sqlx", "store"), ("opendal", "store"), ("axum", "server"), ("rmcp", "server"), ("clap", "server")];
const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
const LONGEST: usize = 500;
const VAGUE: [&str; 7] = ["util", "utils", "helper", "helpers", "common", "manager", "managers"];
/// In two halves, so that this file keeps its own rule.
const OPEN_ENDS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
const ENGINES: [&str; 2] = ["sqlite", "postgres"];

// The rules.

fn arrows_up(root: &Path) -> Vec<String> {
    let mut offences = Vec::new();
    for folder in folders(&root.join("crates")) {
        let here = name(&folder);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        let Some((_, rooms, for_tests)) = ARROWS.iter().find(|(known, ..)| *known == here) else {
            offences.push(format!("{here}: the house has no such room"));
            continue;
        };
        for (kind, dependency) in dependencies(&manifest) {
            let dependency = dependency.as_str();
            let may_point = rooms.contains(&dependency)
                || (kind == "dev-dependencies" && for_tests.contains(&dependency));
            if OURS.contains(&dependency) && !may_point {
                offences.push(format!("{here}: [{kind}] points up to {dependency}"));
            }
            if let Some((_, owner)) = KNOWN_ONLY_BY.iter().find(|(known, _)| *known == dependency)
                && *owner != here
            {
                offences.push(format!("{here}: [{kind}] knows {dependency}, which only {owner} may know"));
            }
        }
    }
    offences
}

fn long_files(root: &Path) -> Vec<String> {
    rust_files(root, &["src", "tests"])
        .into_iter()
        .filter_map(|file| {
            let lines = read(&file).lines().count();
            (lines > LONGEST).then(|| format!("{}: {lines} lines, at most {LONGEST}", shown(root, &file)))
        })
        .collect()
}

fn files_without_a_heading(root: &Path) -> Vec<String> {
    rust_files(root, &["src"])
        .into_iter()
        .filter(|file| !read(file).starts_with("//!"))
        .map(|file| format!("{}: does not open with `//!`", shown(root, &file)))
        .collect()
}

fn lone_migrations(root: &Path) -> Vec<String> {
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

fn vague_names(root: &Path) -> Vec<String> {
    rust_files(root, &["src", "tests"])
        .into_iter()
        .map(|file| shown(root, &file))
        .filter(|path| path.split('/').any(|part| VAGUE.contains(&part.trim_end_matches(".rs"))))
        .map(|path| format!("{path}: a name that says nothing about what lives here"))
        .collect()
}

fn open_ends(root: &Path) -> Vec<String> {
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

// Reading a workspace.

/// Kind and package name of each dependency in a `Cargo.toml`, renamed ones by their real name.
fn dependencies(manifest: &str) -> Vec<(&'static str, String)> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    let mut section = None;
    let mut in_table = false;
    for line in manifest.lines().map(|line| line.split(" #").next().unwrap_or_default().trim()) {
        if let Some(header) = line.strip_prefix('[') {
            let parts: Vec<&str> = header.trim_end_matches(']').split('.').map(str::trim).collect();
            let at = parts.iter().position(|part| KINDS.contains(part));
            section = at.and_then(|at| KINDS.into_iter().find(|kind| *kind == parts[at]));
            let table = at.and_then(|at| parts.get(at + 1));
            in_table = table.is_some();
            if let (Some(kind), Some(table)) = (section, table) {
                found.push((kind, table.trim_matches(['"', '\'']).to_owned()));
            }
            continue;
        }
        let Some(kind) = section.filter(|_| !line.is_empty() && !line.starts_with('#')) else { continue };
        if !in_table {
            let end = line.find([' ', '.', '=']).unwrap_or(line.len());
            found.push((kind, line[..end].trim_matches(['"', '\'']).to_owned()));
        }
        if let Some(real) = renamed(line, in_table) {
            found.push((kind, real));
        }
    }
    found
}

/// The value of `package = "..."`, in a table of its own or inline.
fn renamed(line: &str, in_table: bool) -> Option<String> {
    let (before, after) = line.split_once("package")?;
    let is_key = if in_table { before.is_empty() } else { before.trim_end().ends_with(['{', ',']) };
    let value = after.trim_start().strip_prefix('=')?.trim_start().strip_prefix('"')?;
    is_key.then(|| value.split('"').next().unwrap_or_default().to_owned())
}

/// `NNNN_name` of a migration file.
fn step(file: &str) -> Option<String> {
    let step = file.strip_suffix(".up.sql").or_else(|| file.strip_suffix(".down.sql"))?;
    let (number, name) = step.split_once('_')?;
    let numbered = number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit());
    let named =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    (numbered && named).then(|| step.to_owned())
}

fn rust_files(root: &Path, below: &[&str]) -> Vec<PathBuf> {
    let crates = folders(&root.join("crates"));
    let mut found: Vec<PathBuf> = crates
        .iter()
        .flat_map(|room| below.iter().map(move |part| room.join(part)))
        .flat_map(|folder| files_below(&folder))
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        .collect();
    found.sort();
    found
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = files(folder);
    for inner in folders(folder) {
        found.extend(files_below(&inner));
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_file()).collect()
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_dir() && name(path) != "target").collect()
}

/// What lies in a folder, by name; nothing where there is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn shown(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).to_string_lossy().into_owned()
}

// This house keeps its rules.

fn this_house() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn assert_none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn every_arrow_points_down() {
    assert_none(&arrows_up(&this_house()));
}

#[test]
fn no_file_passes_five_hundred_lines() {
    assert_none(&long_files(&this_house()));
}

#[test]
fn every_file_says_at_its_top_what_lives_here() {
    assert_none(&files_without_a_heading(&this_house()));
}

#[test]
fn every_migration_exists_for_both_databases_and_both_ways() {
    assert_none(&lone_migrations(&this_house()));
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    assert_none(&vague_names(&this_house()));
}

#[test]
fn nothing_is_left_for_later_in_a_comment() {
    assert_none(&open_ends(&this_house()));
}

#[test]
fn the_rules_look_at_all_five_rooms() {
    let root = this_house();
    let rooms: Vec<String> = folders(&root.join("crates")).iter().map(|folder| name(folder)).collect();
    assert_eq!(rooms, ["model", "server", "service", "store", "testkit"]);
    assert!(rust_files(&root, &["src"]).len() > 20);
}

// The rules can fail.

static HOUSES: AtomicUsize = AtomicUsize::new(0);

/// A small house in a temporary folder that keeps every rule until an offence is planted.
struct House(PathBuf);

impl House {
    fn sound() -> Self {
        let count = HOUSES.fetch_add(1, Ordering::Relaxed);
        let house = Self(env::temp_dir().join(format!("panaversity-house-{}-{count}", process::id())));
        for (room, rooms, for_tests) in ARROWS {
            let line = |to: &&str| format!("{to}.workspace = true\n");
            let manifest = format!(
                "[package]\nname = \"x\"\n\n[dependencies]\nserde = \"1\"\n{}\n[dev-dependencies]\n{}",
                rooms.iter().map(line).collect::<String>(),
                for_tests.iter().map(line).collect::<String>(),
            );
            house.plant(&format!("crates/{room}/Cargo.toml"), &manifest);
            house.plant(&format!("crates/{room}/src/lib.rs"), "//! A room.\n");
        }
        for engine in ENGINES {
            for way in ["up", "down"] {
                house.plant(&format!("crates/store/migrations/{engine}/0001_first.{way}.sql"), "select 1;\n");
            }
        }
        house
    }

    fn plant(&self, path: &str, text: &str) {
        let file = self.0.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn add(&self, path: &str, text: &str) {
        let before = read(&self.0.join(path));
        self.plant(path, &format!("{before}{text}"));
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.0.join(path)).unwrap();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn a_sound_house_has_no_offences() {
    let house = House::sound();
    let rules = [arrows_up, long_files, files_without_a_heading, lone_migrations, vague_names, open_ends];
    for rule in rules {
        assert_none(&rule(&house.0));
    }
}

#[test]
fn an_arrow_that_points_up_is_found_however_it_is_spelled() {
    for (room, lines) in [
        ("model", "[dependencies]\npanaversity-store.workspace = true\n"),
        ("model", "[dependencies]\npanaversity-store = { path = \"../store\" }\n"),
        ("model", "[dependencies]\n\"panaversity-store\"={path=\"../store\"}\n"),
        ("model", "[dependencies]\nmatter = { package = \"panaversity-store\", path = \"../store\" }\n"),
        ("model", "[dependencies.panaversity-store]\npath = \"../store\"\n"),
        ("model", "[dependencies.matter]\npackage = \"panaversity-store\"\n"),
        ("model", "[target.'cfg(unix)'.dependencies]\npanaversity-store.workspace = true # matter\n"),
        ("model", "[build-dependencies]\npanaversity-store.workspace = true\n"),
        ("model", "[dev-dependencies]\npanaversity-testkit.workspace = true\n"),
        ("store", "[dependencies]\npanaversity-service.workspace = true\n"),
        ("store", "[dependencies]\npanaversity-testkit.workspace = true\n"),
        ("store", "[dev-dependencies]\npanaversity-service.workspace = true\n"),
        ("service", "[dependencies]\npanaversity-store.workspace = true\n"),
        ("service", "[dev-dependencies]\npanaversity-store.workspace = true\n"),
        ("service", "[dependencies]\npanaversity-fs.workspace = true\n"),
        ("testkit", "[dependencies]\npanaversity-store.workspace = true\n"),
        ("server", "[dependencies]\npanaversity-testkit.workspace = true\n"),
        ("service", "[dependencies]\nsqlx.workspace = true\n"),
        ("server", "[dev-dependencies]\nsqlx.workspace = true\n"),
        ("service", "[dependencies]\nopendal = \"0.59\"\n"),
        ("store", "[dependencies]\naxum.workspace = true\n"),
        ("service", "[dependencies]\nrmcp.workspace = true\n"),
        ("testkit", "[dependencies]\nclap.workspace = true\n"),
    ] {
        let house = House::sound();
        house.add(&format!("crates/{room}/Cargo.toml"), lines);
        let offences = arrows_up(&house.0);
        assert!(offences.len() == 1 && offences[0].starts_with(room), "{room}: {lines} gave {offences:?}");
    }
}

#[test]
fn a_room_without_a_place_is_found() {
    let house = House::sound();
    house.plant("crates/cellar/Cargo.toml", "[package]\nname = \"panaversity-cellar\"\n");
    assert_eq!(arrows_up(&house.0), ["cellar: the house has no such room"]);
}

#[test]
fn a_file_of_five_hundred_and_one_lines_is_found() {
    for path in ["crates/model/src/deep/long.rs", "crates/store/tests/long.rs"] {
        let house = House::sound();
        house.plant(path, &format!("//! Long.\n{}", "\n".repeat(499)));
        assert_none(&long_files(&house.0));
        house.add(path, "\n");
        assert_eq!(long_files(&house.0), [format!("{path}: 501 lines, at most 500")]);
    }
}

#[test]
fn a_file_without_a_heading_is_found() {
    let house = House::sound();
    house.plant("crates/service/src/acts/read.rs", "use std::fmt;\n//! Too late.\n");
    assert_eq!(
        files_without_a_heading(&house.0),
        ["crates/service/src/acts/read.rs: does not open with `//!`"]
    );
}

#[test]
fn a_migration_without_its_twin_or_its_way_back_is_found() {
    for missing in [
        "crates/store/migrations/sqlite/0001_first.up.sql",
        "crates/store/migrations/sqlite/0001_first.down.sql",
        "crates/store/migrations/postgres/0001_first.up.sql",
        "crates/store/migrations/postgres/0001_first.down.sql",
    ] {
        let house = House::sound();
        house.remove(missing);
        assert_eq!(lone_migrations(&house.0), [format!("{missing}: is missing")]);
    }
}

#[test]
fn a_migration_with_a_strange_name_or_a_taken_number_is_found() {
    for strange in
        ["0002_second.sql", "2_second.up.sql", "0002-second.up.sql", "0002_Second.up.sql", "notes.md"]
    {
        let house = House::sound();
        house.plant(&format!("crates/store/migrations/postgres/{strange}"), "");
        assert_eq!(lone_migrations(&house.0).len(), 1, "{strange}");
    }
    let house = House::sound();
    for engine in ENGINES {
        for way in ["up", "down"] {
            house.plant(&format!("crates/store/migrations/{engine}/0001_other.{way}.sql"), "");
        }
    }
    assert_eq!(lone_migrations(&house.0), ["0001_first and 0001_other: share a number"]);
}

#[test]
fn a_house_without_migrations_is_found() {
    let house = House::sound();
    fs::remove_dir_all(house.0.join("crates/store/migrations")).unwrap();
    assert_eq!(lone_migrations(&house.0), ["crates/store/migrations: holds no migration"]);
}

#[test]
fn a_name_that_says_nothing_is_found() {
    for path in [
        "crates/model/src/utils.rs",
        "crates/server/src/mcp/helpers.rs",
        "crates/store/tests/common/mod.rs",
        "crates/service/src/manager.rs",
    ] {
        let house = House::sound();
        house.plant(path, "//! Anything.\n");
        let offences = vague_names(&house.0);
        assert!(offences.len() == 1 && offences[0].starts_with(path), "{path} gave {offences:?}");
    }
}

#[test]
fn a_comment_that_puts_work_off_is_found() {
    for mark in OPEN_ENDS {
        for path in ["crates/model/src/lib.rs", "crates/store/migrations/sqlite/0001_first.up.sql"] {
            let house = House::sound();
            house.add(path, &format!("-- {mark}: later\n"));
            assert_eq!(open_ends(&house.0), [format!("{path}:2: -- {mark}: later")]);
        }
    }
}
