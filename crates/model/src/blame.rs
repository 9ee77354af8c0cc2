//! Blame: which version of a file last wrote each of its lines.
//!
//! The versions are compared from the newest to the oldest, each with the one before it. A line that the
//! comparison finds unchanged belongs to an older version; any other belongs to the newer of the two. So
//! `git blame` attributes the lines of a history without branches, and by the same differences.

use std::ops::Range;

use crate::line_diff::{Placement, hunks, lines};

/// Lines of the newest version in a row that one version wrote last; counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The lines.
    pub lines: Range<usize>,
    /// Number of the version: 0 is the newest, 1 the one before it.
    pub version: usize,
}

/// Attribution of lines, in progress.
pub struct Blame {
    /// Version that each line of the newest belongs to; `None`: an older one than was compared.
    owners: Vec<Option<usize>>,
    /// Lines without an owner, as numbers in the newest version and in the oldest one compared.
    open: Vec<(usize, usize)>,
    /// The oldest version compared.
    text: String,
    version: usize,
}

impl Blame {
    /// Begins with the newest version, of whose lines these are asked for.
    pub fn of(newest: String, asked: Range<usize>) -> Self {
        let count = lines(&newest).len();
        let open = asked.start.min(count)..asked.end.min(count);
        Self {
            owners: vec![None; count],
            open: open.map(|line| (line, line)).collect(),
            text: newest,
            version: 0,
        }
    }

    /// Compares with the next older version.
    pub fn compare(&mut self, older: String) {
        let hunks = hunks(&older, &self.text, Placement::Indentation);
        let mut hunks = hunks.into_iter().peekable();
        let (version, owners, mut shift) = (self.version, &mut self.owners, (0, 0));
        self.open.retain_mut(|(line, at)| {
            while let Some(passed) = hunks.next_if(|hunk| hunk.after.end <= *at) {
                shift = (passed.before.end, passed.after.end);
            }
            if hunks.peek().is_some_and(|hunk| hunk.after.contains(at)) {
                owners[*line] = Some(version);
                return false;
            }
            *at = *at - shift.1 + shift.0;
            true
        });
        self.text = older;
        self.version += 1;
    }

    /// Attributes the remaining lines to the oldest version compared, because there is none before it.
    pub fn end(&mut self) {
        for (line, _) in self.open.drain(..) {
            self.owners[line] = Some(self.version);
        }
    }

    /// Whether every line has its version.
    pub fn is_complete(&self) -> bool {
        self.open.is_empty()
    }

    /// Lines asked for that have a version, in runs.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (line, owner) in self.owners.iter().enumerate() {
            let Some(version) = *owner else { continue };
            match runs.last_mut() {
                Some(run) if run.version == version && run.lines.end == line => run.lines.end += 1,
                _ => runs.push(Run { lines: line..line + 1, version }),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::line_diff::tests::any_text;

    fn blame(versions: &[&str]) -> Vec<(usize, usize, usize)> {
        let (newest, older) = versions.split_last().unwrap();
        let mut blame = Blame::of((*newest).to_owned(), 0..usize::MAX);
        older.iter().rev().for_each(|text| blame.compare((*text).to_owned()));
        blame.end();
        blame.runs().into_iter().map(|run| (run.lines.start, run.lines.end, run.version)).collect()
    }

    #[test]
    fn each_line_belongs_to_the_version_that_wrote_it_last() {
        assert_eq!(blame(&["a\nb\nc\n"]), [(0, 3, 0)]);
        assert_eq!(blame(&["a\nb\nc\n", "a\nB\nc\n"]), [(0, 1, 1), (1, 2, 0), (2, 3, 1)]);
        assert_eq!(blame(&["a\n", "a\nb\n", "x\na\nb\n"]), [(0, 1, 0), (1, 2, 2), (2, 3, 1)]);
        assert_eq!(blame(&["a\nb\n", "a\n", "a\nb\n"]), [(0, 1, 2), (1, 2, 0)], "written again");
        assert_eq!(blame(&["a\n", ""]), []);
    }

    #[test]
    fn of_a_part_of_the_lines_only_that_part_is_attributed() {
        let mut blame = Blame::of("a\nB\nc\nd\n".to_owned(), 1..3);
        blame.compare("a\nb\nc\nd\n".to_owned());
        assert!(!blame.is_complete());
        blame.end();
        let runs = [Run { lines: 1..2, version: 0 }, Run { lines: 2..3, version: 1 }];
        assert_eq!(blame.runs(), runs);
    }

    proptest! {
        #[test]
        fn every_line_has_one_version_and_stands_in_all_versions_from_it_on(
            texts in prop::collection::vec(any_text(), 1..6),
        ) {
            let (newest, older) = texts.split_last().unwrap();
            let mut blame = Blame::of(newest.clone(), 0..usize::MAX);
            older.iter().rev().for_each(|text| blame.compare(text.clone()));
            blame.end();
            prop_assert!(blame.is_complete());
            let count: usize = blame.runs().iter().map(|run| run.lines.len()).sum();
            prop_assert_eq!(count, lines(newest).len());
            for run in blame.runs() {
                for version in texts.iter().rev().take(run.version + 1) {
                    let there = lines(version);
                    prop_assert!(lines(newest)[run.lines.clone()].iter().all(|line| there.contains(line)));
                }
            }
        }
    }
}
