//! `GET /ui/books/{book}/compare/{path}`: two versions of a file, side by side or inline, word by word.
//! `from` and `to` are hashes; without `from` it is compared with nothing, without `to` likewise.

use axum::response::Response;
use maud::html;
use panaversity_model::audit::Operation;
use panaversity_model::path::Folder;
use panaversity_model::{BookPath, ContentHash, Error};
use panaversity_service::read::ReadFile;
use panaversity_service::{Call, ReadAccess};

use super::diff::{self, DiffStyle};
use super::files::{off_thread, read_access};
use super::layout::{Crumb, WebPage};
use super::links::BookLinks;
use super::request::{PageRequest, may_write};
use super::{book, restore, shown};

/// Most rows of a comparison.
const ROWS: usize = 2_000;

pub(super) async fn page(request: PageRequest) -> Response {
    let request = &request;
    request
        .show("GET /ui/compare", Operation::Read, async |call| {
            let (access, path) = read_access(request, call)?;
            let (from, to) = (request.query.hash("from")?, request.query.hash("to")?);
            let style = DiffStyle::parse(request.query.get("view"));
            request.app.hold.take(diff::MOST_BYTES).await;
            let texts = futures::try_join!(text(call, &access, &path, from), text(call, &access, &path, to))?;
            let current = call.hash_of(&access, &path).await?;
            let links = BookLinks::new(access.book(), access.layer());
            let differences = if let (Some(before), Some(after)) = texts {
                let render = move || diff::render(&before, &after, style, ROWS);
                off_thread(render).await?
            } else {
                html! { p { "One of the two versions is no text." } }
            };
            let spelt = |hash: Option<ContentHash>| hash.map(|hash| hash.to_string()).unwrap_or_default();
            let other =
                |style: DiffStyle| links.compare(&path, &spelt(from), &spelt(to), Some(style.as_str()));
            let main = html! {
                p {
                    "From " (version(from)) " to " (version(to)) ". "
                    @match style {
                        DiffStyle::SideBySide => a href=(other(DiffStyle::Inline)) { "Show it inline" },
                        DiffStyle::Inline => a href=(other(DiffStyle::SideBySide)) { "Show it side by side" },
                    }
                }
                @if let Some(from) = from.filter(|from| Some(*from) != current) {
                    @if may_write(call, access.book(), access.layer()) {
                        p { "The version before can be restored." }
                        (restore::form(&request.app, call, &links, &path, from, current))
                    }
                }
                (differences)
            };
            let mut crumbs = book::crumbs(&links, Some(&Folder::holding(&path)), true);
            crumbs.push(Crumb::new(path.name(), links.file(&path)));
            crumbs.push(Crumb::new("History", links.history(&path)));
            Ok(WebPage { crumbs, main, ..WebPage::titled(format!("Changes of {}", path.name())) })
        })
        .await
}

fn version(hash: Option<ContentHash>) -> maud::Markup {
    html! { @if let Some(hash) = hash { (shown::hash(hash)) } @else { "nothing" } }
}

/// The text of a version; empty for none, `None` if it is no text.
pub(super) async fn text(
    call: &Call,
    access: &ReadAccess,
    path: &BookPath,
    hash: Option<ContentHash>,
) -> Result<Option<String>, Error> {
    let Some(version) = hash else { return Ok(Some(String::new())) };
    let read = ReadFile { version: Some(version), ..ReadFile::whole(access.clone(), path.clone()) };
    Ok(call.read_file(&read).await?.content.into_text())
}
