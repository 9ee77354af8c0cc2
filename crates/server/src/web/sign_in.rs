//! `GET` and `POST /ui/sign-in`, and `POST /ui/sign-out`: the session of a browser.
//!
//! A form brings an API key or a token; or the authorization server does, by the code flow: `GET
//! /ui/sign-in/start` sends the browser there, and it comes back to `/ui/sign-in/callback`. Either way the token
//! is checked as in a header, and the browser gets a cookie (see `auth/web_sessions.rs`).
//!
//! Forms of other sites are refused. A reader whom another site sends to the code flow signs in as nobody but
//! who it is: the state of the flow is in a signed cookie of the browser that began it.

use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use maud::{Markup, html};
use panaversity_model::{Error, Fault, Refusal};

use super::layout::{self, WebPage};
use super::request::{PageRequest, QueryPairs};
use super::{problems, same_origin};
use crate::AppState;
use crate::auth::code_flow::FlowSecrets;
use crate::auth::{AuthError, Authenticator, SESSION_COOKIES, SignIn, cookie};
use crate::http::HttpState;

/// Path of the form.
pub(super) const PATH: &str = "/ui/sign-in";
const CALLBACK: &str = "/ui/sign-in/callback";
/// Most bytes of a form: a token and where to go on.
const MOST_BYTES: usize = 32 << 10;
/// Cookie of a code flow that is under way, under HTTPS and without it, and the fields that it signs.
const FLOW_COOKIES: [&str; 2] = ["__Host-panaversity_flow", "panaversity_flow"];
const FLOW_FIELDS: [&str; 3] = ["state", "verifier", "next"];
/// Longest time of a code flow.
const FLOW_LASTS: Duration = Duration::from_mins(10);
/// Most bytes of the page to go on to: a cookie holds it.
const MOST_NEXT_BYTES: usize = 1_024;

/// The ways to sign in; `next` is the page that the reader wanted.
pub(super) fn ways(next: &str, by_code_flow: bool) -> Markup {
    html! {
        @if by_code_flow {
            p { a.button href=(format!("{PATH}/start?{}", query(next))) { "Sign in at the authorization server" } }
        }
        form.stacked method="post" action=(PATH) {
            input type="hidden" name="next" value=(next);
            label for="token" { "API key or token" }
            input #token type="password" name="token" required autocomplete="current-password" spellcheck="false";
            button { "Sign in" }
        }
        p { "The operator makes keys with " code { "panaversity-fs keys create" } "." }
    }
}

fn query(next: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish()
}

pub(super) async fn page(request: PageRequest) -> Response {
    let next = next_of(&request.query);
    let main = match authenticator(&request.app) {
        None => html! { p { "This server asks nobody who they are. " a href=(next) { "Go on" } } },
        Some(auth) => ways(&next, auth.code_flow().is_some()),
    };
    layout::respond(StatusCode::OK, &WebPage { main, ..WebPage::titled("Sign in") })
}

pub(super) async fn submit(State(state): State<HttpState>, request: Request) -> Response {
    let (page, headers, form) = match form_of(&state, request).await {
        Ok(form) => form,
        Err(response) => return response,
    };
    let next = next_of(&form);
    let Some(auth) = authenticator(&page.app) else { return see_other(&next) };
    match auth.sign_in(form.get("token").unwrap_or_default().trim()).await {
        Ok(signed_in) => {
            // The session that the browser had is of no use to it any more.
            if let Err(fault) = auth.sign_out(&headers).await {
                tracing::error!(target: "panaversity_fs.auth", error = %fault, "a former session was not ended");
            }
            let mut response = see_other(&next);
            set_cookie(&mut response, &session_cookie(&signed_in, is_https(&page.app, &headers)));
            response
        }
        Err(error) => refused(error, &next, auth),
    }
}

pub(super) async fn sign_out(State(state): State<HttpState>, request: Request) -> Response {
    let (page, headers, _) = match form_of(&state, request).await {
        Ok(form) => form,
        Err(response) => return response,
    };
    if let Some(auth) = &page.app.auth
        && let Err(fault) = auth.sign_out(&headers).await
    {
        tracing::error!(target: "panaversity_fs.auth", error = %fault, "a session of a browser was not ended");
        return problems::of(&fault.into());
    }
    let mut response = see_other(PATH);
    let [secure, plain] = SESSION_COOKIES;
    set_cookie(&mut response, &format!("{secure}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure"));
    set_cookie(&mut response, &format!("{plain}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"));
    response
}

