//! Events of the Markdown parser, adapted to pages of this server, and counted against the limits.

use std::collections::HashMap;
use std::ops::Range;

use panaversity_model::BookPath;
use panaversity_model::lines::LineIndex;
use panaversity_model::markdown::OPTIONS;
use panaversity_model::outline::Outline;
use pulldown_cmark::{CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd};

use super::targets::is_elsewhere;

/// Most events of a page.
const MOST_EVENTS: usize = 30_000;
/// Most elements that lie in each other.
const MOST_DEPTH: usize = 50;
/// Most tags of HTML that is written in a page: each may lie in the one before.
const MOST_TAGS: usize = 2_000;

/// Adapter of the events of one page.
struct Adapter<'a> {
    body: &'a str,
    is_mdx: bool,
    lines: LineIndex<'a>,
    lines_before: usize,
    /// Slugs of headings by their first line.
    slugs: HashMap<usize, &'a str>,
    events: Vec<Event<'a>>,
    depth: usize,
    tags: usize,
    /// Level of the last heading as it is shown; that of the page's title is 1.
    level: u8,
    /// Levels of open headings as they are shown.
    open: Vec<u8>,
    /// URL of the open image that is not shown; its text becomes that of a link.
    image: Option<CowStr<'a>>,
}

/// The events of the body of a page; `None`: it passes a limit.
pub(super) fn adapted<'a>(
    body: &'a str,
    path: &BookPath,
    lines_before: usize,
    outline: &'a Outline,
) -> Option<Vec<Event<'a>>> {
    let slugs = outline.headings.iter().map(|heading| (heading.first_line, heading.slug.as_str())).collect();
    let mut adapter = Adapter {
        body,
        is_mdx: path.is_mdx(),
        lines: LineIndex::of(body),
        lines_before,
        slugs,
        events: Vec::new(),
        depth: 0,
        tags: 0,
        level: 1,
        open: Vec::new(),
        image: None,
    };
    let options = OPTIONS | Options::ENABLE_TASKLISTS;
    let mut source = Parser::new_ext(body, options).into_offset_iter();
    while let Some((event, range)) = source.next() {
        if matches!(event, Event::Start(Tag::Paragraph)) && adapter.is_module(&range) {
            adapter.push_code(&range);
            for (event, _) in source.by_ref() {
                if matches!(event, Event::End(TagEnd::Paragraph)) {
                    break;
                }
            }
            continue;
        }
        adapter.push(event, &range)?;
    }
    Some(adapter.events)
}

impl<'a> Adapter<'a> {
    /// Adds an event; `None`: a limit is passed.
    fn push(&mut self, event: Event<'a>, range: &Range<usize>) -> Option<()> {
        match &event {
            Event::Start(_) => self.depth += 1,
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            Event::Html(text) | Event::InlineHtml(text) => self.tags += text.matches('<').count(),
            _ => {}
        }
        if self.events.len() >= MOST_EVENTS || self.depth > MOST_DEPTH || self.tags > MOST_TAGS {
            return None;
        }
        self.adapt(event, range);
        Some(())
    }

    fn adapt(&mut self, event: Event<'a>, range: &Range<usize>) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => self.begin_heading(level as u8, range.start),
            Event::End(TagEnd::Heading(_)) => {
                let level = self.open.pop().unwrap_or(2);
                self.events.push(html(format!("</h{level}>\n")));
            }
            Event::Start(Tag::Image { dest_url, .. }) if is_elsewhere(&dest_url) => {
                self.events.push(Event::Text("🖼 ".into()));
                self.image = Some(dest_url);
            }
            Event::End(TagEnd::Image) if self.image.is_some() => {
                let url = self.image.take().unwrap_or_else(|| "".into());
                self.events.push(Event::Text(" (".into()));
                self.events.push(Event::Text(url));
                self.events.push(Event::Text(")".into()));
            }
            Event::Start(Tag::Table(alignments)) => {
                self.events.push(html("<div class=\"scroll\" tabindex=\"0\">".to_owned()));
                self.events.push(Event::Start(Tag::Table(alignments)));
            }
            Event::End(TagEnd::Table) => {
                self.events.push(Event::End(TagEnd::Table));
                self.events.push(html("</div>".to_owned()));
            }
            Event::Start(Tag::CodeBlock(_)) => {
                self.events.push(html("<pre tabindex=\"0\"><code>".to_owned()));
            }
            Event::End(TagEnd::CodeBlock) => self.events.push(html("</code></pre>\n".to_owned())),
            Event::TaskListMarker(done) => {
                self.events.push(Event::Text(if done { "☑ " } else { "☐ " }.into()));
            }
            Event::Html(text) if is_component(&text) => {
                self.events.push(html("<p>".to_owned()));
                self.events.push(Event::Code(text));
                self.events.push(html("</p>".to_owned()));
            }
            Event::InlineHtml(text) if is_component(&text) => self.events.push(Event::Code(text)),
            other => self.events.push(other),
        }
    }

    /// A heading one level below the page's title, and at most one below the heading before it.
    fn begin_heading(&mut self, level: u8, offset: usize) {
        let level = (level + 1).min(self.level + 1).min(6);
        self.level = level;
        self.open.push(level);
        let line = self.lines_before + self.lines.line_at(offset);
        let id = self.slugs.get(&line).map_or(String::new(), |slug| format!(" id=\"{}\"", escaped(slug)));
        self.events.push(html(format!("<h{level}{id}>")));
    }

    /// True for a paragraph that MDX reads as imports or exports.
    fn is_module(&self, range: &Range<usize>) -> bool {
        let text = &self.body[range.clone()];
        self.is_mdx && (text.starts_with("import ") || text.starts_with("export "))
    }

    fn push_code(&mut self, range: &Range<usize>) {
        let kind = CodeBlockKind::Fenced("".into());
        self.adapt(Event::Start(Tag::CodeBlock(kind)), range);
        self.events.push(Event::Text(self.body[range.clone()].into()));
        self.adapt(Event::End(TagEnd::CodeBlock), range);
    }
}

fn html<'a>(text: String) -> Event<'a> {
    Event::InlineHtml(text.into())
}

/// True for a tag of a component: its name begins with a capital letter.
fn is_component(tag: &str) -> bool {
    let name = tag.trim_start().trim_start_matches(['<', '/']);
    name.starts_with(|c: char| c.is_ascii_uppercase())
}

/// Text as the value of an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}
