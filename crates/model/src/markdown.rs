//! Reading of Markdown pages, shared by validation and outlines: options of the parser, byte ranges, the
//! end of the front matter, and (`expressions.rs`) expressions of MDX.

pub(crate) mod expressions;

use std::ops::Range;

use pulldown_cmark::Options;

const DELIMITER: &str = "---";

/// Extensions of `CommonMark` that Docusaurus enables and that change where a page's blocks end.
pub const OPTIONS: Options =
    Options::ENABLE_TABLES.union(Options::ENABLE_FOOTNOTES).union(Options::ENABLE_STRIKETHROUGH);

/// Byte ranges of a page, in order of their beginnings.
#[derive(Debug, Default)]
pub(crate) struct Ranges(Vec<Range<usize>>);

impl Ranges {
    pub(crate) fn push(&mut self, range: Range<usize>) {
        self.0.push(range);
    }

    pub(crate) fn last(&self) -> Option<&Range<usize>> {
        self.0.last()
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<usize>> {
        self.0.iter().cloned()
    }

    /// The range that contains the offset, if ranges do not overlap.
    pub(crate) fn around(&self, at: usize) -> Option<Range<usize>> {
        let behind = self.0.partition_point(|range| range.start <= at);
        self.0[..behind].last().filter(|range| at < range.end).cloned()
    }
}

/// The text of a page behind its front matter.
#[derive(Debug, Clone, Copy)]
pub struct Body<'a> {
    /// The text.
    pub text: &'a str,
    /// Lines of the page before it.
    pub lines_before: usize,
}

/// Front matter of a page: the block between two lines `---` at its beginning, as Docusaurus finds it.
#[derive(Debug, Clone, Copy)]
pub enum FrontMatter<'a> {
    /// The page has none.
    Absent,
    /// It begins, but does not end.
    Unended,
    /// The block, from the rest of the first line on.
    Block(&'a str),
}

/// Splits a page, without its byte order mark, into front matter and body. If the front matter does not
/// end, the body is the whole page.
pub fn split(page: &str) -> (FrontMatter<'_>, Body<'_>) {
    let text = page.strip_prefix('\u{feff}').unwrap_or(page);
    let whole = Body { text, lines_before: 0 };
    let Some(rest) = text.strip_prefix(DELIMITER).filter(|rest| !rest.starts_with('-')) else {
        return (FrontMatter::Absent, whole);
    };
    let Some(end) = rest.find("\n---") else { return (FrontMatter::Unended, whole) };
    let (block, after) = (&rest[..end], &rest[end + 1 + DELIMITER.len()..]);
    let lines_before = block.matches('\n').count() + 1;
    (FrontMatter::Block(block), Body { text: after, lines_before })
}