/// `GET /ui/sign-in/start`: begins the code flow.
pub(super) async fn start(headers: HeaderMap, request: PageRequest) -> Response {
    let app = &request.app;
    let Some(flow) = app.auth.as_ref().and_then(Authenticator::code_flow) else {
        return problems::nowhere().await;
    };
    let flow_url = async {
        let callback = callback_url(app)?;
        let secrets = FlowSecrets::generate().ok_or("the operating system gives no random bytes")?;
        let url = flow.authorization_url(&callback, &secrets).await?;
        Ok::<_, String>((url, secrets))
    };
    let (url, secrets) = match flow_url.await {
        Ok(begun) => begun,
        Err(why) => return flow_failed(&why),
    };
    let next = next_of(&request.query);
    let values = [secrets.state.as_str(), &secrets.verifier, &next];
    let fields: Vec<_> = FLOW_FIELDS.into_iter().zip(values).collect();
    let token = app.links.token(CALLBACK, &fields, FLOW_LASTS);
    let mut response = see_other(url.as_str());
    let (name, end) = flow_cookie(app, &headers);
    let seconds = FLOW_LASTS.as_secs();
    // Lax: the authorization server sends the browser back.
    let set = format!("{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{end}");
    set_cookie(&mut response, &set);
    response
}

/// `GET /ui/sign-in/callback`: ends the code flow.
pub(super) async fn callback(headers: HeaderMap, request: PageRequest) -> Response {
    let app = &request.app;
    let Some(auth) = app.auth.as_ref().filter(|auth| auth.code_flow().is_some()) else {
        return problems::nowhere().await;
    };
    let (name, end) = flow_cookie(app, &headers);
    let flow = cookie(&headers, name).and_then(|flow| app.links.open(CALLBACK, flow, FLOW_FIELDS).ok());
    let Some([_, verifier, next]) = flow.filter(|[state, ..]| request.query.get("state") == Some(state))
    else {
        let why = "it was begun in another window, or too long ago: sign in again";
        return problems::of(&Refusal::argument("state", why).into());
    };
    let mut response = match signed_in_by_code(auth, app, &request.query, &verifier).await {
        Ok(Ok(signed_in)) => {
            // A browser that comes from another site sends no strict cookie with a redirect, but with the next
            // page that this one leads to.
            let main = html! { p { "You are signed in. " a href=(next) { "Go on" } } };
            let page = WebPage { main, go_on: Some(next), ..WebPage::titled("Signed in") };
            let mut response = layout::respond(StatusCode::OK, &page);
            set_cookie(&mut response, &session_cookie(&signed_in, is_https(app, &headers)));
            response
        }
        Ok(Err(error)) => refused(error, &next, auth),
        Err(_) if request.query.get("error") == Some("access_denied") => {
            problems::of(&Refusal::Forbidden { scope: None }.into())
        }
        Err(why) => flow_failed(&why),
    };
    set_cookie(&mut response, &format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{end}"));
    response
}

/// URL of the page to which the authorization server sends a browser back. The error is a text for the log.
fn callback_url(app: &AppState) -> Result<String, String> {
    let base = app.links.base().map_err(|refusal| refusal.to_string())?;
    Ok(format!("{base}{CALLBACK}"))
}

/// The session for the code that the query has. The outer error is a text for the log.
async fn signed_in_by_code(
    auth: &Authenticator,
    app: &AppState,
    query: &QueryPairs,
    verifier: &str,
) -> Result<Result<SignIn, AuthError>, String> {
    let flow = auth.code_flow().ok_or("it is not offered")?;
    if query.get("iss").is_some_and(|iss| !flow.is_issuer(iss)) {
        return Err("the answer names another issuer".to_owned());
    }
    let Some(code) = query.get("code") else {
        let error = query.get("error").unwrap_or_default();
        let is_code =
            error.len() <= 64 && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        return Err(format!("it refused: {}", if is_code { error } else { "an unknown error" }));
    };
    let callback = callback_url(app)?;
    Ok(auth.sign_in(&flow.redeem(code, &callback, verifier).await?).await)
}

/// The page of a code flow that failed; the reason is for the log.
fn flow_failed(why: &str) -> Response {
    tracing::warn!(target: "panaversity_fs.auth", error = why, "a sign-in at the authorization server failed");
    let main = html! {
        p.problem role="alert" { "The sign-in at the authorization server failed; the server's log says why." }
        p { a href=(PATH) { "Sign in another way, or try again" } }
    };
    layout::respond(StatusCode::BAD_GATEWAY, &WebPage { main, ..WebPage::titled("Not signed in") })
}

/// The form again, with the reason why the token was refused.
fn refused(error: AuthError, next: &str, auth: &Authenticator) -> Response {
    let message = error.message();
    tracing::info!(target: "panaversity_fs.auth", reason = message, "a browser did not sign in");
    let status = match error {
        AuthError::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNAUTHORIZED,
    };
    let main = html! {
        p.problem role="alert" { (message) }
        (ways(next, auth.code_flow().is_some()))
    };
    let mut response = layout::respond(status, &WebPage { main, ..WebPage::titled("Sign in") });
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, auth.challenge(error));
    }
    response
}

