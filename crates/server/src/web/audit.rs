//! `GET /ui/audit`: the audit log, with the filters of `query_audit_log`, and the state of its chains;
//! `/ui/audit/export`: the entries that the filters select, as a download of JSON lines. Keeps R5: without
//! `user` they are about the base. A caller without `admin` sees its own entries.

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use panaversity_model::audit::{AuditEntry, EntryFilter, EntryPosition, Operation};
use panaversity_model::{BookId, BookPath, Error, Fault, Layer, Refusal, Timestamp};
use panaversity_service::Call;
use panaversity_service::audit::EntryPage;
use panaversity_service::authorize::AuditAccess;

use super::layout::WebPage;
use super::links::{BookLinks, with_query};
use super::request::{PageRequest, QueryPairs};
use super::shown;
use crate::AppState;
use crate::mcp::Glob;

/// Entries on a page, and most of a download.
const ENTRIES: usize = 100;
const EXPORTED: usize = 10_000;
/// What a download takes of the memory for large answers.
const EXPORT_BYTES: u64 = 8 << 20;
/// Names of the filters in the URL.
const FILTERS: [&str; 8] = ["book_id", "user", "path", "agent_id", "operation", "status", "since", "until"];

pub(super) async fn page(request: PageRequest) -> Response {
    let request = &request;
    request
        .show("GET /ui/audit", Operation::Query, async |call| {
            let access = access(call, &request.query)?;
            let page = query(call, &access, &request.query, position(&request.query)?, ENTRIES).await?;
            let main = html! {
                (chain_state(&request.app))
                (form(&request.query))
                (table(&page.entries))
                @if let Some(next) = &page.next {
                    @let at = next.timestamp.to_string();
                    p {
                        @let pairs = [("at", Some(&*at)), ("id", Some(&*next.id))];
                        a href=(url("/ui/audit", &request.query, &pairs)) {
                            "Older entries"
                        }
                    }
                }
                p { a href=(url("/ui/audit/export", &request.query, &[])) { "Download these entries" } }
                p.quiet {
                    "A download has the newest " (EXPORTED) " entries at most; " code {
                        "panaversity-fs audit export"
                    }
                    " gives all, with a proof."
                }
            };
            Ok(WebPage { main, ..WebPage::titled("Audit log") })
        })
        .await
}

pub(super) async fn export(request: PageRequest) -> Response {
    let request = &request;
    request
        .answer("GET /ui/audit/export", Operation::Query, async |call| {
            let access = access(call, &request.query)?;
            request.app.hold.take(EXPORT_BYTES).await;
            let (mut lines, mut after, mut left) = (String::new(), position(&request.query)?, EXPORTED);
            loop {
                let page = query(call, &access, &request.query, after, left.min(1_000)).await?;
                left = left.saturating_sub(page.entries.len());
                for entry in &page.entries {
                    let line = serde_json::to_string(entry);
                    lines.push_str(&line.map_err(|error| Fault::internal(error.to_string()))?);
                    lines.push('\n');
                }
                match page.next {
                    Some(next) if left > 0 => after = Some(next),
                    _ => break,
                }
            }
            let headers = [
                (CONTENT_TYPE, "application/x-ndjson"),
                (CONTENT_DISPOSITION, "attachment; filename=\"audit-log.jsonl\""),
            ];
            Ok((headers, lines).into_response())
        })
        .await
}

/// Position after which a page starts.
pub(super) fn position(query: &QueryPairs) -> Result<Option<EntryPosition>, Refusal> {
    let Some(timestamp) = query.moment("at")? else { return Ok(None) };
    let id = query.text("id")?.unwrap_or_default().to_owned();
    Ok(Some(EntryPosition { timestamp, id }))
}

fn access(call: &mut Call, query: &QueryPairs) -> Result<AuditAccess, Refusal> {
    call.may_audit(query.book("book_id")?, query.layer()?)
}

async fn query(
    call: &Call,
    access: &AuditAccess,
    query: &QueryPairs,
    after: Option<EntryPosition>,
    limit: usize,
) -> Result<EntryPage, Error> {
    let glob = query.text("path")?.map(|raw| Glob::parse("path", raw)).transpose()?;
    let owned = |name: &str| Ok::<_, Refusal>(query.text(name)?.map(str::to_owned));
    let mut filter = EntryFilter {
        agent: owned("agent_id")?,
        operation: owned("operation")?,
        status: owned("status")?,
        from: query.moment("since")?,
        to: query.moment("until")?,
        ..EntryFilter::default()
    };
    if let Some(glob) = &glob {
        filter = filter.below(&glob.prefix);
    }
    let keep = |entry: &AuditEntry| glob.as_ref().is_none_or(|glob| glob.accepts_text(&entry.path));
    call.query_audit_log(access, filter, after, limit, keep).await
}

