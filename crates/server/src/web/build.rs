//! `GET /ui/books/{book}/build`: the state that a build would fetch, and `?archive=` all of it as a download.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use panaversity_model::audit::Operation;
use panaversity_model::{Layer, Refusal};
use panaversity_service::archive::ArchiveScope;
use panaversity_service::books::{BookSummary, Structure};

use super::layout::WebPage;
use super::links::BookLinks;
use super::request::PageRequest;
use super::{book, shown};
use crate::signed_url::{ARCHIVE_FIELDS, archive_path};

pub(super) async fn page(request: PageRequest) -> Response {
    match request.query.get("archive") {
        None => state(&request).await,
        Some(_) => download(&request).await,
    }
}

async fn state(request: &PageRequest) -> Response {
    request
        .show("GET /ui/build", Operation::List, async |call| {
            let access = call.may_search(Some(request.book()?), Layer::Base)?;
            let book = call.list_books(&access, Structure::Nothing, None).await?.books.pop();
            let book = book.ok_or_else(|| Refusal::not_found("There is no such book"))?;
            let links = BookLinks::new(&book.book.id, &Layer::Base);
            let crumbs = book::crumbs(&links, None, true);
            let title = format!("Build and archive of {}", links.book);
            Ok(WebPage { crumbs, main: rendered(&book, &links), ..WebPage::titled(title) })
        })
        .await
}

fn rendered(book: &BookSummary, links: &BookLinks) -> Markup {
    let archive = |scope: ArchiveScope| links.to("/build", &[("archive", Some(scope.as_str()))]);
    html! {
        dl.facts {
            dt { "Manifest" } dd { code.long { (book.manifest) } }
            dt { "Files" } dd { (book.files) }
            dt { "Size" } dd { (shown::size(book.bytes)) }
            dt { "Last change" } dd { (shown::time(book.updated_at)) }
        }
        p { "The manifest names this state: two builds of one manifest hold the same bytes." }
        h2 { "Archive" }
        ul.actions {
            li { a.button href=(archive(ArchiveScope::All)) { "Download everything" } }
            li { a href=(archive(ArchiveScope::Content)) { "Only the pages" } }
            li { a href=(archive(ArchiveScope::Assets)) { "Only the assets" } }
        }
        h2 { "Build" }
        p { "Into a folder, and later only what has changed:" }
        pre tabindex="0" { "panaversity-fs hydrate --book-id " (links.book) " --output-dir docs" }
    }
}

/// Makes an archive and leads to it.
async fn download(request: &PageRequest) -> Response {
    request
        .answer("GET /ui/build?archive", Operation::Archive, async |call| {
            let access = call.may_read(request.book()?, Layer::Base)?;
            let scope = request.query.get("archive").and_then(ArchiveScope::parse);
            let scope =
                scope.ok_or_else(|| Refusal::argument("archive", "it must be content, assets or all"))?;
            let links = &request.app.links;
            let made = call.make_archive(&access, scope, None, links.valid_for()).await?;
            let (state, layout) = (made.manifest.to_string(), made.archive.hash().to_string());
            let values = [&*state, scope.as_str(), &layout, call.caller.principal.agent.as_str()];
            let fields: Vec<_> = ARCHIVE_FIELDS.into_iter().zip(values).collect();
            let path = archive_path(access.book());
            let url = format!("{path}?{}", links.token(&path, &fields, links.valid_for()));
            Ok((StatusCode::SEE_OTHER, Redirect::to(&url)).into_response())
        })
        .await
}
