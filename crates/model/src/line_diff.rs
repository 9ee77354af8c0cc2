//! Line differences of two texts: hunks of changed lines, and the unified diff.
//!
//! A line includes its line ending, so that a changed ending, or a missing one at the end of the text, is a
//! difference. The hunks are those of git: Myers' algorithm with the heuristics of xdiff, which
//! bound its time also for texts that have little in common.

mod indentation;

use std::fmt::Write;
use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput};

use indentation::Indentation;

/// Unchanged lines shown around a change in a unified diff.
const CONTEXT_LINES: usize = 3;
/// Bytes of a line above which a shortened diff shows only a part of it.
const SHOWN_BYTES: usize = 160;

/// Lines of one text that were replaced by lines of another; counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// Replaced lines; empty: nothing was removed.
    pub before: Range<usize>,
    /// Lines in their place; empty: nothing was added.
    pub after: Range<usize>,
}

/// Placement of a hunk that can be moved up or down without changing its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// By indentation and blank lines, as `git diff` and `git blame` place them.
    Indentation,
    /// As far down as possible, as `git merge-file` places them.
    Last,
}

/// Lines of a text, each with its ending.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Hunks that turn one text into another, in order.
pub fn hunks(before: &str, after: &str, placement: Placement) -> Vec<Hunk> {
    let input = InternedInput::new(before, after);
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    match placement {
        Placement::Indentation => diff.postprocess_with_heuristic(&input, Indentation(&input)),
        Placement::Last => diff.postprocess_no_heuristic(&input),
    }
    let wide = |range: Range<u32>| range.start as usize..range.end as usize;
    diff.hunks().map(|hunk| Hunk { before: wide(hunk.before), after: wide(hunk.after) }).collect()
}

/// Unified diff of two texts without file names, as `git diff` prints it after its header; empty: they are
/// equal.
pub fn unified(before: &str, after: &str) -> String {
    diff(before, after, CONTEXT_LINES, None)
}

/// The same for a reader who only looks at it: with one line of context, and of long lines only the part
/// around the change, between ellipses.
pub fn shortened(before: &str, after: &str) -> String {
    diff(before, after, 1, Some(SHOWN_BYTES))
}

fn diff(before: &str, after: &str, context: usize, shown: Option<usize>) -> String {
    let (old, new) = (lines(before), lines(after));
    let hunks = hunks(before, after, Placement::Indentation);
    let mut writer = Writer { text: String::new(), old, new, context, shown };
    let mut rest = hunks.as_slice();
    while !rest.is_empty() {
        let near = |pair: &[Hunk]| pair[1].before.start - pair[0].before.end <= 2 * context;
        let count = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
        let (group, later) = rest.split_at(count);
        writer.write_group(group);
        rest = later;
    }
    writer.text
}

/// Writer of a unified diff.
struct Writer<'a> {
    text: String,
    old: Vec<&'a str>,
    new: Vec<&'a str>,
    context: usize,
    /// Most bytes of a line that are shown as a whole, and about as many of a longer one.
    shown: Option<usize>,
}

impl Writer<'_> {
    /// Writes hunks whose contexts meet as one block.
    fn write_group(&mut self, group: &[Hunk]) {
        let [first, ..] = group else { return };
        let last = group.last().unwrap_or(first);
        let above = first.before.start.min(self.context);
        let below = (self.old.len() - last.before.end).min(self.context);
        let before = first.before.start - above..last.before.end + below;
        let after = first.after.start - above..last.after.end + below;
        // Writing to a `String` does not fail.
        let _ = writeln!(self.text, "@@ -{} +{} @@", extent(&before), extent(&after));
        let mut at = before.start;
        for hunk in group {
            self.write_context(at..hunk.before.start);
            for line in hunk.before.clone() {
                let beside = hunk.after.start + line - hunk.before.start;
                let beside = self.new.get(beside).filter(|_| beside < hunk.after.end).copied();
                self.write_line('-', self.old[line], beside);
            }
            for line in hunk.after.clone() {
                let beside = hunk.before.start + line - hunk.after.start;
                let beside = self.old.get(beside).filter(|_| beside < hunk.before.end).copied();
                self.write_line('+', self.new[line], beside);
            }
            at = hunk.before.end;
        }
        self.write_context(at..before.end);
    }

    fn write_context(&mut self, lines: Range<usize>) {
        for line in lines {
            self.write_line(' ', self.old[line], None);
        }
    }

    /// Writes a line; `beside` is the line that it replaces or is replaced by.
    fn write_line(&mut self, mark: char, line: &str, beside: Option<&str>) {
        self.text.push(mark);
        let (content, end) = match line.strip_suffix('\n') {
            Some(content) => (content, "\n"),
            None => (line, "\n\\ No newline at end of file\n"),
        };
        match self.shown {
            Some(most) if content.len() > most => self.text.push_str(&around_change(content, beside, most)),
            _ => self.text.push_str(content),
        }
        self.text.push_str(end);
    }
}

