//! Lines of a text, counted from 1, and excerpts of whole lines. A line ends with `\n` or with the text; a
//! `\r` before it belongs to the line. Concatenating the lines gives the text, byte for byte.

use std::ops::RangeInclusive;

use crate::refusal::Refusal;

/// Lines that a reader asks for: `120-180`, `120-` (to the end) or `120`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineRange {
    first: usize,
    /// `None`: to the end of the text.
    last: Option<usize>,
}

impl LineRange {
    /// Parses a `lines` argument.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let malformed = || Refusal::argument("lines", "it must be such as `120-180`, `120-` or `120`");
        let number = |digits: &str| match digits.trim() {
            // A number with a sign would parse.
            plain if plain.bytes().all(|byte| byte.is_ascii_digit()) => plain.parse().ok(),
            _ => None,
        };
        let (first, last) = match raw.split_once('-') {
            None => (number(raw), Some(number(raw))),
            Some((first, last)) if last.trim().is_empty() => (number(first), None),
            Some((first, last)) => (number(first), Some(number(last))),
        };
        let (Some(first), Some(last)) =
            (first, last.map_or(Some(None), |last: Option<usize>| last.map(Some)))
        else {
            return Err(malformed());
        };
        if first == 0 {
            return Err(Refusal::argument("lines", "lines are counted from 1"));
        }
        if last.is_some_and(|last| last < first) {
            return Err(Refusal::argument("lines", "it ends before it begins"));
        }
        Ok(Self { first, last })
    }

    /// These lines of a text.
    pub fn of(self, text: &str) -> Result<Excerpt, Refusal> {
        let index = LineIndex::of(text);
        let total = index.total();
        let last = self.last.unwrap_or(total);
        if self.first > total || last > total {
            return Err(Refusal::LinesBeyondEnd { total_lines: total });
        }
        Ok(index.excerpt(self.first..=last))
    }
}

/// Consecutive lines of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The lines, with their ends.
    pub text: String,
    /// Number of the first one.
    pub first_line: usize,
    /// Number of the last one.
    pub last_line: usize,
    /// Lines of the whole text.
    pub total_lines: usize,
}

/// Beginnings of the lines of a text.
#[derive(Debug)]
pub struct LineIndex<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    /// Finds the lines of a text. An empty text has none.
    pub fn of(text: &'a str) -> Self {
        let after_ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(after_ends).filter(|at| *at < text.len()).collect();
        Self { text, starts }
    }

    /// Number of lines.
    pub fn total(&self) -> usize {
        self.starts.len()
    }

    /// Number of the line that contains a byte.
    pub fn line_at(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// Text of these lines, which must exist.
    pub fn lines(&self, lines: RangeInclusive<usize>) -> &'a str {
        let start = |line: usize| self.starts.get(line - 1).copied().unwrap_or(self.text.len());
        &self.text[start(*lines.start())..start(lines.end() + 1)]
    }

    /// These lines as an excerpt.
    pub fn excerpt(&self, lines: RangeInclusive<usize>) -> Excerpt {
        let (first_line, last_line) = (*lines.start(), *lines.end());
        Excerpt { text: self.lines(lines).to_owned(), first_line, last_line, total_lines: self.total() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(raw: &str, text: &str) -> Result<Excerpt, Refusal> {
        LineRange::parse(raw)?.of(text)
    }

    #[test]
    fn a_range_of_lines_is_cut_byte_for_byte() {
        let text = "one\r\ntwo\n\nfour";
        for (raw, first_line, last_line, lines) in [
            ("1", 1, 1, "one\r\n"),
            ("2-3", 2, 3, "two\n\n"),
            ("2-", 2, 4, "two\n\nfour"),
            ("4-4", 4, 4, "four"),
            (" 1 - 4 ", 1, 4, text),
        ] {
            let expected = Excerpt { text: lines.to_owned(), first_line, last_line, total_lines: 4 };
            assert_eq!(cut(raw, text).unwrap(), expected, "{raw}");
        }
    }

    #[test]
    fn lines_beyond_the_end_are_refused_with_their_number() {
        for (raw, text, total_lines) in
            [("4", "a\nb\nc", 3), ("2-4", "a\nb\nc\n", 3), ("9-", "a", 1), ("1", "", 0), ("1-", "", 0)]
        {
            assert_eq!(cut(raw, text), Err(Refusal::LinesBeyondEnd { total_lines }), "{raw} {text:?}");
        }
    }

    #[test]
    fn what_is_no_range_of_lines_is_refused() {
        let huge = "9".repeat(30);
        for raw in ["", "-", "-5", "0", "0-4", "3-2", "1-2-3", "a", "1-b", "+1", "1.5", "-1-2", huge.as_str()]
        {
            assert!(matches!(LineRange::parse(raw), Err(Refusal::InvalidArgument { .. })), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn the_lines_of_a_text_concatenate_to_it(text in "[a\r\né]{0,40}") {
            let index = LineIndex::of(&text);
            let naive: Vec<&str> = text.split_inclusive('\n').collect();
            prop_assert_eq!(index.total(), naive.len());
            for (n, line) in naive.iter().enumerate() {
                prop_assert_eq!(index.lines(n + 1..=n + 1), *line);
            }
            for (at, _) in text.char_indices() {
                prop_assert_eq!(index.line_at(at), text[..at].matches('\n').count() + 1);
            }
            if !naive.is_empty() {
                prop_assert_eq!(index.lines(1..=naive.len()), &text);
            }
        }
    }
}
