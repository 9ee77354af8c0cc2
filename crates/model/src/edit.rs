//! Exact edits of a text: each replaces the one place at which its old text occurs.
//!
//! # Rules
//! 1. Edits are applied in order, each to the text as the earlier ones left it. If one of them can't be
//!    applied, none is.
//! 2. The old text must occur exactly once, byte for byte; occurrences may overlap.
//! 3. If it does not occur, it is looked for with any line endings. The new text then gets the line
//!    endings of the place it replaces. A new text with line feeds, for an old text within one line, gets
//!    the ending of the lines if they all have the same.
//! 4. No byte outside the replaced places changes.

use std::ops::Range;

use crate::lines::LineIndex;
use crate::refusal::Refusal;

mod nearest;

/// Most edits of one file in a call.
pub const MAX_EDITS: usize = 100;
/// Most lines named in a refusal.
const LINES_NAMED: usize = 20;

/// Replacement of the one occurrence of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Text to replace; not empty.
    pub old: String,
    /// Text in its place.
    pub new: String,
}

/// A line of a file, for a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearLine {
    /// Its number, counted from 1.
    pub line: usize,
    /// Its text, shortened.
    pub text: String,
}

/// Applies the edits to a text, or refuses the first that can't be applied.
pub fn apply(text: &str, edits: &[Edit]) -> Result<String, Refusal> {
    let mut text = text.to_owned();
    for (index, edit) in edits.iter().enumerate() {
        let (place, new) = locate(&text, edit).map_err(|occurrences| {
            let nearest = if occurrences.is_empty() { nearest::lines(&text, &edit.old) } else { Vec::new() };
            let numbers = LineIndex::of(&text);
            let lines = occurrences.iter().take(LINES_NAMED).map(|at| numbers.line_at(*at)).collect();
            Refusal::EditNotUnique { edit: index, count: occurrences.len(), lines, nearest }
        })?;
        text.replace_range(place, &new);
    }
    Ok(text)
}

/// The place of an edit and the text to put there, or the positions of all occurrences of the old text.
fn locate(text: &str, edit: &Edit) -> Result<(Range<usize>, String), Vec<usize>> {
    let exact = occurrences(text, &edit.old);
    match exact.as_slice() {
        // The line feed of a CRLF alone: its ending differs from the file's.
        [at] if edit.old.starts_with('\n') && text[..*at].ends_with('\r') => {}
        [at] if edit.old.contains('\n') => return Ok((*at..at + edit.old.len(), edit.new.clone())),
        [at] => {
            let new =
                ending_of(text).map_or_else(|| edit.new.clone(), |ending| with_endings(&edit.new, ending));
            return Ok((*at..at + edit.old.len(), new));
        }
        [] => {}
        _ => return Err(exact),
    }
    // Without line endings in the old text there is nothing else to look for.
    if !edit.old.contains('\n') || !(text.contains("\r\n") || edit.old.contains("\r\n")) {
        return Err(exact);
    }
    let (plain, removed) = without_returns(text);
    let old = edit.old.replace("\r\n", "\n");
    // A position of the plain text, as a position of the text: one more for each return removed before.
    let original = |at: usize| at + removed.partition_point(|removed| *removed < at);
    let found = occurrences(&plain, &old);
    let at = match (found.as_slice(), exact.as_slice()) {
        ([at], _) => at,
        ([], [at]) => return Ok((*at..at + edit.old.len(), edit.new.clone())),
        _ => return Err(found.into_iter().map(original).collect()),
    };
    let place = original(*at)..original(at + old.len());
    let ending = if text[place.clone()].contains("\r\n") { "\r\n" } else { "\n" };
    Ok((place, with_endings(&edit.new, ending)))
}

/// Positions at which a text occurs in another; of overlapping occurrences beyond the second only some.
fn occurrences(text: &str, part: &str) -> Vec<usize> {
    let found: Vec<usize> = text.match_indices(part).map(|(at, _)| at).collect();
    let [first] = found.as_slice() else { return found };
    // An occurrence that overlaps the only one.
    let step = text[*first..].chars().next().map_or(1, char::len_utf8);
    let overlapping = text[first + step..].find(part).map(|at| first + step + at);
    found.iter().copied().chain(overlapping).collect()
}

/// The text with line feeds only, and the positions in it before which a carriage return was removed.
fn without_returns(text: &str) -> (String, Vec<usize>) {
    let (mut plain, mut removed) = (String::with_capacity(text.len()), Vec::new());
    for line in text.split_inclusive('\n') {
        match line.strip_suffix("\r\n") {
            Some(line) => {
                plain.push_str(line);
                removed.push(plain.len());
                plain.push('\n');
            }
            None => plain.push_str(line),
        }
    }
    (plain, removed)
}

/// The ending that all lines of a text have; `None`: they have different ones, or there is none.
fn ending_of(text: &str) -> Option<&'static str> {
    let all = text.matches('\n').count();
    match text.matches("\r\n").count() {
        0 => None,
        returns if returns == all => Some("\r\n"),
        _ => None,
    }
}