fn url(path: &str, query: &QueryPairs, more: &[(&str, Option<&str>)]) -> String {
    let mut pairs: Vec<_> = FILTERS.iter().map(|name| (*name, query.get(name))).collect();
    pairs.extend_from_slice(more);
    with_query(path, &pairs)
}

/// What the background verifier knows.
fn chain_state(app: &AppState) -> Markup {
    let verified = app.service.verified();
    let age = app.service.full_pass_age();
    html! {
        @if verified.breaks.is_empty() {
            p.health {
                "No chain is known to be broken"
                @if let Some(at) = verified.checked_at {
                    "; new entries were checked until " (shown::time(at))
                }
                @if let Some(age) = age {
                    "; the last pass over all entries ended " (age.as_secs() / 60) " minutes ago"
                }
                "."
            }
        } @else {
            div.health.problem {
                p {
                    (shown::count(verified.breaks.len(), "chain is broken", "chains are broken"))
                    ". Call the operator: this is what an attack looks like."
                }
            }
        }
    }
}

fn form(query: &QueryPairs) -> Markup {
    let field = |name: &str, label: &str, hint: &str| {
        html! {
            div {
                label for=(name) { (label) }
                @let placeholder = (!hint.is_empty()).then_some(hint);
                input id=(name) name=(name) value=[query.get(name)] placeholder=[placeholder];
            }
        }
    };
    let choice = |name: &str, label: &str, values: &[&str]| {
        html! {
            div {
                label for=(name) { (label) }
                select id=(name) name=(name) {
                    option value="" { "any" }
                    @for value in values {
                        option value=(value) selected[query.get(name) == Some(*value)] { (value) }
                    }
                }
            }
        }
    };
    html! {
        form.filters method="get" action="/ui/audit" {
            (field("book_id", "Book", ""))
            (field("path", "Path", "content/**/*.md"))
            (field("agent_id", "Agent", ""))
            (choice("operation", "Operation", &Operation::ALL.map(Operation::as_str)))
            (choice("status", "Status", &["success", "refused", "failed"]))
            (field("since", "Since", "2026-01-31"))
            (field("until", "Until", "2026-01-31T12:00:00Z"))
            (field("user", "Overlay of", ""))
            div { button { "Show" } }
        }
    }
}

/// Entries as a table.
pub(super) fn table(entries: &[AuditEntry]) -> Markup {
    html! {
        @if entries.is_empty() {
            p { "No entry matches." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Entries" {
                table {
                    thead {
                        tr {
                            th scope="col" { "When" }
                            th scope="col" { "Agent" }
                            th scope="col" { "Operation" }
                            th scope="col" { "Book and path" }
                            th scope="col" { "Status" }
                            th scope="col" { "Message" }
                            th scope="col" { "Time taken" }
                        }
                    }
                    tbody { @for entry in entries { (row(entry)) } }
                }
            }
        }
    }
}

fn row(entry: &AuditEntry) -> Markup {
    let parsed = BookId::parse(&entry.book_id).ok().zip(Layer::from_stored(&entry.user_id).ok());
    let links = parsed.map(|(book, layer)| BookLinks::new(&book, &layer));
    let change = entry.change_id.as_deref().and_then(panaversity_model::ids::ChangeId::from_stored);
    html! {
        tr {
            td { (when(entry.timestamp, links.as_ref().zip(change.filter(|_| entry.is_change())))) }
            td { (shown::agent(&entry.agent_id)) }
            td { (entry.operation) }
            td { @if let Some(links) = &links { (place(entry, links)) } @else { (entry.book_id) } }
            td { (entry.status) @if let Some(code) = &entry.error_code { br; code { (code) } } }
            td dir="auto" { @if let Some(message) = &entry.error_message { (message) } }
            td.number { (entry.execution_time_ms) " ms" }
        }
    }
}

fn when(at: Timestamp, change: Option<(&BookLinks, panaversity_model::ids::ChangeId)>) -> Markup {
    html! {
        @if let Some((links, id)) = change { a href=(links.change(&id, at)) { (shown::time(at)) } }
        @else { (shown::time(at)) }
    }
}

fn place(entry: &AuditEntry, links: &BookLinks) -> Markup {
    html! {
        a href=(links.book()) { (links.book) }
        @if let Ok(path) = BookPath::parse(&entry.path) { br; a href=(links.file(&path)) { bdi { (path) } } }
        @if let Some(user) = links.user() { " " span.badge { "overlay of " (user) } }
    }
}
