//! The frame of every page: head, skip link, navigation, where one is, content, foot. Landmarks and headings
//! are in order, so that a screen reader finds its way.

use axum::http::StatusCode;
use axum::response::Response;
use maud::{DOCTYPE, Markup, html};
use panaversity_model::AgentId;

use super::security;

/// A step of the way to a page: its name, and where it leads.
pub(super) struct Crumb {
    pub(super) name: String,
    pub(super) url: String,
}

impl Crumb {
    pub(super) fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self { name: name.into(), url: url.into() }
    }
}

/// A page without its frame.
pub(super) struct WebPage {
    pub(super) title: String,
    /// The way to it.
    pub(super) crumbs: Vec<Crumb>,
    /// What stands beside it: the tree of its book.
    pub(super) aside: Option<Markup>,
    pub(super) main: Markup,
    /// Who has signed in.
    pub(super) signed_in: Option<AgentId>,
    /// The page that a browser goes on to at once.
    pub(super) go_on: Option<String>,
}

impl WebPage {
    /// An empty page of this title.
    pub(super) fn titled(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            crumbs: Vec::new(),
            aside: None,
            main: Markup::default(),
            signed_in: None,
            go_on: None,
        }
    }
}

/// The answer with a page.
pub(super) fn respond(status: StatusCode, page: &WebPage) -> Response {
    security::respond(status, framed(page).into_string())
}

fn framed(page: &WebPage) -> Markup {
    let urls = security::urls();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(url) = &page.go_on { meta http-equiv="refresh" content=(format!("0;url={url}")); }
                title { (page.title) " · PanaversityFS" }
                link rel="icon" href=(urls.icon) type="image/svg+xml";
                link rel="stylesheet" href=(urls.style);
                script defer src=(urls.script) {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/" { "PanaversityFS" }
                    nav aria-label="Main" {
                        ul {
                            li { a href="/" { "Books" } }
                            li { a href="/ui/search" { "Search" } }
                            li { a href="/ui/audit" { "Audit log" } }
                            li { a href="/ui/state" { "State" } }
                        }
                    }
                    @if let Some(agent) = &page.signed_in {
                        form.reader method="post" action="/ui/sign-out" {
                            span { "Signed in as " bdi { (agent.as_str()) } }
                            button { "Sign out" }
                        }
                    }
                }
                @if !page.crumbs.is_empty() {
                    nav.crumbs aria-label="Breadcrumb" {
                        ol {
                            @for crumb in &page.crumbs { li { a href=(crumb.url) { bdi { (crumb.name) } } } }
                        }
                    }
                }
                div.columns {
                    main #main tabindex="-1" {
                        h1 dir="auto" { (page.title) }
                        (page.main)
                    }
                    @if let Some(aside) = &page.aside { (aside) }
                }
                footer {
                    p { "PanaversityFS " (env!("CARGO_PKG_VERSION")) ". Times are UTC." }
                }
            }
        }
    }
}
