//! The tree of a book beside its pages: the folders on the way to where one is, each with its first children.
//! It reads one page of each folder on the way, and so costs the same in a book of any size.

use futures::future::try_join_all;
use maud::{Markup, html};
use panaversity_model::browsing::FolderChild;
use panaversity_model::path::Folder;
use panaversity_model::{BookPath, Error};
use panaversity_service::browse::{CountedChild, FolderPage, MOST_COUNTED};
use panaversity_service::{Call, ReadAccess};

use super::links::BookLinks;

/// Children shown of a folder on the way, and of the last one.
const ON_THE_WAY: usize = 25;
const OF_THE_LAST: usize = 60;

/// The folders on the way to a folder, from the top, each with its first children.
pub(super) async fn read(call: &Call, access: &ReadAccess, last: &Folder) -> Result<Vec<FolderPage>, Error> {
    let mut way = vec![last.clone()];
    while let Some(parent) = way.last().and_then(Folder::parent) {
        way.push(parent);
    }
    way.reverse();
    let pages = way.iter().map(|folder| {
        let limit = if folder == last { OF_THE_LAST } else { ON_THE_WAY };
        call.list_folder(access, folder, None, limit)
    });
    try_join_all(pages).await
}

/// The tree. `current` is the file that is shown.
pub(super) fn render(way: &[FolderPage], links: &BookLinks, current: Option<&BookPath>) -> Markup {
    html! {
        aside.tree aria-label="Files of the book" {
            details open {
                summary { "Files" }
                @if let Some((first, inner)) = way.split_first() { (level(first, inner, links, current)) }
            }
        }
    }
}

/// The children of a folder, with the levels inside the one that is open.
fn level(page: &FolderPage, inner: &[FolderPage], links: &BookLinks, current: Option<&BookPath>) -> Markup {
    let open = inner.first().map(|next| &next.folder);
    let is_listed = |folder: &Folder| {
        page.children
            .iter()
            .any(|child| matches!(&child.child, FolderChild::Folder(listed) if listed == folder))
    };
    html! {
        ul {
            @for child in &page.children {
                @match &child.child {
                    FolderChild::Folder(folder) if open == Some(folder) => {
                        (opened(folder, inner, links, current))
                    }
                    FolderChild::Folder(folder) => {
                        li {
                            a href=(links.folder(folder, None)) { bdi { (folder.name()) } "/" }
                            " " (files(child))
                        }
                    }
                    FolderChild::File(record) => {
                        @let is_current = current == Some(&record.path);
                        li {
                            a href=(links.file(&record.path)) aria-current=[is_current.then_some("page")] {
                                bdi { (record.path.name()) }
                            }
                            (badge(links, &record.layer))
                        }
                    }
                }
            }
            @if let Some(folder) = open.filter(|folder| !is_listed(folder)) {
                (opened(folder, inner, links, current))
            }
            @if let Some(next) = &page.next {
                li { a href=(links.folder(&page.folder, Some(next))) { "More in this folder" } }
            }
        }
    }
}

fn opened(folder: &Folder, inner: &[FolderPage], links: &BookLinks, current: Option<&BookPath>) -> Markup {
    html! {
        li {
            details open {
                summary { bdi { (folder.name()) } "/" }
                a.here href=(links.folder(folder, None)) { "Open this folder" }
                @if let Some((next, rest)) = inner.split_first() { (level(next, rest, links, current)) }
            }
        }
    }
}

/// Number of files below a folder.
pub(super) fn files(child: &CountedChild) -> Markup {
    let (text, label) = match child.files {
        MOST_COUNTED.. => (format!("{MOST_COUNTED}+"), format!("{MOST_COUNTED} files or more")),
        1 => ("1".to_owned(), "1 file".to_owned()),
        files => (files.to_string(), format!("{files} files")),
    };
    html! { span.count title=(label) { (text) } }
}

/// The mark of a file that is the overlay's, in the view of one.
pub(super) fn badge(links: &BookLinks, layer: &panaversity_model::Layer) -> Markup {
    html! { @if links.user().is_some() && *layer == links.layer { " " span.badge { "overlay" } } }
}
