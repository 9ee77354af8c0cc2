//! `GET /`: the books, and in one line how the server is.

use axum::response::Response;
use maud::{Markup, html};
use panaversity_model::audit::Operation;
use panaversity_model::browsing::DayCount;
use panaversity_model::{BookId, Layer, Timestamp};
use panaversity_service::books::{BookPage, BookPosition, BookSummary, Structure};
use panaversity_service::health::Health;

use super::layout::WebPage;
use super::links::{BookLinks, with_query};
use super::request::PageRequest;
use super::{shown, sparkline};

pub(super) async fn page(request: PageRequest) -> Response {
    let request = &request;
    request
        .show("GET /", Operation::List, async |call| {
            let access = call.may_search(None, Layer::Base)?;
            let after = request.query.book("after")?.map(|book| BookPosition { book, folder: None });
            let page = call.list_books(&access, Structure::Nothing, after).await?;
            let now = call.now().await?;
            let ids: Vec<BookId> = page.books.iter().map(|book| book.book.id.clone()).collect();
            let days = call.activity(&access, &ids, sparkline::begin(now)).await?;
            let health = request.app.service.health(request.app.limits.probe_timeout).await;
            Ok(WebPage { main: rendered(&page, &days, now, &health), ..WebPage::titled("Books") })
        })
        .await
}

fn rendered(page: &BookPage, days: &[Vec<DayCount>], now: Timestamp, health: &Health) -> Markup {
    html! {
        (line(health))
        @if page.books.is_empty() {
            p {
                "There is no book yet. An agent creates one with its first write, or you do with "
                code { "panaversity-fs book create" } "."
            }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Books" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Book" } th scope="col" { "Files" } th scope="col" { "Size" }
                            th scope="col" { "Last change" } th scope="col" { "Changes in 30 days" }
                        }
                    }
                    tbody { @for (book, days) in page.books.iter().zip(days) { (row(book, days, now)) } }
                }
            }
        }
        @if let Some(next) = &page.next {
            p { a href=(with_query("/", &[("after", Some(next.book.as_str()))])) { "More books" } }
        }
    }
}

fn row(book: &BookSummary, days: &[DayCount], now: Timestamp) -> Markup {
    let links = BookLinks::new(&book.book.id, &Layer::Base);
    html! {
        tr {
            th scope="row" { a href=(links.book()) { (book.book.id) } }
            td.number { (book.files) }
            td.number { (shown::size(book.bytes)) }
            td { a href=(links.changes(None)) { (shown::time(book.updated_at)) } }
            td { (sparkline::of_changes(days, now)) }
        }
    }
}

/// Health in one line.
fn line(health: &Health) -> Markup {
    let mut troubles = Vec::new();
    if !health.database.up {
        troubles.push("the database does not answer".to_owned());
    }
    if !health.storage.up {
        troubles.push("the storage does not answer".to_owned());
    }
    if !health.verified.breaks.is_empty() {
        troubles.push("an audit chain is broken".to_owned());
    }
    match health.damaged_blobs {
        Some(0) | None => {}
        Some(damaged) => troubles.push(format!("the content of {damaged} files is damaged")),
    }
    let waiting = match health.pending_publications {
        None | Some(0) => "everything is published".to_owned(),
        Some(waiting) => format!("{waiting} publications wait"),
    };
    html! {
        @if troubles.is_empty() {
            p.health {
                "All is well: database and storage answer, " (waiting) ". " a href="/ui/state" { "State" }
            }
        } @else {
            p.health.problem { "Attention: " (troubles.join(", ")) ". " a href="/ui/state" { "State" } }
        }
    }
}
