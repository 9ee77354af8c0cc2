//! `POST /ui/books/{book}/restore/{path}`: restores a former version, with what the reader saw as
//! precondition.
//!
//! # Forgery
//! 1. The host check has refused forms of other origins, where it is on.
//! 2. A browser says where the form was: see `same_origin.rs`.
//! 3. The form has a token that this store signed for this agent, file, layer, version and precondition. It
//!    expires.
//! 4. The caller is identified once more when its form has arrived: its key may have been revoked, or its
//!    session ended, since the request began.
//!
//! The token alone says what is restored, so that a page can't be made to restore anything else.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use panaversity_model::audit::Operation;
use panaversity_model::{BookPath, ContentHash, Layer, Refusal};
use panaversity_service::Call;
use panaversity_service::restore::RestoreFile;

use super::links::BookLinks;
use super::request::{PageRequest, QueryPairs};
use super::same_origin;
use crate::AppState;
use crate::http::HttpState;
use crate::http::middleware::auth::identify_again;
use crate::signed_url::InvalidSignature;

/// Fields of the token.
const FIELDS: [&str; 4] = ["agent", "user", "version", "expected"];
/// Most bytes of a form.
const MOST_BYTES: usize = 16 << 10;

/// The form that restores a version; `current` is the hash that the reader sees the file have.
pub(super) fn form(
    app: &AppState,
    call: &Call,
    links: &BookLinks,
    path: &BookPath,
    version: ContentHash,
    current: Option<ContentHash>,
) -> Markup {
    let (version, current) = (version.to_string(), current.map(|hash| hash.to_string()).unwrap_or_default());
    let values = [call.caller.principal.agent.as_str(), links.layer.as_str(), &version, &current];
    let fields: Vec<_> = FIELDS.into_iter().zip(values).collect();
    let token = app.links.token(&subject(links, path), &fields, app.links.valid_for());
    html! {
        form method="post" action=(links.restore(path)) {
            input type="hidden" name="token" value=(token);
            button { "Restore this version" }
        }
    }
}

/// What a token is signed for.
fn subject(links: &BookLinks, path: &BookPath) -> String {
    format!("/ui/books/{}/restore/{path}", links.book)
}

pub(super) async fn submit(State(state): State<HttpState>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let form = QueryPairs::of_form(body, MOST_BYTES).await.unwrap_or_default();
    if let Some(auth) = &state.app.auth
        && let Err(refusal) = identify_again(auth, &mut parts).await
    {
        return refusal;
    }
    let Ok(page) = PageRequest::from_request_parts(&mut parts, &state).await;
    let is_own = same_origin::require(&parts.headers, page.app.links.public_origin());
    let page = &page;
    page.answer("POST /ui/restore", Operation::Restore, async |call| {
        let (book, path) = (page.book()?, page.file()?);
        call.path = Some(path.clone());
        is_own.clone()?;
        let links = BookLinks::new(&book, &page.query.layer()?);
        let token = form.get("token").unwrap_or_default();
        let opened = page.app.links.open(&subject(&links, &path), token, FIELDS);
        let [agent, user, version, expected] = opened.map_err(invalid)?;
        let is_meant = agent == call.caller.principal.agent.as_str() && user == links.layer.as_str();
        let (Some(version), true) = (ContentHash::from_hex(&version), is_meant) else {
            return Err(invalid(InvalidSignature::Forged).into());
        };
        let layer = Layer::from_stored(&user)?;
        let restore = RestoreFile {
            access: call.may_write(book, layer)?,
            path: path.clone(),
            version,
            expected: ContentHash::from_hex(&expected),
            dry_run: false,
        };
        call.restore_file(restore).await?;
        Ok((StatusCode::SEE_OTHER, Redirect::to(&links.file(&path))).into_response())
    })
    .await
}

fn invalid(why: InvalidSignature) -> Refusal {
    let why = match why {
        InvalidSignature::Expired => "the page is too old: open it again",
        InvalidSignature::Forged => "the form is not one that this server gave you: open the page again",
    };
    Refusal::argument("token", why)
}
