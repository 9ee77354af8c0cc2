//! The guard against foreign web pages: a page may lead a browser here, under a name of its own
//! (DNS rebinding) or across origins. Invariant: while the check is on, no request gets past whose
//! `Host`, or whose `Origin` if it has one, is not a host the operator allows.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use panaversity_model::ErrorCode;
use serde_json::json;

use crate::error;
use crate::host::{LOOPBACK, Origin, PublicUrl, host_of, host_of_origin};

/// Which hosts a request may be addressed to.
#[derive(Debug, Clone)]
pub struct AllowedHosts {
    allowed: Vec<String>,
    /// Origins of web pages that may call this server, exactly.
    origins: Vec<Origin>,
    on_loopback: bool,
    check: bool,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Host,
    Origin,
}

impl AllowedHosts {
    /// The host of the public URL and other allowed names, for a server that listens on a loopback
    /// address or not.
    pub fn new(public_url: Option<&PublicUrl>, allowed: &[String], on_loopback: bool) -> Self {
        let public = public_url.map(|url| url.host.clone());
        let named: Vec<_> = allowed.iter().cloned().chain(public).collect();
        let check = on_loopback || !named.is_empty();
        let allowed = LOOPBACK.iter().map(|&name| name.to_owned()).chain(named).collect();
        Self { allowed, origins: Vec::new(), on_loopback, check }
    }

    /// The same, and web pages of these origins may call this server.
    #[must_use]
    pub fn with_origins(self, origins: Vec<Origin>) -> Self {
        Self { origins, ..self }
    }

    /// Origins of web pages that may call this server.
    pub(crate) fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// The same for health and metrics: orchestrators and scrapers call a server by its bare
    /// address, so behind a public address only the way to it protects them.
    pub(crate) fn for_probes(&self) -> Self {
        Self { check: self.on_loopback, ..self.clone() }
    }

    fn verdict(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        if !self.check {
            return Ok(());
        }
        let host = only(headers, &header::HOST).map_err(|()| Refused::Host)?;
        // A request line may name the host too, and then that is the one that counts.
        let in_line = uri.authority().map(|authority| host_of(authority.as_str()));
        let named = in_line.unwrap_or_else(|| host.and_then(host_of));
        if !self.allows(named) || host.is_some_and(|host| !self.allows(host_of(host))) {
            return Err(Refused::Host);
        }
        match only(headers, &header::ORIGIN).map_err(|()| Refused::Origin)? {
            Some(origin) if self.origins.iter().any(|allowed| allowed.header() == origin) => Ok(()),
            Some(origin) if !self.allows(host_of_origin(origin)) => Err(Refused::Origin),
            _ => Ok(()),
        }
    }

    fn allows(&self, host: Option<String>) -> bool {
        host.is_some_and(|host| self.allowed.contains(&host))
    }
}

/// The only value of a header, if it is there; several, or one that is no text, are an error.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// Lets a request past, or refuses it.
pub(crate) async fn admit(State(hosts): State<Arc<AllowedHosts>>, request: Request, next: Next) -> Response {
    match hosts.verdict(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => {
            tracing::warn!(
                target: "panaversity_fs.server",
                host = start_of(request.headers(), &header::HOST),
                origin = start_of(request.headers(), &header::ORIGIN),
                "a request was refused: its {} is not allowed",
                refused.name()
            );
            refused.into_response()
        }
    }
}

/// As much of a header as a log line needs.
fn start_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(text.get(..200).unwrap_or(text))
}

impl Refused {
    fn name(&self) -> &'static str {
        match self {
            Self::Host => "Host",
            Self::Origin => "Origin",
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let message = format!("The {} of this request is not allowed.", self.name());
        let data = json!({
            "code": ErrorCode::Forbidden.as_str(),
            "hint": "Call the server by localhost or its public name, or ask the operator to add the name to PANAVERSITY_ALLOWED_HOSTS.",
        });
        error::refused_request(StatusCode::FORBIDDEN, &message, &data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(on_loopback: bool) -> AllowedHosts {
        AllowedHosts::new(None, &[], on_loopback)
    }

    fn verdict(hosts: &AllowedHosts, headers: &[(&'static str, &str)]) -> Result<(), Refused> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        hosts.verdict(&Uri::from_static("/mcp"), &map)
    }

    #[test]
    fn on_loopback_only_names_of_this_machine_are_let_in() {
        let hosts = hosts(true);
        for host in ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"] {
            assert_eq!(verdict(&hosts, &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example:8000", "localhost.evil.example", "localhost@evil.example", "127.0.0.2", ""]
        {
            assert_eq!(verdict(&hosts, &[("host", host)]), Err(Refused::Host), "{host}");
        }
        assert_eq!(verdict(&hosts, &[]), Err(Refused::Host));
        assert_eq!(verdict(&hosts, &[("host", "localhost"), ("host", "localhost")]), Err(Refused::Host));
    }

    #[test]
    fn an_origin_must_be_allowed_as_well() {
        let hosts = hosts(true);
        let from = |origin| verdict(&hosts, &[("host", "localhost"), ("origin", origin)]);
        assert_eq!(from("http://localhost:3000"), Ok(()));
        assert_eq!(from("https://[::1]"), Ok(()));
        for origin in ["https://evil.example", "null", "http://localhost.evil.example", "localhost"] {
            assert_eq!(from(origin), Err(Refused::Origin), "{origin}");
        }
    }

    #[test]
    fn on_a_public_address_the_check_is_on_once_a_name_is_set() {
        let free = hosts(false);
        assert_eq!(verdict(&free, &[("host", "anything"), ("origin", "https://any.example")]), Ok(()));
        let public = PublicUrl::parse("https://Books.example.com/fs");
        let named_on =
            |on_loopback| AllowedHosts::new(public.as_ref(), &["10.0.0.5".to_owned()], on_loopback);
        let named = named_on(false);
        for host in ["books.example.com", "10.0.0.5:8000", "localhost"] {
            assert_eq!(verdict(&named, &[("host", host)]), Ok(()), "{host}");
        }
        assert_eq!(verdict(&named, &[("host", "anything")]), Err(Refused::Host));
        assert_eq!(verdict(&named, &[("host", "10.0.0.5"), ("origin", "https://books.example.com")]), Ok(()));
        assert_eq!(verdict(&named.for_probes(), &[("host", "anything")]), Ok(()));
        assert_eq!(verdict(&named_on(true).for_probes(), &[("host", "anything")]), Err(Refused::Host));
    }

    #[test]
    fn a_request_line_with_a_host_is_looked_at_too() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        let hosts = hosts(true);
        let verdict = |uri| hosts.verdict(&Uri::from_static(uri), &headers);
        assert_eq!(verdict("http://localhost:8000/mcp"), Ok(()));
        assert_eq!(verdict("http://evil.example/mcp"), Err(Refused::Host));
    }
}
