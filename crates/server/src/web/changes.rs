//! `GET /ui/books/{book}/changes`: the change sets of a book, newest first; and `/changes/{change}`: one of
//! them, with the differences of its files.

use axum::response::Response;
use maud::{Markup, html};
use panaversity_model::audit::Operation;
use panaversity_model::ids::ChangeId;
use panaversity_model::{Error, Refusal};
use panaversity_service::browse::{FileChange, RecordedSet};
use panaversity_service::{Call, ReadAccess};

use super::diff::{self, DiffStyle};
use super::files::off_thread;
use super::layout::{Crumb, WebPage};
use super::links::BookLinks;
use super::request::PageRequest;
use super::{book, compare, shown};

/// Change sets on a page.
const SETS: usize = 50;
/// Files whose differences are on a page, and rows of all of them.
const FILES: usize = 20;
const ROWS: usize = 2_000;
/// Paths that a list names of a change set.
const NAMED: usize = 2;

pub(super) async fn list(request: PageRequest) -> Response {
    let request = &request;
    request
        .show("GET /ui/changes", Operation::List, async |call| {
            let access = call.may_read(request.book()?, request.query.layer()?)?;
            let links = BookLinks::new(access.book(), access.layer());
            call.read_book(&access).await?;
            let page = call.recent_changes(&access, request.query.moment("until")?, SETS).await?;
            let main = html! {
                (listing(&page.sets, &links))
                @if page.next.is_some() { p { a href=(links.changes(page.next)) { "Older changes" } } }
            };
            let crumbs = book::crumbs(&links, None, true);
            Ok(WebPage { crumbs, main, ..WebPage::titled(format!("Changes of {}", links.book)) })
        })
        .await
}

/// A list of change sets.
pub(super) fn listing(sets: &[RecordedSet], links: &BookLinks) -> Markup {
    html! {
        @if sets.is_empty() {
            p { "Nothing has changed yet." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Change sets" {
                table {
                    thead {
                        tr {
                            th scope="col" { "When" } th scope="col" { "Agent" } th scope="col" { "Message" }
                            th scope="col" { "Files" }
                        }
                    }
                    tbody {
                        @for set in sets {
                            tr {
                                td { a href=(links.change(&set.id, set.at)) { (shown::time(set.at)) } }
                                td { (shown::agent(&set.agent)) }
                                td { (shown::message(set.message.as_deref())) }
                                td { (named(set)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn named(set: &RecordedSet) -> Markup {
    let more = set.files.len().saturating_sub(NAMED);
    html! {
        @for (n, file) in set.files.iter().take(NAMED).enumerate() {
            @if n > 0 { ", " }
            bdi { (file.path.name()) }
        }
        @if set.is_cut { " and more" } @else if more > 0 { " and " (more) " more" }
    }
}

pub(super) async fn page(request: PageRequest) -> Response {
    let request = &request;
    request
        .show("GET /ui/changes/{change}", Operation::Read, async |call| {
            let access = call.may_read(request.book()?, request.query.layer()?)?;
            let links = BookLinks::new(access.book(), access.layer());
            call.read_book(&access).await?;
            let unknown = || Refusal::not_found("The book has no such change set");
            let id = ChangeId::from_stored(&request.last_segment()?).ok_or_else(unknown)?;
            let set = call.read_change_set(&access, id, request.query.moment("at")?).await?;
            let style = DiffStyle::parse(request.query.get("view"));
            request.app.hold.take(diff::MOST_BYTES).await;
            let from = request.query.number("from")? - 1;
            let shown = set.files.iter().skip(from).take(FILES);
            let (mut differences, mut rows) = (Vec::new(), ROWS);
            for file in shown {
                differences.push((file, difference(call, &access, file, style, &mut rows).await?));
            }
            let next = from + FILES;
            let main = html! {
                (facts(&set))
                @for (file, difference) in &differences { (section(file, difference, &links)) }
                @if next < set.files.len() {
                    @let number = (next + 1).to_string();
                    @let pairs = [("at", Some(set.at.to_string())), ("from", Some(number))];
                    @let pairs = pairs.each_ref().map(|(name, value)| (*name, value.as_deref()));
                    p {
                        a href=(links.to(&format!("/changes/{id}"), &pairs)) {
                            "More files of this change set"
                        }
                    }
                }
            };
            let mut crumbs = book::crumbs(&links, None, true);
            crumbs.push(Crumb::new("Changes", links.changes(None)));
            Ok(WebPage { crumbs, main, ..WebPage::titled("Change set") })
        })
        .await
}

fn facts(set: &RecordedSet) -> Markup {
    let more = if set.is_cut { " or more" } else { "" };
    html! {
        p.lead { (shown::message(set.message.as_deref())) }
        dl.facts {
            dt { "Agent" } dd { (shown::agent(&set.agent)) }
            dt { "When" } dd { (shown::time(set.at)) }
            dt { "Files" } dd { (set.files.len()) (more) }
            dt { "Id" } dd { code { (set.id) } }
        }
    }
}

fn section(file: &FileChange, difference: &Markup, links: &BookLinks) -> Markup {
    let spelt =
        |hash: Option<panaversity_model::ContentHash>| hash.map(|hash| hash.to_string()).unwrap_or_default();
    html! {
        section.file {
            h2 { a href=(links.file(&file.path)) { bdi { (file.path) } } }
            p {
                (file.operation) ": "
                @match (file.old, file.new) {
                    (None, Some(_)) => "new file",
                    (Some(_), None) => "deleted",
                    _ => "changed",
                }
                ". "
                a href=(links.compare(&file.path, &spelt(file.old), &spelt(file.new), None)) { "Compare" }
                " · " a href=(links.history(&file.path)) { "History" }
            }
            (difference)
        }
    }
}

/// The difference that a change made; `rows` is what is left of the page.
async fn difference(
    call: &Call,
    access: &ReadAccess,
    file: &FileChange,
    style: DiffStyle,
    rows: &mut usize,
) -> Result<Markup, Error> {
    if *rows == 0 {
        return Ok(
            html! { p.notice { "The page is full: compare the two versions to see the difference." } },
        );
    }
    let texts = futures::try_join!(
        compare::text(call, access, &file.path, file.old),
        compare::text(call, access, &file.path, file.new)
    );
    let (before, after) = match texts {
        Ok((Some(before), Some(after))) => (before, after),
        Ok(_) => return Ok(html! { p { "It is no text." } }),
        Err(Error::Refused(_)) => return Ok(html! { p { "A version of it is not kept any more." } }),
        Err(error) => return Err(error),
    };
    let most = *rows;
    let lines = before.lines().count().max(after.lines().count());
    *rows = rows.saturating_sub(lines.max(1));
    Ok(off_thread(move || diff::render(&before, &after, style, most)).await?)
}