/// The part of a long line in which it differs from another, with some of the line around it.
fn around_change(line: &str, beside: Option<&str>, most: usize) -> String {
    let same = |pair: &(char, char)| pair.0 == pair.1;
    let other = beside.unwrap_or_default().trim_end_matches('\n');
    let before: usize =
        line.chars().zip(other.chars()).take_while(same).map(|(char, _)| char.len_utf8()).sum();
    let after: usize =
        line.chars().rev().zip(other.chars().rev()).take_while(same).map(|(char, _)| char.len_utf8()).sum();
    let margin = most / 4;
    let start = line.floor_char_boundary(before.saturating_sub(margin));
    let changed = line.len().saturating_sub(after).max(before);
    let end = line.ceil_char_boundary((changed + margin).min(start + 4 * most).min(line.len()));
    let dots = |is_cut: bool| if is_cut { "…" } else { "" };
    format!("{}{}{}", dots(start > 0), &line[start..end], dots(end < line.len()))
}

/// First line and number of lines, as in the header of a block.
fn extent(lines: &Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => (lines.start + 1).to_string(),
        count => format!("{},{count}", lines.start + 1),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts of few different lines, so that they repeat, with and without an ending of the last one.
    pub(crate) fn any_text() -> impl Strategy<Value = String> {
        let line = prop::sample::select(vec!["a\n", "b\n", "c\n", "  d\n", "\n", "e\r\n"]);
        (prop::collection::vec(line, 0..30), prop::bool::ANY).prop_map(|(lines, ended)| {
            let text = lines.concat();
            if ended { text } else { text.trim_end_matches('\n').to_owned() }
        })
    }

    proptest! {
        #[test]
        fn the_hunks_turn_the_one_text_into_the_other(before in any_text(), after in any_text()) {
            for placement in [Placement::Indentation, Placement::Last] {
                let (old, new) = (lines(&before), lines(&after));
                let (mut result, mut at) = (String::new(), 0);
                for hunk in hunks(&before, &after, placement) {
                    result.push_str(&old[at..hunk.before.start].concat());
                    result.push_str(&new[hunk.after.clone()].concat());
                    prop_assert!(!hunk.before.is_empty() || !hunk.after.is_empty());
                    at = hunk.before.end;
                }
                result.push_str(&old[at..].concat());
                prop_assert_eq!(&result, &after);
            }
        }
    }

    #[test]
    fn a_unified_diff_has_three_lines_of_context_and_says_where_a_newline_is_missing() {
        assert_eq!(unified("a\n", "a\n"), "");
        assert_eq!(unified("", "a"), "@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n");
        assert_eq!(unified("a\nb\n", ""), "@@ -1,2 +0,0 @@\n-a\n-b\n");
        let text = (1..=20).map(|n| format!("{n}\n")).collect::<Vec<_>>().concat();
        let edited = text.replace("\n5\n", "\nfive\n").replace("\n20\n", "\ntwenty\n");
        assert_eq!(
            unified(&text, &edited),
            "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n\
             @@ -17,4 +17,4 @@\n 17\n 18\n 19\n-20\n+twenty\n"
        );
    }

    #[test]
    fn a_shortened_diff_shows_of_a_long_line_what_is_around_the_change() {
        let line = |word: &str| format!("{}{word}{}\n", "é before ".repeat(30), " after".repeat(50));
        let (before, after) = (format!("a\nb\n{}c\n", line("two")), format!("a\nb\n{}c\n", line("2")));
        let part = |word: &str| {
            let start = "é before ".repeat(30);
            let start = &start[start.ceil_char_boundary(start.len() - 40)..];
            format!("…{start}{word}{}…", &" after".repeat(50)[..40])
        };
        let expected = format!("@@ -2,3 +2,3 @@\n b\n-{}\n+{}\n c\n", part("two"), part("2"));
        assert_eq!(shortened(&before, &after), expected);
        assert_eq!(shortened("a\n", "b\n"), unified("a\n", "b\n"));
        let all_new = shortened("", &"x".repeat(10_000));
        assert!(all_new.len() < 1_000, "{}", all_new.len());
    }
}
