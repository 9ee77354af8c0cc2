//! Three-way merge of texts by lines.
//!
//! # Protocol
//! 1. The changes of both sides are taken as hunks against the base.
//! 2. Hunks of the two sides that overlap or touch form a region. A region that only one side has
//!    changed gets that side's lines.
//! 3. A region that both have changed gets their lines if these are equal, and is a conflict otherwise.
//!
//! So no line of either side is dropped without a conflict, and where the changes of the two sides do not
//! touch the result is the one of `git merge-file`.

use std::ops::Range;

use crate::line_diff::{Hunk, Placement, hunks, lines};

/// Result of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// The changes of both sides.
    Clean(String),
    /// The regions that both sides have changed differently, in order.
    Conflicts(Vec<ConflictRegion>),
}

/// Lines that both sides have changed differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictRegion {
    /// First of these lines in the current text, counted from 1; if it has none there, the line before
    /// which they would be.
    pub first_line: usize,
    /// Lines of the base.
    pub base: String,
    /// Lines of the current text.
    pub current: String,
    /// Lines of the new text.
    pub new: String,
}

/// The hunks of one side, and its lines.
struct Side<'a> {
    lines: Vec<&'a str>,
    hunks: Vec<Hunk>,
    /// Hunks before this one are merged.
    next: usize,
    /// Line of this side at the base's line up to which is merged.
    at: usize,
}

/// Merges the changes from `base` to `current` with those from `base` to `new`.
pub fn merge(base: &str, current: &str, new: &str) -> Merge {
    let old = lines(base);
    let mut ours = Side::of(base, current);
    let mut theirs = Side::of(base, new);
    let (mut merged, mut conflicts, mut at) = (String::new(), Vec::new(), 0);
    while let Some(start) = ours.start().into_iter().chain(theirs.start()).min() {
        merged.push_str(&old[at..start].concat());
        (ours.at, theirs.at) = (ours.at + start - at, theirs.at + start - at);
        let end = region_end(&ours, &theirs, start);
        let first_line = ours.at + 1;
        let (our_change, their_change) = (ours.take(start..end), theirs.take(start..end));
        match (our_change, their_change) {
            ((current, true), (new, true)) if current != new => {
                let base = old[start..end].concat();
                conflicts.push(ConflictRegion { first_line, base, current, new });
            }
            ((current, true), _) => merged.push_str(&current),
            (_, (new, _)) => merged.push_str(&new),
        }
        at = end;
    }
    merged.push_str(&old[at..].concat());
    if conflicts.is_empty() { Merge::Clean(merged) } else { Merge::Conflicts(conflicts) }
}

/// End of the region of the base that begins at `start` with the next hunk of either side: it includes every
/// hunk that begins in it or at its end.
fn region_end(ours: &Side<'_>, theirs: &Side<'_>, start: usize) -> usize {
    let (mut end, mut grown) = (start, true);
    while grown {
        let reach = |side: &Side<'_>| {
            let touching = side.hunks[side.next..].iter().take_while(|hunk| hunk.before.start <= end);
            touching.map(|hunk| hunk.before.end).max()
        };
        let reached = reach(ours).into_iter().chain(reach(theirs)).fold(end, usize::max);
        grown = reached > end;
        end = reached;
    }
    end
}

impl<'a> Side<'a> {
    fn of(base: &str, text: &'a str) -> Self {
        Self { lines: lines(text), hunks: hunks(base, text, Placement::Last), next: 0, at: 0 }
    }

    fn start(&self) -> Option<usize> {
        self.hunks.get(self.next).map(|hunk| hunk.before.start)
    }

    /// The lines of this side for a region of the base, and whether it has changed them.
    fn take(&mut self, region: Range<usize>) -> (String, bool) {
        let hunks = self.hunks[self.next..].iter().take_while(|hunk| hunk.before.start <= region.end);
        let hunks: Vec<&Hunk> = hunks.collect();
        let added: usize = hunks.iter().map(|hunk| hunk.after.len()).sum();
        let removed: usize = hunks.iter().map(|hunk| hunk.before.len()).sum();
        let (changed, end) = (!hunks.is_empty(), self.at + region.len() + added - removed);
        let text = self.lines[self.at..end].concat();
        self.next += hunks.len();
        self.at = end;
        (text, changed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clean(base: &str, current: &str, new: &str) -> String {
        match merge(base, current, new) {
            Merge::Clean(text) => text,
            Merge::Conflicts(regions) => panic!("{regions:?}"),
        }
    }

    #[test]
    fn changes_that_do_not_touch_are_both_in_the_result() {
        assert_eq!(clean("1\n2\n3\n", "one\n2\n3\n", "1\n2\nthree\n"), "one\n2\nthree\n");
        assert_eq!(clean("1\n2\n3\n", "1\n2\n3\n4\n", "0\n1\n2\n3\n"), "0\n1\n2\n3\n4\n");
        assert_eq!(clean("1\n2\n3\n", "2\n3\n", "1\n2\n"), "2\n");
        assert_eq!(clean("1\n2\n", "1\n2\n", "2\n"), "2\n");
    }

    #[test]
    fn the_same_change_of_both_sides_is_in_the_result_once() {
        assert_eq!(clean("1\n2\n", "1\nx\n2\n", "1\nx\n2\n"), "1\nx\n2\n");
    }

    #[test]
    fn changes_that_touch_are_a_conflict_with_the_lines_of_all_three() {
        let Merge::Conflicts(regions) = merge("1\n2\n3\n", "0\n1\ntwo\n3\n", "1\nzwei\n3\n") else {
            panic!()
        };
        let region = ConflictRegion {
            first_line: 3,
            base: "2\n".to_owned(),
            current: "two\n".to_owned(),
            new: "zwei\n".to_owned(),
        };
        assert_eq!(regions, [region]);
        assert!(matches!(merge("1\n2\n", "one\n2\n", "1\ntwo\n"), Merge::Conflicts(_)));
        assert!(matches!(merge("", "a\n", "b\n"), Merge::Conflicts(_)));
    }

    proptest! {
        #[test]
        fn no_line_that_one_side_added_is_missing(
            base in crate::line_diff::tests::any_text(),
            ours in crate::line_diff::tests::any_text(),
            theirs in crate::line_diff::tests::any_text(),
        ) {
            // Lines of their own, so that each can be found again.
            let tagged = |text: &str, tag: char| {
                lines(text).iter().map(|line| line.replacen('b', &tag.to_string(), 1)).collect::<String>()
            };
            let (current, new) = (tagged(&ours, 'X'), tagged(&theirs, 'Y'));
            let count = |text: &str, tag| text.matches(tag).count();
            match merge(&base, &current, &new) {
                Merge::Clean(text) => {
                    prop_assert_eq!(count(&text, 'X'), count(&current, 'X'));
                    prop_assert_eq!(count(&text, 'Y'), count(&new, 'Y'));
                }
                Merge::Conflicts(regions) => for region in regions {
                    prop_assert_ne!(&region.current, &region.new);
                    prop_assert!(current.contains(&region.current) && new.contains(&region.new));
                }
            }
            prop_assert_eq!(merge(&base, &current, &base), Merge::Clean(current.clone()));
            prop_assert_eq!(merge(&base, &base, &new), Merge::Clean(new));
        }
    }
}
