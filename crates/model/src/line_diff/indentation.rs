//! Placement of a hunk by indentation and blank lines: git's indent heuristic, with git's weights, so that
//! diffs and blame are those of git. A hunk that only adds or removes lines can often be moved up or down
//! without changing its meaning; the best position is the one at whose two ends a reader would split the text.
//!
//! The heuristic of `imara-diff` counts blank lines wrongly near the end of a text.

use std::ops::Range;

use imara_diff::{InternedInput, SliderHeuristic, Token};

/// Most lines by which a hunk is moved up.
const MAX_SLIDING: u32 = 100;
/// Lines of blank ones that are looked at on either side of a split.
const MAX_BLANKS: usize = 20;
/// Greatest indentation that is told apart.
const MAX_INDENT: i32 = 200;
/// Weight of a smaller indentation at the splits, against the penalties below.
const INDENT_WEIGHT: i32 = 60;

/// The heuristic, over the lines of two texts.
pub(super) struct Indentation<'a, 'text>(pub(super) &'a InternedInput<&'text str>);

/// Surroundings of a split above the line at an index; an indentation is `None` for blank lines and beyond
/// the text.
struct Split {
    is_end: bool,
    indent: Option<i32>,
    blanks_before: i32,
    indent_before: Option<i32>,
    blanks_after: i32,
    indent_after: Option<i32>,
}

/// Quality of a position: less is better in both.
#[derive(Clone, Copy)]
struct Score {
    indent: i32,
    penalty: i32,
}

impl SliderHeuristic for Indentation<'_, '_> {
    fn best_slider_end(&mut self, tokens: &[Token], hunk: Range<u32>, earliest_end: u32) -> u32 {
        let length = hunk.end - hunk.start;
        let first =
            earliest_end.max((hunk.end - length).saturating_sub(1)).max(hunk.end.saturating_sub(MAX_SLIDING));
        let mut best: Option<(u32, Score)> = None;
        for end in first..=hunk.end {
            let Some(start) = end.checked_sub(length) else { continue };
            let score = self.score(tokens, start).and(self.score(tokens, end));
            if best.is_none_or(|(_, best)| score.is_at_least_as_good_as(best)) {
                best = Some((end, score));
            }
        }
        best.map_or(hunk.end, |(end, _)| end)
    }
}

impl Indentation<'_, '_> {
    /// Indentation of a line in columns, with tabs of eight; `None`: it is blank.
    fn indent(&self, token: Token) -> Option<i32> {
        let mut indent = 0;
        for byte in self.0.interner[token].bytes() {
            match byte {
                b' ' => indent += 1,
                b'\t' => indent += 8 - indent % 8,
                b'\n' | b'\r' | b'\x0b' | b'\x0c' => {}
                _ => return Some(indent),
            }
            if indent >= MAX_INDENT {
                return Some(MAX_INDENT);
            }
        }
        None
    }

    /// The blank lines before the first that is not, and its indentation; after too many blank ones 0.
    fn beyond(&self, lines: impl Iterator<Item = Token>) -> (i32, Option<i32>) {
        let mut blanks = 0;
        for token in lines {
            if let Some(indent) = self.indent(token) {
                return (blanks, Some(indent));
            }
            blanks += 1;
            if blanks == i32::try_from(MAX_BLANKS).unwrap_or(i32::MAX) {
                return (blanks, Some(0));
            }
        }
        (blanks, None)
    }

    fn split(&self, tokens: &[Token], at: usize) -> Split {
        let (blanks_before, indent_before) = self.beyond(tokens[..at].iter().rev().copied());
        let (blanks_after, indent_after) = self.beyond(tokens.iter().skip(at + 1).copied());
        Split {
            is_end: at >= tokens.len(),
            indent: tokens.get(at).and_then(|token| self.indent(*token)),
            blanks_before,
            indent_before,
            blanks_after,
            indent_after,
        }
    }

    fn score(&self, tokens: &[Token], at: u32) -> Score {
        let split = self.split(tokens, at as usize);
        let mut penalty = 0;
        if split.indent_before.is_none() && split.blanks_before == 0 {
            penalty += 1;
        }
        if split.is_end {
            penalty += 21;
        }
        let after = if split.indent.is_none() { split.blanks_after + 1 } else { 0 };
        let blanks = split.blanks_before + after;
        penalty += -30 * blanks + 6 * after;
        let indent = split.indent.or(split.indent_after);
        if let (Some(indent), Some(before)) = (indent, split.indent_before) {
            let (is_blank, returns) = (blanks != 0, split.indent_after.is_some_and(|next| next > indent));
            penalty += match (indent - before, is_blank) {
                (1.., true) => 10,
                (1.., false) => -4,
                (0, _) => 0,
                (_, true) => 17,
                (_, false) if returns => 24,
                (_, false) => 23,
            };
        }
        Score { indent: indent.unwrap_or(-1), penalty }
    }
}

impl Score {
    fn and(self, other: Self) -> Self {
        Self { indent: self.indent + other.indent, penalty: self.penalty + other.penalty }
    }

    fn is_at_least_as_good_as(self, other: Self) -> bool {
        INDENT_WEIGHT * (self.indent - other.indent).signum() + self.penalty - other.penalty <= 0
    }
}
