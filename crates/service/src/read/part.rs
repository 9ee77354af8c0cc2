//! Parts of a file that `read_content` gives instead of the whole: the outline of a page, a section, lines.

use panaversity_model::lines::LineRange;
use panaversity_model::outline::{Heading, Outline, SectionName};
use panaversity_model::{BookPath, Refusal};

use super::FileContent;
use crate::json_size;

/// Most headings on a page of an outline.
const PAGE_HEADINGS: usize = 1_000;

/// Part of a file that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadPart {
    /// All of it.
    Whole,
    /// The headings of a page from this index on.
    Outline(usize),
    /// A section of a page.
    Section(SectionName),
    /// Some lines.
    Lines(LineRange),
}

/// Headings of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlinePage {
    /// The headings.
    pub headings: Vec<Heading>,
    /// Lines of the page.
    pub total_lines: usize,
    /// Index of the heading with which the next page of the answer starts.
    pub next: Option<usize>,
}

impl ReadPart {
    /// Name of the argument that asks for it.
    pub fn argument(&self) -> &'static str {
        match self {
            Self::Whole => "path",
            Self::Outline(_) => "outline",
            Self::Section(_) => "section",
            Self::Lines(_) => "lines",
        }
    }

    /// This part of a text.
    pub(super) fn of(&self, path: &BookPath, text: String) -> Result<FileContent, Refusal> {
        if matches!(self, Self::Outline(_) | Self::Section(_)) && !path.is_page() {
            let why = "only pages (.md, .mdx) have headings; lines reads a part of any text";
            return Err(Refusal::argument(self.argument(), why));
        }
        Ok(match self {
            Self::Whole => FileContent::Text(text),
            Self::Outline(from) => FileContent::Outline(OutlinePage::of(path, &text, *from)),
            Self::Section(name) => FileContent::Excerpt(Outline::of(path, &text).section(&text, name)?),
            Self::Lines(lines) => FileContent::Excerpt(lines.of(&text)?),
        })
    }
}

impl OutlinePage {
    fn of(path: &BookPath, text: &str, from: usize) -> Self {
        let Outline { headings, total_lines } = Outline::of(path, text);
        let rest = headings.get(from..).unwrap_or_default();
        let sizes = rest.iter().take(PAGE_HEADINGS).map(json_size::of_heading);
        let fits = json_size::page_length(sizes);
        let next = (fits < rest.len()).then_some(from + fits);
        Self { headings: rest[..fits].to_vec(), total_lines, next }
    }
}
