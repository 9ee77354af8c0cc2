//! `GET /ui/books/{book}/blame/{path}`: the text of a file with who last wrote each line, when and why, in
//! its margin.

use axum::response::Response;
use maud::{Markup, html};
use panaversity_model::Refusal;
use panaversity_model::audit::Operation;
use panaversity_model::lines::LineRange;
use panaversity_model::path::Folder;
use panaversity_service::history::BlamedRun;
use panaversity_service::read::ReadFile;

use super::files::read_access;
use super::layout::{Crumb, WebPage};
use super::links::BookLinks;
use super::request::PageRequest;
use super::text::{self, TextWindow};
use super::{book, shown};

pub(super) async fn page(request: PageRequest) -> Response {
    let request = &request;
    request
        .show("GET /ui/blame", Operation::Read, async |call| {
            let (access, path) = read_access(request, call)?;
            let links = BookLinks::new(access.book(), access.layer());
            let read = ReadFile::whole(access.clone(), path.clone());
            let content = call.read_file(&read).await?.content.into_text();
            let text = content
                .ok_or_else(|| Refusal::argument("path", "the file is no text, so it has no lines"))?;
            let window = text::window(&text, request.query.number("from")?);
            let last = window.lines.last().map(|(n, _)| *n);
            let runs = match last {
                // A file that was changed since may have fewer lines: then the reader is told to look again.
                Some(last) => {
                    let shown = LineRange::parse(&format!("{}-{last}", window.first))?;
                    call.blame_content(&access, &path, Some(shown)).await?.runs
                }
                None => Vec::new(),
            };
            let main = html! {
                (table(&window, &runs, &links))
                ul.actions {
                    @if window.first > 1 {
                        li {
                            a href=(links.blame(&path, window.first.saturating_sub(text::WINDOW_LINES))) {
                                "Lines before"
                            }
                        }
                    }
                    @if let Some(next) = window.next {
                        li { a href=(links.blame(&path, next)) { "Lines after" } }
                    }
                }
            };
            let mut crumbs = book::crumbs(&links, Some(&Folder::holding(&path)), true);
            crumbs.push(Crumb::new(path.name(), links.file(&path)));
            Ok(WebPage { crumbs, main, ..WebPage::titled(format!("Who wrote {}", path.name())) })
        })
        .await
}

fn table(window: &TextWindow<'_>, runs: &[BlamedRun], links: &BookLinks) -> Markup {
    // Each run with its lines of the window.
    let parts: Vec<_> = runs
        .iter()
        .map(|run| {
            let of_run = window.lines.iter().filter(|(n, _)| run.lines.contains(&(n - 1)));
            (run, of_run.collect::<Vec<_>>())
        })
        .filter(|(_, lines)| !lines.is_empty())
        .collect();
    html! {
        @if window.next.is_some() || window.first > 1 {
            p.notice { "Lines from " (window.first) " of " (window.total) "." }
        }
        div.scroll tabindex="0" role="region" aria-label="Lines with their authors" {
            table.text.blame {
                tbody {
                    @for (run, lines) in &parts {
                        @for (n, line) in lines {
                            @let is_first = lines.first().is_some_and(|(first, _)| first == n);
                            tr.first[is_first] {
                                @if is_first {
                                    th.who scope="rowgroup" rowspan=(lines.len()) { (who(run, links)) }
                                }
                                td.line { (n) }
                                td { pre dir="auto" { (line) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn who(run: &BlamedRun, links: &BookLinks) -> Markup {
    let version = &run.version;
    html! {
        (shown::agent(version.agent.as_str())) br;
        a href=(links.change(&version.change, version.at)) { (shown::time(version.at)) }
        @if run.older { " or before" }
        br;
        (shown::message(version.message.as_deref()))
    }
}