/// The request, headers and fields of a form of this server's own pages; or the answer to another.
async fn form_of(
    state: &HttpState,
    request: Request,
) -> Result<(PageRequest, HeaderMap, QueryPairs), Response> {
    let (mut parts, body) = request.into_parts();
    let Ok(page) = PageRequest::from_request_parts(&mut parts, state).await;
    same_origin::require(&parts.headers, page.app.links.public_origin())
        .map_err(|refusal| problems::of(&refusal.into()))?;
    let form = QueryPairs::of_form(body, MOST_BYTES).await;
    let too_long = || problems::of(&Refusal::argument("token", "the form is too long, or too slow").into());
    Ok((page, parts.headers, form.ok_or_else(too_long)?))
}

/// The authenticator, if callers must authenticate.
fn authenticator(app: &AppState) -> Option<&Authenticator> {
    app.auth.as_ref().filter(|auth| auth.is_required())
}

/// The page of this server to go on to; the list of books, if none is named.
fn next_of(query: &QueryPairs) -> String {
    let next = query.get("next").filter(|next| is_own_page(next));
    next.unwrap_or("/").to_owned()
}

/// True for the path and query of a page of this server, and never for another site's.
fn is_own_page(next: &str) -> bool {
    let is_short = next.len() <= MOST_NEXT_BYTES;
    let is_plain = is_short && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let uri = next.parse::<Uri>();
    is_plain && uri.is_ok_and(|uri| uri.authority().is_none() && super::is_page(uri.path()))
}

/// True if the browser has come by HTTPS, as it says itself, or if the public URL is under it.
fn is_https(app: &AppState, headers: &HeaderMap) -> bool {
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    [origin, app.links.public_origin()].into_iter().flatten().any(|origin| origin.starts_with("https:"))
}

/// Name of the cookie of a code flow, and what its attributes end with.
fn flow_cookie(app: &AppState, headers: &HeaderMap) -> (&'static str, &'static str) {
    let [secure, plain] = FLOW_COOKIES;
    if is_https(app, headers) { (secure, "; Secure") } else { (plain, "") }
}

fn session_cookie(signed_in: &SignIn, is_https: bool) -> String {
    let [secure, plain] = SESSION_COOKIES;
    let (name, end) = if is_https { (secure, "; Secure") } else { (plain, "") };
    let (value, seconds) = (signed_in.secret.expose(), signed_in.lasts.as_secs());
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{end}")
}

fn set_cookie(response: &mut Response, cookie: &str) {
    match HeaderValue::from_str(cookie) {
        Ok(mut value) => {
            value.set_sensitive(true);
            response.headers_mut().append(SET_COOKIE, value);
        }
        Err(_) => *response = problems::of(&Error::from(Fault::internal("a cookie was not made"))),
    }
}

fn see_other(url: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SEE_OTHER;
    let url = HeaderValue::from_str(url).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, url);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_goes_on_to_pages_of_this_server_alone() {
        for own in
            ["/", "/ui/books/ai-python?user=ann", "/ui/search?q=a%20b", "/ui/books/a/files/content/%C3%B6.md"]
        {
            assert!(is_own_page(own), "{own}");
        }
        for other in [
            "",
            "//evil.example/ui/",
            "https://evil.example/",
            "/\\evil.example",
            "javascript:alert(1)",
            "/mcp",
            "ui/",
            "/ui/a\r\nSet-Cookie: b",
            "///evil.example",
            "/ui/ö",
        ] {
            assert!(!is_own_page(other), "{other}");
        }
    }
}
