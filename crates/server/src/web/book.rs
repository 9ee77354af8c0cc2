//! `GET /ui/books/{book}`: a folder of a book, its tree, and the recent change sets.

use axum::response::Response;
use maud::{Markup, html};
use panaversity_model::audit::Operation;
use panaversity_model::browsing::{ChildPosition, FolderChild};
use panaversity_model::path::Folder;
use panaversity_model::permission::Permission;
use panaversity_model::{Book, Layer, UserId};
use panaversity_service::Call;
use panaversity_service::browse::{CountedChild, FolderPage};

use super::layout::{Crumb, WebPage};
use super::links::{BookLinks, with_query};
use super::request::PageRequest;
use super::{changes, live, search, shown, tree};

/// Children on a page of a folder.
const CHILDREN: usize = 100;
/// Change sets on the page.
const RECENT: usize = 12;

pub(super) async fn page(request: PageRequest) -> Response {
    let request = &request;
    request
        .show("GET /ui/books", Operation::List, async |call| {
            let access = call.may_read(request.book()?, request.query.layer()?)?;
            let links = BookLinks::new(access.book(), access.layer());
            let folder = request.query.folder()?;
            let after = request.query.get("after").map(ChildPosition::parse).transpose()?;
            let book = call.read_book(&access).await?;
            let shown_folder = folder.clone().unwrap_or_else(Folder::content);
            let listed = folder.clone().unwrap_or_else(Folder::everything);
            let page = call.list_folder(&access, &listed, after.as_ref(), CHILDREN);
            let (way, page) = futures::try_join!(tree::read(call, &access, &shown_folder), page)?;
            let recent = match &folder {
                None => Some(call.recent_changes(&access, None, RECENT).await?),
                Some(_) => None,
            };
            let main = html! {
                (live::notices(&links, None))
                (overlay_line(call, &links))
                @if folder.is_none() { (facts(&book, &links)) }
                h2 { "Files" }
                (listing(&page, &links))
                @if let Some(recent) = &recent {
                    h2 { "Recent changes" }
                    (changes::listing(&recent.sets, &links))
                    p { a href=(links.changes(None)) { "All changes" } }
                }
            };
            let title =
                folder.as_ref().map_or_else(|| book.id.to_string(), |folder| folder.as_str().to_owned());
            let crumbs = crumbs(&links, folder.as_ref().and_then(Folder::parent).as_ref(), folder.is_some());
            Ok(WebPage {
                crumbs,
                aside: Some(tree::render(&way, &links, None)),
                main,
                ..WebPage::titled(title)
            })
        })
        .await
}

/// The way to what lies in a folder of a book; the book itself only if `is_below`.
pub(super) fn crumbs(links: &BookLinks, folder: Option<&Folder>, is_below: bool) -> Vec<Crumb> {
    let mut crumbs = vec![Crumb::new("Books", "/")];
    if is_below {
        crumbs.push(Crumb::new(links.book.as_str(), links.book()));
    }
    let mut way = Vec::new();
    let mut next = folder.cloned();
    while let Some(folder) = next.filter(|folder| !folder.as_str().is_empty()) {
        next = folder.parent();
        way.push(folder);
    }
    crumbs.extend(way.iter().rev().map(|folder| Crumb::new(folder.name(), links.folder(folder, None))));
    crumbs
}

fn facts(book: &Book, links: &BookLinks) -> Markup {
    html! {
        dl.facts {
            dt { "Schema" } dd { (book.schema.as_str()) }
            dt { "Created" } dd { (shown::time(book.created_at)) }
        }
        ul.actions {
            li { a href=(links.gallery(None)) { "Assets" } }
            li { a href=(links.build()) { "Build and archive" } }
            li { a href=(search::url(&links.book, links.user())) { "Search" } }
            li { a href=(with_query("/ui/audit", &[("book_id", Some(links.book.as_str()))])) { "Audit log" } }
        }
    }
}

fn listing(page: &FolderPage, links: &BookLinks) -> Markup {
    html! {
        @if page.children.is_empty() {
            p { "There are no files here." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Files of this folder" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Name" }
                            th scope="col" { "Size" }
                            th scope="col" { "Last change" }
                        }
                    }
                    tbody { @for child in &page.children { (row(child, links)) } }
                }
            }
        }
        @if let Some(next) = &page.next {
            p { a href=(links.folder(&page.folder, Some(next))) { "More files" } }
        }
    }
}

fn row(child: &CountedChild, links: &BookLinks) -> Markup {
    html! {
        @match &child.child {
            FolderChild::Folder(folder) => {
                tr {
                    th scope="row" { a href=(links.folder(folder, None)) { bdi { (folder.name()) } "/" } }
                    td.number { (tree::files(child)) " files" }
                    td {}
                }
            }
            FolderChild::File(record) => {
                tr {
                    th scope="row" {
                        a href=(links.file(&record.path)) { bdi { (record.path.name()) } }
                        (tree::badge(links, &record.layer))
                    }
                    td.number { (shown::size(record.size)) }
                    td { (shown::time(record.written_at)) }
                }
            }
        }
    }
}

/// Whose overlay is shown, and for a caller that may see others, which to show.
fn overlay_line(call: &Call, links: &BookLinks) -> Markup {
    let principal = &call.caller.principal;
    let own = principal.user();
    let may_see_all = UserId::parse("anybody").is_ok_and(|user| {
        principal.require_layer(Permission::Read, Some(&links.book), &Layer::Overlay(user)).is_ok()
    });
    let base = BookLinks::new(&links.book, &Layer::Base);
    html! {
        @if let Some(user) = links.user() {
            p.overlay {
                "You see the book with the overlay of " strong { (user) } ". "
                a href=(base.book()) { "Show the book alone" }
            }
        } @else if let Some(user) = own {
            p {
                a href=(BookLinks::new(&links.book, &Layer::Overlay(user.clone())).book()) {
                    "Show it with my overlay"
                }
            }
        }
        @if may_see_all {
            form.inline method="get" action=(base.book()) {
                label for="user" { "Overlay of the user" }
                input #user name="user" maxlength="100" value=[links.user()];
                button { "Show" }
            }
        }
    }
}
