//! Rules of the workspace that no tool checks: layout, sizes, headings, names, pairs of migrations. Each
//! has a test that it holds here, and one that it can fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod rules;
mod workspace;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use rules::{
    CRATES, ENGINES, OPEN_ENDS, ambiguous_types, arrows_up, files_without_a_heading, lone_migrations,
    long_files, open_ends, vague_names,
};
use workspace::{folders, name, read, rust_files};

fn this_workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn assert_none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn every_arrow_points_down() {
    assert_none(&arrows_up(&this_workspace()));
}

#[test]
fn no_file_passes_five_hundred_lines() {
    assert_none(&long_files(&this_workspace()));
}

#[test]
fn every_file_says_at_its_top_what_lives_here() {
    assert_none(&files_without_a_heading(&this_workspace()));
}

#[test]
fn every_migration_exists_for_both_databases_and_both_ways() {
    assert_none(&lone_migrations(&this_workspace()));
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    assert_none(&vague_names(&this_workspace()));
}

#[test]
fn nothing_is_left_for_later_in_a_comment() {
    assert_none(&open_ends(&this_workspace()));
}

#[test]
fn no_name_means_two_types() {
    assert_none(&ambiguous_types(&this_workspace()));
}

#[test]
fn the_rules_look_at_all_crates() {
    let root = this_workspace();
    let crates: Vec<String> = folders(&root.join("crates")).iter().map(|folder| name(folder)).collect();
    assert_eq!(crates, ["cli", "client", "model", "server", "service", "store", "testkit"]);
    assert!(rust_files(&root, &["src"]).len() > 20);
}

// The rules can fail.

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A small workspace in a temporary folder that keeps every rule until an offence is planted.
struct Sample(PathBuf);

