//! Rendering of Markdown pages as HTML. Invariant: whatever a page contains, its HTML runs nothing, loads
//! nothing from elsewhere, and is bounded, as is the time that it takes.
//!
//! 1. The front matter is split off and shown as a table; only so many bytes of the rest are rendered, cut at
//!    a line.
//! 2. It is parsed as `CommonMark`. A page whose events, depth or HTML pass a limit is shown as text instead.
//! 3. Events are adapted (`events.rs`): headings get the anchors of the outline and levels without gaps,
//!    images of other servers become links, components and imports of MDX their own text.
//! 4. The HTML is sanitised (`sanitised.rs`): known elements and attributes only, links of known kinds only.
//!    Links within the book become links between these pages.

mod events;
mod sanitised;
mod targets;

use maud::{Markup, PreEscaped, html};
use panaversity_model::BookPath;
use panaversity_model::markdown::{FrontMatter, split};
use panaversity_model::outline::Outline;

use super::links::BookLinks;
use super::text;

/// Most bytes of a page that are rendered.
pub(super) const MOST_BYTES: usize = 60_000;
/// Most bytes of its HTML.
const MOST_HTML: usize = 400_000;
/// Most headings of an outline, and most rows of front matter, that are shown.
const MOST_HEADINGS: usize = 200;
const MOST_ROWS: usize = 60;

/// A page with what its links are relative to.
pub(super) struct PageSource {
    pub(super) links: BookLinks,
    pub(super) path: BookPath,
    pub(super) text: String,
}

/// A page, rendered, or as text where that is not possible.
pub(super) fn page(source: &PageSource) -> Markup {
    let (front, body) = split(&source.text);
    let outline = Outline::of(&source.path, &source.text);
    let end = cut_at_line(body.text);
    let rendered = rendered(source, &body.text[..end], body.lines_before, &outline);
    html! {
        @if let FrontMatter::Block(block) = front { (front_matter(block)) }
        @match rendered {
            Some(rendered) => {
                div.page {
                    (contents(&outline))
                    article.rendered dir="auto" { (PreEscaped(rendered)) }
                }
                @if end < body.text.len() {
                    p.notice {
                        "The page is long: only its beginning is rendered. "
                        @let next = body.lines_before + body.text[..end].lines().count() + 1;
                        a href=(source.links.text(&source.path, None, next)) { "Go on in its text" }
                    }
                }
            }
            None => {
                p.notice { "This page is too intricate to be rendered, so you see its text." }
                @let url = |from| source.links.text(&source.path, None, from);
                (text::render(&text::window(&source.text, 1), url))
            }
        }
    }
}

/// HTML of the body of a page; `None`: it passes a limit.
fn rendered(source: &PageSource, body: &str, lines_before: usize, outline: &Outline) -> Option<String> {
    let events = events::adapted(body, &source.path, lines_before, outline)?;
    let mut unsafe_html = String::with_capacity(body.len() * 2);
    pulldown_cmark::html::push_html(&mut unsafe_html, events.into_iter());
    if unsafe_html.len() > MOST_HTML {
        return None;
    }
    Some(sanitised::sanitise(&unsafe_html, &source.links, &source.path))
}

/// Length of the part that is rendered.
fn cut_at_line(body: &str) -> usize {
    if body.len() <= MOST_BYTES {
        return body.len();
    }
    let most = body.floor_char_boundary(MOST_BYTES);
    body[..most].rfind('\n').map_or(most, |at| at + 1)
}

/// The top-level keys of a front matter; what is nested stays as it is written.
fn front_matter(block: &str) -> Markup {
    let mut rows: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        let is_key = !line.starts_with([' ', '\t', '-', '#']);
        match line.split_once(':').filter(|_| is_key) {
            Some((key, value)) => rows.push((key.trim(), vec![value.trim()])),
            None => match rows.last_mut() {
                Some((_, lines)) => lines.push(line),
                None => rows.push(("", vec![line])),
            },
        }
    }
    html! {
        @if !rows.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="Front matter" {
                table.front {
                    tbody {
                        @for (key, lines) in rows.iter().take(MOST_ROWS) {
                            tr {
                                th scope="row" { (text::cut(key)) }
                                td dir="auto" {
                                    @if let [line] = lines[..] { (text::cut(line)) }
                                    @else { pre { (text::cut(&lines.join("\n"))) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The outline beside the page.
fn contents(outline: &Outline) -> Markup {
    html! {
        @if outline.headings.len() > 1 {
            nav.outline aria-label="On this page" {
                details open {
                    summary { "On this page" }
                    ul {
                        @for heading in outline.headings.iter().take(MOST_HEADINGS) {
                            li class={ "level-" (heading.level) } {
                                a href={ "#" (sanitised::ID_PREFIX) (heading.slug) } {
                                    bdi { (text::cut(&heading.title)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
