//! Pages for people: what the store knows, readable in a browser. `GET /` and `/ui/...`.
//!
//! 1. A page takes the road of every other call: host check, authentication, rate, share of its caller, and
//!    one call of the service, which authorizes and records it.
//! 2. Its HTML is made here, by templates that are checked at compile time and escape what they are given.
//!    Markdown is rendered within limits and sanitised.
//! 3. Everything works without JavaScript. No page makes a browser ask another server for anything, and none
//!    runs what a book contains: the policy of `security.rs` permits only this server's own stylesheet,
//!    script and images.
//! 4. A reader signs in once, by a form or at the authorization server, and has a cookie from then on.
//! 5. What refuses a request before its page is reached answers in JSON; [`as_page`] makes a page of it.
//!
//! A page is bounded: folders, histories and logs in pages, texts in windows, differences up to a number of
//! lines.

mod agents;
mod audit;
mod blame;
mod book;
mod build;
mod changes;
mod compare;
mod diff;
mod files;
mod gallery;
mod history;
mod home;
mod layout;
mod links;
mod live;
mod markdown;
mod problems;
mod request;
mod restore;
mod same_origin;
mod search;
mod security;
mod shown;
mod sign_in;
mod sparkline;
mod state;
mod text;
mod tree;
mod webhooks;

use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};

use crate::http::HttpState;
pub(crate) use problems::as_page;

/// Routes of the pages, by who may ask for them.
#[derive(Default)]
pub(crate) struct WebRoutes {
    /// The pages: callers.
    pub(crate) pages: Router,
    /// The ways to sign in and out: everybody, within the limits of callers.
    pub(crate) sign_in: Router,
    /// Stylesheet and script: everybody.
    pub(crate) assets: Router,
}

/// True for the path of a page or of a form of one.
pub(crate) fn is_page(path: &str) -> bool {
    path == "/" || path == "/ui" || path.starts_with("/ui/")
}

/// The routes of the pages.
pub(crate) fn routes(state: &HttpState) -> WebRoutes {
    let pages = Router::new()
        .route("/", get(home::page))
        .route("/ui", get(async || Redirect::permanent("/")))
        .route("/ui/books/{book}", get(book::page))
        .route("/ui/books/{book}/files/{*path}", get(files::page))
        .route("/ui/books/{book}/bytes/{*path}", get(files::bytes))
        .route("/ui/books/{book}/history/{*path}", get(history::page))
        .route("/ui/books/{book}/compare/{*path}", get(compare::page))
        .route("/ui/books/{book}/blame/{*path}", get(blame::page))
        .route("/ui/books/{book}/restore/{*path}", post(restore::submit))
        .route("/ui/books/{book}/changes", get(changes::list))
        .route("/ui/books/{book}/changes/{change}", get(changes::page))
        .route("/ui/books/{book}/assets", get(gallery::page))
        .route("/ui/books/{book}/build", get(build::page))
        .route("/ui/agents/{agent}", get(agents::page))
        .route("/ui/search", get(search::page))
        .route("/ui/audit", get(audit::page))
        .route("/ui/audit/export", get(audit::export))
        .route("/ui/state", get(state::page))
        .route("/ui/{*rest}", get(problems::nowhere))
        .with_state(state.clone());
    let sign_in = Router::new()
        .route(sign_in::PATH, get(sign_in::page).post(sign_in::submit))
        .route("/ui/sign-in/start", get(sign_in::start))
        .route("/ui/sign-in/callback", get(sign_in::callback))
        .route("/ui/sign-out", post(sign_in::sign_out))
        .with_state(state.clone());
    let assets = Router::new().route("/ui/assets/{name}", get(security::asset));
    WebRoutes { pages, sign_in, assets }
}
