//! Merges of edits that lie apart are those of `git merge-file`.

use panaversity_model::merge::{Merge, merge};
use proptest::prelude::*;

use crate::repository::git;

/// Changes at lines of a text, as replacement of some lines by others.
fn edited(lines: &[String], edits: &[(usize, usize, Vec<u8>)], tag: &str) -> String {
    let mut result = lines.to_vec();
    for (at, removed, added) in edits.iter().rev() {
        let added = added.iter().map(|n| format!("{tag} {n}\n"));
        result.splice(*at..at + removed, added);
    }
    result.concat()
}

/// Edits at least four lines of the base apart, so that three unchanged ones are between them, dealt to
/// two sides.
fn any_edits() -> impl Strategy<Value = (Vec<String>, String, String)> {
    let edit = (3usize..9, 0usize..3, prop::collection::vec(0u8..4, 0..3), prop::bool::ANY);
    (prop::collection::vec(edit, 1..8), 0u8..4).prop_map(|(edits, kinds)| {
        let (mut at, mut ours, mut theirs) = (0, Vec::new(), Vec::new());
        for (gap, removed, added, is_ours) in edits {
            at += gap;
            if is_ours { &mut ours } else { &mut theirs }.push((at, removed, added));
            at += removed;
        }
        let line = |n: usize| match kinds {
            0 => format!("line {n}\n"),
            1 => format!("line {}\n", n % 3),
            2 if n % 2 == 1 => "\n".to_owned(),
            _ => format!("{}item {}\n", " ".repeat(n % 3), n % 5),
        };
        let lines: Vec<String> = (0..at + 4).map(line).collect();
        let (current, new) = (edited(&lines, &ours, "ours"), edited(&lines, &theirs, "theirs"));
        (lines, current, new)
    })
}

fn git_merge_file(base: &str, current: &str, new: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("base", base), ("current", current), ("new", new)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let output = git(folder.path(), &["merge-file", "-p", "current", "base", "new"]);
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn edits_three_lines_apart_merge_as_git_merges_them((lines, current, new) in any_edits()) {
        let base = lines.concat();
        let expected = git_merge_file(&base, &current, &new);
        let merged = match merge(&base, &current, &new) {
            Merge::Clean(text) => Some(text),
            Merge::Conflicts(_) => None,
        };
        prop_assert_eq!(merged, expected);
    }
}