fn with_endings(text: &str, ending: &str) -> String {
    let plain = text.replace("\r\n", "\n");
    if ending == "\n" { plain } else { plain.replace('\n', ending) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edit(old: &str, new: &str) -> Edit {
        Edit { old: old.to_owned(), new: new.to_owned() }
    }

    fn edited(text: &str, old: &str, new: &str) -> String {
        apply(text, &[edit(old, new)]).unwrap()
    }

    fn refused(text: &str, edits: &[Edit]) -> (usize, usize, Vec<usize>, Vec<NearLine>) {
        match apply(text, edits) {
            Err(Refusal::EditNotUnique { edit, count, lines, nearest }) => (edit, count, lines, nearest),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_edit_replaces_the_one_place_and_nothing_else() {
        assert_eq!(edited("\u{feff}one two\r\nthree", "two", "2"), "\u{feff}one 2\r\nthree");
        assert_eq!(edited("a\nb\nc\n", "b\n", ""), "a\nc\n");
        assert_eq!(apply("a b", &[edit("a", "b c"), edit("c b", "d")]).unwrap(), "b d", "in order");
        assert_eq!(edited("a\nb", "b", "b\n"), "a\nb\n");
    }

    #[test]
    fn an_old_text_that_occurs_twice_or_never_is_refused_with_the_lines() {
        assert_eq!(refused("x\ny\nx\n", &[edit("x", "z")]), (0, 2, vec![1, 3], vec![]));
        assert_eq!(refused("aaa", &[edit("aa", "b")]).1, 2, "occurrences that overlap");
        assert_eq!(refused("éé", &[edit("z", "b"), edit("é", "e")]).0, 0);
        let (at, count, lines, nearest) = refused(
            "# Title\n\nThe cat sat on the mat.\nNo.\n",
            &[edit("Title", "T"), edit("The cat sits on the mat.", "x")],
        );
        assert_eq!((at, count, lines), (1, 0, vec![]));
        assert_eq!(nearest[0], NearLine { line: 3, text: "The cat sat on the mat.".to_owned() });
        assert!(refused("abc", &[edit("xyz", "")]).3.is_empty(), "nothing is near");
    }

    #[test]
    fn an_old_text_with_other_line_endings_is_found_and_the_file_keeps_its_own() {
        assert_eq!(edited("a\r\nb\r\nc\r\n", "a\nb\n", "x\ny\n"), "x\r\ny\r\nc\r\n");
        assert_eq!(edited("a\nb\nc\n", "a\r\nb\r\n", "x\r\n"), "x\nc\n");
        assert_eq!(edited("a\r\nb\r\n", "b", "b\nc"), "a\r\nb\r\nc\r\n", "within a line");
        assert_eq!(edited("a\r\nb\n", "b", "b\nc"), "a\r\nb\nc\n", "the file has both");
        assert_eq!(refused("a\r\nb\na\nb\r\n", &[edit("a\nb\n", "")]).1, 2);
        assert_eq!(edited("a\r\nb\r\na\nb\n", "a\nb\n", "x\n"), "a\r\nb\r\nx\n", "the exact one");
    }

    #[test]
    fn an_old_text_that_begins_with_a_line_feed_takes_the_whole_ending() {
        assert_eq!(edited("a\r\nb\r\n", "\nb", "\nx\ny"), "a\r\nx\r\ny\r\n");
        assert_eq!(edited("a\r\nb\r\n", "\nb", "b"), "ab\r\n");
        assert_eq!(edited("a\nb\n", "\nb", "\nx"), "a\nx\n");
    }

    #[test]
    fn a_text_that_repeats_without_end_is_refused_in_linear_time() {
        let text = "a".repeat(500_000);
        assert_eq!(refused(&text, &[edit("a", "b")]).1, 500_000);
        assert_eq!(refused(&text, &[edit(&"a".repeat(250_001), "b")]).1, 2);
    }

    proptest! {
        #[test]
        fn what_is_before_and_after_the_place_stays(before in "[a-y\r\n]{0,20}", after in "[a-y\r\n]{0,20}", new in "[a-y]{0,9}") {
            let text = format!("{before}<z>{after}");
            prop_assert_eq!(edited(&text, "<z>", &new), format!("{before}{new}{after}"));
        }

        #[test]
        fn an_old_text_of_whole_lines_is_found_with_either_ending(
            lines in prop::collection::vec("[a-z ]{1,8}", 3..12), at in 0usize..9, crlf in prop::bool::ANY,
        ) {
            let (ending, other) = if crlf { ("\r\n", "\n") } else { ("\n", "\r\n") };
            let numbered: Vec<String> = lines.iter().enumerate().map(|(n, line)| format!("{n} {line}")).collect();
            let text = numbered.iter().map(|line| format!("{line}{ending}")).collect::<Vec<_>>().concat();
            let at = at % (numbered.len() - 1);
            let old = format!("{}{other}{}{other}", numbered[at], numbered[at + 1]);
            let result = edited(&text, &old, &format!("new{other}"));
            let mut expected = numbered.clone();
            expected.splice(at..at + 2, ["new".to_owned()]);
            let expected = expected.iter().map(|line| format!("{line}{ending}")).collect::<Vec<_>>().concat();
            prop_assert_eq!(result, expected);
        }
    }
}
