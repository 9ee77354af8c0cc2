//! `GET /ui/agents/{agent}`: what an agent has done, as the audit log says. A caller without `admin` sees
//! only its own entries there, and so only its own page has any.

use axum::response::Response;
use maud::html;
use panaversity_model::audit::{EntryFilter, Operation};
use panaversity_model::permission::Permission;
use panaversity_model::{AgentId, Layer, Refusal};

use super::layout::WebPage;
use super::links::{self, with_query};
use super::request::PageRequest;
use super::{audit, shown};

/// Entries on a page.
const ENTRIES: usize = 100;

pub(super) async fn page(request: PageRequest) -> Response {
    let request = &request;
    request
        .show("GET /ui/agents", Operation::Query, async |call| {
            let access = call.may_audit(None, Layer::Base)?;
            let agent = AgentId::parse(&request.last_segment()?);
            let agent = agent.map_err(|_| Refusal::not_found("No agent can have this name"))?;
            let changes_only = request.query.get("all").is_none();
            let filter = EntryFilter { agent: Some(agent.as_str().to_owned()), ..EntryFilter::default() };
            let after = audit::position(&request.query)?;
            let keep = |entry: &panaversity_model::audit::AuditEntry| !changes_only || entry.is_change();
            let page = call.query_audit_log(&access, filter, after, ENTRIES, keep).await?;
            let url = links::agent(agent.as_str());
            let principal = &call.caller.principal;
            let others = !principal.may_all(Permission::Admin, None) && principal.agent != agent;
            let all = (!changes_only).then_some("1");
            let main = html! {
                @if others { p.notice { "You see only your own entries of the audit log." } }
                p {
                    @if changes_only {
                        "What it changed in the books. "
                        a href=(with_query(&url, &[("all", Some("1"))])) { "All calls" }
                    } @else {
                        "All its calls. " a href=(url) { "Only changes" }
                    }
                }
                (audit::table(&page.entries))
                @if let Some(next) = &page.next {
                    @let at = next.timestamp.to_string();
                    p {
                        @let pairs = [("all", all), ("at", Some(&*at)), ("id", Some(&*next.id))];
                        a href=(with_query(&url, &pairs)) {
                            "Older entries"
                        }
                    }
                }
                p.quiet { (shown::count(page.entries.len(), "entry", "entries")) " on this page." }
            };
            Ok(WebPage { main, ..WebPage::titled(format!("Agent {}", agent.as_str())) })
        })
        .await
}
