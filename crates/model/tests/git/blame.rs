//! Blame attributes the lines of a history as `git blame` does. Where hardly any line differs from the
//! others, several attributions are as good, and git may choose another one.

use std::collections::HashMap;
use std::fs;

use panaversity_model::blame::Blame;
use proptest::prelude::*;

use crate::repository::{git, text};
use crate::texts::{any_page, any_page_edit, edited_page};

/// For each line the number of the version that wrote it last, 0 the newest, by git.
fn git_blame(versions: &[String]) -> Vec<usize> {
    let folder = tempfile::tempdir().unwrap();
    text(git(folder.path(), &["init", "-q"]));
    let mut commits = HashMap::new();
    for (index, version) in versions.iter().enumerate() {
        fs::write(folder.path().join("file"), version).unwrap();
        text(git(folder.path(), &["add", "file"]));
        text(git(folder.path(), &["commit", "-q", "--allow-empty", "-m", "a version"]));
        let commit = text(git(folder.path(), &["rev-parse", "HEAD"]));
        commits.insert(commit.trim().to_owned(), versions.len() - 1 - index);
    }
    let blame = text(git(folder.path(), &["blame", "--porcelain", "file"]));
    // A line of the file is announced by: commit, its line there, its line here, and for a new run its length.
    let announced = blame.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let commit = commits.get(fields.next()?)?;
        fields.next()?.parse::<usize>().ok()?;
        Some(*commit)
    });
    announced.collect()
}

fn our_blame(versions: &[String]) -> Vec<usize> {
    let (newest, older) = versions.split_last().unwrap();
    let mut blame = Blame::of(newest.clone(), 0..usize::MAX);
    older.iter().rev().for_each(|text| blame.compare(text.clone()));
    blame.end();
    blame.runs().into_iter().flat_map(|run| run.lines.map(move |_| run.version)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_lines_of_a_history_belong_to_the_versions_that_git_blames(
        first in any_page(), edits in prop::collection::vec(any_page_edit(), 1..8),
    ) {
        let mut versions = vec![first];
        for (round, edit) in edits.iter().enumerate() {
            versions.push(edited_page(versions.last().unwrap(), round, edit));
        }
        // Equal neighbours are no versions, and git has no commit for them.
        versions.dedup();
        prop_assert_eq!(our_blame(&versions), git_blame(&versions), "{:?}", versions);
    }
}

#[test]
fn the_lines_of_a_long_text_belong_to_the_versions_that_git_blames() {
    let mut versions = vec![(0..2_000).map(|n| format!("line {}\n", n % 37)).collect::<Vec<_>>().concat()];
    for round in 0..12usize {
        let mut lines: Vec<String> =
            versions.last().unwrap().split_inclusive('\n').map(str::to_owned).collect();
        let at = (round * 977) % (lines.len() - 10);
        lines.splice(at..at + round % 4, (0..round % 5).map(|n| format!("line {}\n", (round + n) % 40)));
        let next = lines.concat();
        if Some(&next) != versions.last() {
            versions.push(next);
        }
    }
    assert_eq!(our_blame(&versions), git_blame(&versions));
}
