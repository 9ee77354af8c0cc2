//! `GET /ui/books/{book}/history/{path}`: the versions of a file, any two of which can be compared.

use axum::response::Response;
use maud::{Markup, html};
use panaversity_model::audit::Operation;
use panaversity_model::path::Folder;
use panaversity_model::version::FileVersion;
use panaversity_model::{BookPath, Refusal};
use panaversity_service::history::{HistoryPage, HistoryPosition};

use super::files::read_access;
use super::layout::{Crumb, WebPage};
use super::links::BookLinks;
use super::request::PageRequest;
use super::{book, shown};

pub(super) async fn page(request: PageRequest) -> Response {
    let request = &request;
    request
        .show("GET /ui/history", Operation::Read, async |call| {
            let (access, path) = read_access(request, call)?;
            let history = call.list_history(&access, &path, position(request)?).await?;
            let links = BookLinks::new(access.book(), access.layer());
            let mut crumbs = book::crumbs(&links, Some(&Folder::holding(&path)), true);
            crumbs.push(Crumb::new(path.name(), links.file(&path)));
            let main = rendered(&history, &links, &path);
            Ok(WebPage { crumbs, main, ..WebPage::titled(format!("History of {}", path.name())) })
        })
        .await
}

/// Where the page goes on.
fn position(request: &PageRequest) -> Result<Option<HistoryPosition>, Refusal> {
    let Some(path) = request.query.path("at")? else { return Ok(None) };
    let before = request.query.get("before").and_then(|before| before.parse().ok());
    let before = before.ok_or_else(|| Refusal::argument("before", "it must be the number of a version"))?;
    Ok(Some(HistoryPosition { path, before }))
}

fn rendered(history: &HistoryPage, links: &BookLinks, path: &BookPath) -> Markup {
    html! {
        @if history.versions.len() > 1 { p { "Choose two versions, then compare them." } }
        form method="get" action=(links.compare_form(path)) {
            @if let Some(user) = links.user() { input type="hidden" name="user" value=(user); }
            div.scroll tabindex="0" role="region" aria-label="Versions" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Before" } th scope="col" { "After" } th scope="col" { "When" }
                            th scope="col" { "Agent" }
                            th scope="col" { "Operation" }
                            th scope="col" { "Message" }
                            th scope="col" { "Size" }
                        }
                    }
                    tbody {
                        @for (n, version) in history.versions.iter().enumerate() {
                            (row(n, version, links, path))
                        }
                    }
                }
            }
            @if history.versions.len() > 1 { p { button { "Compare" } } }
        }
        @if let Some(next) = &history.next {
            p { a href=(links.history_after(path, &next.path, next.before)) { "Older versions" } }
        }
        p.quiet { "Replaced versions are kept for the time that the operator has set." }
    }
}

fn row(n: usize, version: &FileVersion, links: &BookLinks, asked: &BookPath) -> Markup {
    let hash = version.hash.map(|hash| hash.to_string());
    let when = version.at.to_string();
    // Versions at an older path are compared there.
    let choice = hash.as_deref().filter(|_| version.path == *asked);
    html! {
        tr {
            td {
                @if let Some(hash) = choice {
                    @let label = format!("Before: version of {when}");
                    input type="radio" name="from" value=(hash) checked[n == 1] aria-label=(label);
                }
            }
            td {
                @if let Some(hash) = choice {
                    @let label = format!("After: version of {when}");
                    input type="radio" name="to" value=(hash) checked[n == 0] aria-label=(label);
                }
            }
            td { a href=(links.change(&version.change, version.at)) { (shown::time(version.at)) } }
            td { (shown::agent(version.agent.as_str())) }
            td {
                (version.operation)
                @if let Some(from) = &version.moved_from { " from " bdi { (from) } }
                @if version.path != *asked { " at " bdi { (version.path) } }
            }
            td { (shown::message(version.message.as_deref())) }
            td.number {
                @if let Some(hash) = version.hash {
                    a href=(links.version(&version.path, hash)) { (shown::size(version.size)) }
                }
                @else { "deleted" }
            }
        }
    }
}
