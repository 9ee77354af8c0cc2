//! Outline of a page: its headings and the lines of their sections, so that a reader takes the part that
//! matters instead of the whole. `CommonMark` decides what a heading is, by pulldown-cmark: `#` in code, in
//! comments and in front matter is none. A slug is the anchor that Docusaurus gives the heading, so that it
//! also fits links.
//!
//! # Sections
//! A section is whole lines: from the first line of its heading to the line before the next heading of the
//! same or a higher level, or to the end. Headings in quotes and lists count like others. A line that is in
//! no section lies before the first heading.
//!
//! # MDX
//! Docusaurus reads pages as MDX: what stands between lines of tags is Markdown (`jsx.rs`), and what stands in
//! braces is none. Code is indented four spaces as in `CommonMark`, though MDX knows only fences.
//!
//! # Limits
//! A `\r` alone ends no line here, unlike in `CommonMark`: of headings on one line the first counts.

mod jsx;
mod slug;
mod title;

use pulldown_cmark::{Event, Parser, Tag, TagEnd, TextMergeWithOffset};

use crate::lines::{Excerpt, LineIndex};
use crate::markdown::{self, OPTIONS, Ranges, expressions};
use crate::path::BookPath;
use crate::refusal::Refusal;
use crate::suggestion;
use slug::Slugger;
use title::TitleText;

/// Headings that are compared for suggestions.
const SUGGESTED_FROM: usize = 1_000;
/// Slugs named in the refusal of an ambiguous title.
const NAMED_SLUGS: usize = 20;

/// A heading and the extent of its section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// 1 to 6.
    pub level: u8,
    /// Plain text, without an explicit id.
    pub title: String,
    /// Anchor of the heading. Explicit ids need not be unique.
    pub slug: String,
    /// First line of the section, counted from 1.
    pub first_line: usize,
    /// Last line of the section.
    pub last_line: usize,
    /// Size of the section.
    pub bytes: usize,
}

/// Headings of a page, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The headings.
    pub headings: Vec<Heading>,
    /// Lines of the page.
    pub total_lines: usize,
}

/// Name of a section: the slug or the title of its heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionName(String);

impl SectionName {
    /// Longest name in bytes. A section with a longer one is read by its lines.
    pub const MAX_BYTES: usize = 1_000;

    /// Parses a `section` argument.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let name = raw.trim();
        if name.is_empty() {
            return Err(Refusal::argument("section", "it is empty"));
        }
        if name.len() > Self::MAX_BYTES {
            let why = format!("it has {} bytes; the limit is {}", name.len(), Self::MAX_BYTES);
            return Err(Refusal::argument("section", why));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as given, and without the `#` of a heading or an anchor.
    fn spellings(&self) -> [&str; 2] {
        [&self.0, self.0.trim_start_matches('#').trim_start()]
    }
}

impl Outline {
    /// Reads the headings of a page.
    pub fn of(path: &BookPath, page: &str) -> Self {
        let lines = LineIndex::of(page);
        let mut headings: Vec<Heading> = Vec::new();
        // Indices of the headings whose sections are open, by ascending level.
        let mut open: Vec<usize> = Vec::new();
        for (offset, mut heading) in found(path, page) {
            heading.first_line = lines.line_at(offset);
            if headings.last().is_some_and(|last| last.first_line == heading.first_line) {
                continue;
            }
            while let Some(above) = open.pop_if(|above| headings[*above].level >= heading.level) {
                headings[above].last_line = heading.first_line - 1;
            }
            open.push(headings.len());
            headings.push(heading);
        }
        for above in open {
            headings[above].last_line = lines.total();
        }
        for heading in &mut headings {
            heading.bytes = lines.lines(heading.first_line..=heading.last_line).len();
        }
        Self { headings, total_lines: lines.total() }
    }

    /// The heading with that slug, else the only one with that title.
    pub fn find(&self, name: &SectionName) -> Result<&Heading, Refusal> {
        for name in name.spellings() {
            for field in
                [|heading: &Heading| &heading.slug, |heading: &Heading| &heading.title] as [fn(&_) -> &_; 2]
            {
                let mut named = self.headings.iter().filter(|heading| field(heading) == name);
                match (named.next(), named.next()) {
                    (Some(heading), None) => return Ok(heading),
                    (Some(_), Some(_)) => {
                        let all = self.headings.iter().filter(|heading| field(heading) == name);
                        let slugs = all.map(|heading| heading.slug.clone()).take(NAMED_SLUGS).collect();
                        return Err(Refusal::SectionAmbiguous { section: name.to_owned(), slugs });
                    }
                    (None, _) => {}
                }
            }
        }
        let [_, name] = name.spellings();
        let slugs = self.headings.iter().take(SUGGESTED_FROM).map(|heading| heading.slug.as_str());
        let suggestions = suggestion::nearest_names(&slug::plain_slug(name), slugs);
        Err(Refusal::SectionNotFound { section: name.to_owned(), suggestions })
    }

    /// The section with that name, of the page that this outline was read from.
    pub fn section(&self, page: &str, name: &SectionName) -> Result<Excerpt, Refusal> {
        let heading = self.find(name)?;
        Ok(LineIndex::of(page).excerpt(heading.first_line..=heading.last_line))
    }
}

/// Headings of a page with their offsets, without the extents of their sections.
fn found(path: &BookPath, page: &str) -> Vec<(usize, Heading)> {
    let (_, body) = markdown::split(page);
    let before = page.len() - body.text.len();
    let (mut code, mut titles, mut open) = (Ranges::default(), Vec::new(), None::<TitleText>);
    let markdown = jsx::without_tag_lines(body.text);
    for (event, range) in TextMergeWithOffset::new(Parser::new_ext(&markdown, OPTIONS).into_offset_iter()) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => code.push(range),
            Event::Start(Tag::Heading { level, .. }) => {
                open = Some(TitleText::new(level as u8, &body.text[range.clone()], range.start));
            }
            Event::End(TagEnd::Heading(_)) => titles.extend(open.take()),
            Event::Code(text) => {
                code.push(range);
                if let Some(title) = &mut open {
                    title.push_code(&text);
                }
            }
            Event::Text(text) => {
                if let Some(title) = &mut open {
                    title.push_text(&text);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(title) = &mut open {
                    title.push_code("\n");
                }
            }
            _ => {}
        }
    }
    let expressions = expressions::ranges(body.text, &code, path.is_mdx());
    let mut slugger = Slugger::default();
    let real = titles.into_iter().filter(|title| expressions.around(title.offset).is_none());
    real.map(|title| {
        let offset = before + title.offset;
        (offset, title.into_heading(&mut slugger))
    })
    .collect()
}

#[cfg(test)]
mod tests;
