//! `GET /ui/search`: texts and paths, of one book or of all that the caller may read. A text is looked for as
//! it is written, or as a regular expression; a path by a part of it, or by a glob.

use std::sync::Arc;

use axum::response::Response;
use maud::{Markup, html};
use panaversity_model::audit::Operation;
use panaversity_model::path::Prefix;
use panaversity_model::{BookId, Error, Layer};
use panaversity_service::Call;
use panaversity_service::authorize::SearchAccess;
use panaversity_service::glob::BookFile;
use panaversity_service::grep::{GrepEnd, GrepMatch, GrepQuery, GrepResult};

use super::layout::WebPage;
use super::links::{BookLinks, with_query};
use super::request::{PageRequest, QueryPairs};
use super::{shown, text};
use crate::mcp::Glob;

/// Most hits of a search of texts, and of paths.
const HITS: usize = 200;

pub(super) async fn page(request: PageRequest) -> Response {
    let request = &request;
    request
        .show("GET /ui/search", Operation::Search, async |call| {
            let (book, layer) = (request.query.book("book")?, request.query.layer()?);
            let access = call.may_search(book.clone(), layer.clone())?;
            let wanted = request.query.text("q")?;
            let results = match wanted {
                None => html! {},
                Some(wanted) if request.query.get("in") == Some("paths") => {
                    paths(call, &access, wanted, &layer).await?
                }
                Some(wanted) => texts(call, &access, wanted, request, &layer).await?,
            };
            let main = html! { (form(&request.query, book.as_ref())) (results) };
            Ok(WebPage { main, ..WebPage::titled("Search") })
        })
        .await
}

fn form(query: &QueryPairs, book: Option<&BookId>) -> Markup {
    let in_paths = query.get("in") == Some("paths");
    html! {
        form.filters role="search" method="get" action="/ui/search" {
            div {
                label for="q" { "Look for" }
                input #q name="q" type="search" maxlength="1000" value=[query.get("q")];
            }
            div {
                label for="in" { "In" }
                select #in name="in" {
                    option value="texts" selected[!in_paths] { "texts" }
                    option value="paths" selected[in_paths] { "paths" }
                }
            }
            div {
                label for="book" { "Book" }
                input #book name="book" value=[book.map(BookId::as_str)] placeholder="all books";
            }
            div {
                label for="glob" { "Only paths" }
                input #glob name="glob" value=[query.get("glob")] placeholder="content/**/*.md";
            }
            div.check {
                input #regex type="checkbox" name="regex" value="1" checked[query.get("regex").is_some()];
                label for="regex" { "Regular expression" }
            }
            div.check {
                input #case type="checkbox" name="case" value="1" checked[query.get("case").is_some()];
                label for="case" { "Same case" }
            }
            @if let Some(user) = query.get("user") { input type="hidden" name="user" value=(user); }
            div { button { "Search" } }
        }
    }
}

async fn texts(
    call: &Call,
    access: &SearchAccess,
    wanted: &str,
    request: &PageRequest,
    layer: &Layer,
) -> Result<Markup, Error> {
    let query = &request.query;
    let glob = query.text("glob")?.map(|raw| Glob::parse("glob", raw)).transpose()?;
    let pattern = if query.get("regex").is_some() { wanted.to_owned() } else { literal(wanted) };
    let found = call
        .grep_search(
            access,
            GrepQuery {
                pattern,
                ignore_case: query.get("case").is_none(),
                prefix: glob.as_ref().map_or_else(Prefix::everything, |glob| glob.prefix.clone()),
                accepts: match glob {
                    Some(glob) => Arc::new(move |path| glob.accepts_text(path)),
                    None => Arc::new(|_| true),
                },
                context_lines: 0,
                max_results: HITS,
            },
        )
        .await?;
    Ok(html! {
        h2 { "Hits" }
        p {
            (shown::count(found.matches.len(), "line", "lines"))
            " in the " (found.files_searched) " files that were searched."
            (end(&found))
        }
        (hits(&found.matches, layer))
    })
}

fn end(found: &GrepResult) -> Markup {
    let why = match found.ended_by {
        None => return html! {},
        Some(GrepEnd::Matches | GrepEnd::Size) => "There are more hits: look for something rarer.",
        Some(GrepEnd::Time) => {
            "The search took too long and ended early: look in one book, or in fewer paths."
        }
        Some(GrepEnd::Unreadable) => "Many files could not be read; the operator's log says why.",
    };
    html! { " " strong { (why) } }
}

fn hits(matches: &[GrepMatch], layer: &Layer) -> Markup {
    let same_file = |a: &GrepMatch, b: &GrepMatch| a.book == b.book && a.path == b.path;
    html! {
        @for file in matches.chunk_by(same_file) {
            @if let Some(first) = file.first() {
                @let links = BookLinks::new(&first.book, layer);
                section.file {
                    h3 { a href=(links.file(&first.path)) { (first.book) "/" bdi { (first.path) } } }
                    div.scroll tabindex="0" role="region" aria-label="Lines" {
                        table.text {
                            tbody {
                                @for hit in file {
                                    @let number = usize::try_from(hit.line.number).unwrap_or(1);
                                    @let from = number.saturating_sub(20).max(1);
                                    tr {
                                        td.line {
                                            a href={ (links.text(&first.path, None, from)) "#L" (number) } {
                                                (number)
                                            }
                                        }
                                        td { pre dir="auto" { (text::cut(&hit.line.line)) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

async fn paths(call: &Call, access: &SearchAccess, wanted: &str, layer: &Layer) -> Result<Markup, Error> {
    let is_glob = wanted.contains(['*', '?', '[', '{']);
    let page = if is_glob {
        let glob = Glob::parse("q", wanted)?;
        let prefix = glob.prefix.clone();
        call.glob_search(access, &prefix, None, move |path| glob.accepts_text(path)).await?
    } else {
        let part = wanted.to_lowercase();
        call.glob_search(access, &Prefix::everything(), None, move |path| path.to_lowercase().contains(&part))
            .await?
    };
    let shown = &page.matches[..page.matches.len().min(HITS)];
    let is_cut = shown.len() < page.matches.len() || page.next.is_some();
    Ok(html! {
        h2 { "Files" }
        p {
            (shown::count(shown.len(), "file", "files")) "." @if is_cut {
                " " strong { "There are more: look for something rarer." }
            }
        }
        ul.paths { @for file in shown { (hit(file, layer)) } }
    })
}

fn hit((book, path): &BookFile, layer: &Layer) -> Markup {
    let links = BookLinks::new(book, layer);
    html! { li { a href=(links.book()) { (book) } " / " a href=(links.file(path)) { bdi { (path) } } } }
}

/// The regular expression that matches a text as it is written.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// The search of a book.
pub(super) fn url(book: &BookId, user: Option<&str>) -> String {
    with_query("/ui/search", &[("book", Some(book.as_str())), ("user", user)])
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn a_text_is_looked_for_as_it_is_written() {
        assert_eq!(literal("a.b* (c) ü_<1>"), "a\\.b\\* \\(c\\) ü\\_\\<1\\>");
    }
}