impl Sample {
    fn sound() -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let sample = Self(env::temp_dir().join(format!("panaversity-rules-{}-{count}", process::id())));
        for (folder, _, below, for_tests) in CRATES {
            let line = |to: &&str| format!("{to}.workspace = true\n");
            let manifest = format!(
                "[package]\nname = \"x\"\n\n[dependencies]\nserde = \"1\"\n{}\n[dev-dependencies]\n{}",
                below.iter().map(line).collect::<String>(),
                for_tests.iter().map(line).collect::<String>(),
            );
            sample.plant(&format!("crates/{folder}/Cargo.toml"), &manifest);
            sample.plant(&format!("crates/{folder}/src/lib.rs"), "//! A crate.\n");
        }
        for engine in ENGINES {
            for way in ["up", "down"] {
                sample
                    .plant(&format!("crates/store/migrations/{engine}/0001_first.{way}.sql"), "select 1;\n");
            }
        }
        sample
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

impl Drop for Sample {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn a_sound_workspace_has_no_offences() {
    let sample = Sample::sound();
    let rules = [
        arrows_up,
        long_files,
        files_without_a_heading,
        lone_migrations,
        vague_names,
        open_ends,
        ambiguous_types,
    ];
    for rule in rules {
        assert_none(&rule(&sample.0));
    }
}

#[test]
fn an_arrow_that_points_up_is_found_however_it_is_spelled() {
    for (folder, lines) in [
        ("model", "[dependencies]\npanaversity-store.workspace = true\n"),
        ("model", "[dependencies]\npanaversity-store = { path = \"../store\" }\n"),
        ("model", "[dependencies]\n\"panaversity-store\"={path=\"../store\"}\n"),
        ("model", "[dependencies]\nother = { package = \"panaversity-store\", path = \"../store\" }\n"),
        ("model", "[dependencies.panaversity-store]\npath = \"../store\"\n"),
        ("model", "[dependencies.other]\npackage = \"panaversity-store\"\n"),
        ("model", "[target.'cfg(unix)'.dependencies]\npanaversity-store.workspace = true # other\n"),
        ("model", "[build-dependencies]\npanaversity-store.workspace = true\n"),
        ("model", "[dev-dependencies]\npanaversity-testkit.workspace = true\n"),
        ("store", "[dependencies]\npanaversity-service.workspace = true\n"),
        ("store", "[dependencies]\npanaversity-testkit.workspace = true\n"),
        ("store", "[dev-dependencies]\npanaversity-service.workspace = true\n"),
        ("service", "[dependencies]\npanaversity-store.workspace = true\n"),
        ("service", "[dev-dependencies]\npanaversity-store.workspace = true\n"),
        ("service", "[dependencies]\npanaversity-fs.workspace = true\n"),
        ("testkit", "[dependencies]\npanaversity-service.workspace = true\n"),
        ("server", "[dependencies]\npanaversity-testkit.workspace = true\n"),
        ("server", "[dependencies]\npanaversity-store.workspace = true\n"),
        ("client", "[dependencies]\npanaversity-service.workspace = true\n"),
        ("server", "[dev-dependencies]\npanaversity-client.workspace = true\n"),
    ] {
        let sample = Sample::sound();
        sample.add(&format!("crates/{folder}/Cargo.toml"), lines);
        let offences = arrows_up(&sample.0);
        assert!(
            offences.len() == 1 && offences[0].starts_with(folder),
            "{folder}: {lines} gave {offences:?}"
        );
    }
}

#[test]
fn a_crate_beside_the_layout_is_found() {
    let sample = Sample::sound();
    sample.plant("crates/cellar/Cargo.toml", "[package]\nname = \"panaversity-cellar\"\n");
    assert_eq!(arrows_up(&sample.0), ["cellar: is no crate of the layout"]);
}

#[test]
fn a_file_of_five_hundred_and_one_lines_is_found() {
    for path in ["crates/model/src/deep/long.rs", "crates/store/tests/long.rs"] {
        let sample = Sample::sound();
        sample.plant(path, &format!("//! Long.\n{}", "\n".repeat(499)));
        assert_none(&long_files(&sample.0));
        sample.add(path, "\n");
        assert_eq!(long_files(&sample.0), [format!("{path}: 501 lines, at most 500")]);
    }
}

#[test]
fn a_file_without_a_heading_is_found() {
    let sample = Sample::sound();
    sample.plant("crates/service/src/deep/read.rs", "use std::fmt;\n//! Too late.\n");
    assert_eq!(
        files_without_a_heading(&sample.0),
        ["crates/service/src/deep/read.rs: does not open with `//!`"]
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
        let sample = Sample::sound();
        sample.remove(missing);
        assert_eq!(lone_migrations(&sample.0), [format!("{missing}: is missing")]);
    }
}

#[test]
fn a_migration_with_a_strange_name_or_a_taken_number_is_found() {
    for strange in
        ["0002_second.sql", "2_second.up.sql", "0002-second.up.sql", "0002_Second.up.sql", "notes.md"]
    {
        let sample = Sample::sound();
        sample.plant(&format!("crates/store/migrations/postgres/{strange}"), "");
        assert_eq!(lone_migrations(&sample.0).len(), 1, "{strange}");
    }
    let sample = Sample::sound();
    for engine in ENGINES {
        for way in ["up", "down"] {
            sample.plant(&format!("crates/store/migrations/{engine}/0001_other.{way}.sql"), "");
        }
    }
    assert_eq!(lone_migrations(&sample.0), ["0001_first and 0001_other: share a number"]);
}

#[test]
fn a_workspace_without_migrations_is_found() {
    let sample = Sample::sound();
    fs::remove_dir_all(sample.0.join("crates/store/migrations")).unwrap();
    assert_eq!(lone_migrations(&sample.0), ["crates/store/migrations: holds no migration"]);
}

#[test]
fn a_name_that_says_nothing_is_found() {
    for path in [
        "crates/model/src/utils.rs",
        "crates/server/src/mcp/helpers.rs",
        "crates/store/tests/common/mod.rs",
        "crates/service/src/manager.rs",
    ] {
        let sample = Sample::sound();
        sample.plant(path, "//! Anything.\n");
        let offences = vague_names(&sample.0);
        assert!(offences.len() == 1 && offences[0].starts_with(path), "{path} gave {offences:?}");
    }
}

#[test]
fn a_comment_that_puts_work_off_is_found() {
    for mark in OPEN_ENDS {
        for path in ["crates/model/src/lib.rs", "crates/store/migrations/sqlite/0001_first.up.sql"] {
            let sample = Sample::sound();
            sample.add(path, &format!("-- {mark}: later\n"));
            assert_eq!(open_ends(&sample.0), [format!("{path}:2: -- {mark}: later")]);
        }
    }
}

#[test]
fn two_types_of_one_name_are_found() {
    for (first, second) in [
        (("model/src/a.rs", "pub struct Entry {"), ("store/src/b.rs", "pub enum Entry {")),
        (("server/src/a.rs", "struct Link;"), ("server/src/deep/b.rs", "    pub(crate) trait Link {}")),
        (("service/src/a.rs", "pub(crate) enum Step {}"), ("service/tests/b.rs", "type Step = u8;")),
        (("client/src/a.rs", "pub struct Plan<T> {"), ("service/src/a.rs", "pub type Plan = u8;")),
    ] {
        let sample = Sample::sound();
        for (path, line) in [first, second] {
            sample.plant(&format!("crates/{path}"), &format!("//! A file.\n\n{line}\n"));
        }
        let offences = ambiguous_types(&sample.0);
        assert!(offences.len() == 1 && offences[0].contains("is declared in"), "{first:?} gave {offences:?}");
    }
    let sample = Sample::sound();
    for folder in ["model", "store"] {
        let text =
            "//! A file.\n\nstruct Link;\nimpl X for Link {\n    type Error = ();\n}\n// pub struct Link\n";
        sample.plant(&format!("crates/{folder}/src/a.rs"), text);
    }
    assert_none(&ambiguous_types(&sample.0));
}
