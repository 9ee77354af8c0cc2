//! Search of one text, line by line. Pure, apart from the callback that tells whether to go on.

use std::io;
use std::ops::Range;

use grep_matcher::Matcher;
use grep_searcher::{Searcher, SearcherBuilder, Sink, SinkMatch};
use panaversity_model::Fault;

use super::pattern::Pattern;
use crate::json_size;

/// Most bytes of a line in an answer; of a longer one the part around its first match is given.
pub const LINE_BYTES: usize = 300;
/// Bytes before a match that is not at the beginning of a long line.
const LEAD_BYTES: usize = 80;
/// Bytes that are searched between two questions whether to go on, up to the end of a line.
const BLOCK_BYTES: usize = 16 << 10;
/// Bytes of a match in an answer apart from its texts.
const MATCH_BYTES: u64 = 150;

/// A line that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineMatch {
    /// Its number, from 1.
    pub number: u64,
    /// The line without its end, or a part of it.
    pub line: String,
    /// The lines before it.
    pub before: Vec<String>,
    /// The lines after it.
    pub after: Vec<String>,
    /// True if one of these lines is longer than what is given of it.
    pub is_cut: bool,
}

impl LineMatch {
    /// Bytes in an answer.
    pub(super) fn json_size(&self) -> u64 {
        let context = self.before.iter().chain(&self.after);
        MATCH_BYTES
            + json_size::of_text(&self.line)
            + context.map(|line| 3 + json_size::of_text(line)).sum::<u64>()
    }
}

/// Result of searching one text.
pub(super) struct Scanned {
    pub(super) lines: Vec<LineMatch>,
    /// False if it was not searched to its end, because of `go_on`.
    pub(super) is_whole: bool,
}

/// Searches texts for a pattern, on one thread.
pub(super) struct Scanner<'a> {
    searcher: Searcher,
    pattern: Pattern,
    context: usize,
    go_on: &'a dyn Fn() -> bool,
}

impl<'a> Scanner<'a> {
    /// Matches get `context` lines before and after each. A search ends early once `go_on` is false.
    pub(super) fn new(pattern: Pattern, context: usize, go_on: &'a dyn Fn() -> bool) -> Self {
        // The text is UTF-8 without a byte order mark.
        let searcher = SearcherBuilder::new().line_number(false).bom_sniffing(false).build();
        Self { searcher, pattern, context, go_on }
    }

    /// The first lines of a text that match, up to `most`.
    pub(super) fn scan(&mut self, text: &str, most: usize) -> Result<Scanned, Fault> {
        let (mut lines, mut begin, mut counter) = (Vec::new(), 0, LineCounter::default());
        while begin < text.len() && lines.len() < most {
            if !(self.go_on)() {
                return Ok(Scanned { lines, is_whole: false });
            }
            let end = block_end(text, begin);
            let mut sink = RangeSink { begin, ranges: Vec::new(), most: most - lines.len() };
            let searched =
                self.searcher.search_slice(&self.pattern.matcher, &text.as_bytes()[begin..end], &mut sink);
            searched.map_err(|error| Fault::internal(format!("search a text: {error}")))?;
            for range in sink.ranges {
                let number = counter.number_at(text, range.start);
                lines.push(self.line_match(text, range, number));
            }
            begin = end;
        }
        Ok(Scanned { lines, is_whole: true })
    }

    fn line_match(&self, text: &str, line: Range<usize>, number: u64) -> LineMatch {
        let mut is_cut = false;
        let mut shown = |line: &str, begin: usize| {
            let part = part_of(line, begin);
            is_cut |= part.len() < line.len();
            part.to_owned()
        };
        let mut before: Vec<_> = match text[..line.start].strip_suffix('\n') {
            Some(above) => above.rsplit('\n').take(self.context).map(|line| shown(line, 0)).collect(),
            None => Vec::new(),
        };
        before.reverse();
        let below = text.get(line.end + 1..).unwrap_or_default();
        let after = below.split_terminator('\n').take(self.context).map(|line| shown(line, 0)).collect();
        let content = &text[line];
        let focus = if content.len() > LINE_BYTES { self.first_match(content) } else { 0..0 };
        let begin = if focus.end <= LINE_BYTES { 0 } else { focus.start.saturating_sub(LEAD_BYTES) };
        let line = shown(content, begin);
        LineMatch { number, line, before, after, is_cut }
    }

    /// The first match in a line that has one.
    fn first_match(&self, line: &str) -> Range<usize> {
        let found = self.pattern.matcher.find(line.as_bytes()).ok().flatten();
        found.map_or(0..0, |found| found.start()..found.end())
    }
}

/// End of the block that begins here: the end of a line, or of the text.
fn block_end(text: &str, begin: usize) -> usize {
    let least = (begin + BLOCK_BYTES).min(text.len());
    let rest = &text.as_bytes()[least - 1..];
    rest.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| least + at)
}

/// The part of a line that is shown: at most [`LINE_BYTES`], from about `begin`, in whole characters.
fn part_of(line: &str, begin: usize) -> &str {
    if line.len() <= LINE_BYTES {
        return line;
    }
    let begin = line.floor_char_boundary(begin.min(line.len() - LINE_BYTES));
    &line[begin..line.floor_char_boundary(begin + LINE_BYTES)]
}

/// Numbers of lines, asked for in order.
#[derive(Default)]
struct LineCounter {
    counted: usize,
    lines: u64,
}

impl LineCounter {
    /// Number of the line that begins at this byte.
    fn number_at(&mut self, text: &str, start: usize) -> u64 {
        let ends = text[self.counted..start].matches('\n').count();
        (self.counted, self.lines) = (start, self.lines + ends as u64);
        self.lines + 1
    }
}

/// Sink for the ranges of matching lines, without their ends.
struct RangeSink {
    /// Where the searched block begins in the text.
    begin: usize,
    ranges: Vec<Range<usize>>,
    most: usize,
}

impl Sink for RangeSink {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        let offset = usize::try_from(found.absolute_byte_offset()).map_err(io::Error::other)?;
        let line = found.bytes().strip_suffix(b"\n").unwrap_or(found.bytes());
        let start = self.begin + offset;
        self.ranges.push(start..start + line.len());
        Ok(self.ranges.len() < self.most)
    }
}

#[cfg(test)]
mod tests;
