//! HTTP clients, one per kind of connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Url, redirect};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time of a request and its answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// Kind of a connection, which selects its certificates and proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    tls: bool,
    loopback: bool,
}

/// Pool of HTTP clients, one per kind of connection.
#[derive(Debug, Clone, Default)]
pub(super) struct HttpClients(Arc<Mutex<HashMap<Kind, reqwest::Client>>>);

impl HttpClients {
    /// A client for the URL. It is created once per kind, because loading the system's certificates
    /// is slow.
    pub(super) fn to(&self, url: &Url) -> Result<reqwest::Client, String> {
        let kind = Kind { tls: url.scheme() == "https", loopback: is_loopback(url) };
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = made.get(&kind) {
            return Ok(http.clone());
        }
        let http = build(kind)?;
        made.insert(kind, http.clone());
        Ok(http)
    }
}

fn build(kind: Kind) -> Result<reqwest::Client, String> {
    // Fails only if a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .redirect(redirect::Policy::none());
    if !kind.tls {
        // Without TLS the system's certificates are not loaded: that takes longer than a whole
        // unchanged run.
        builder = builder.tls_certs_only([]);
    }
    if kind.loopback {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| format!("the HTTP client: {}", root_cause(&error)))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The innermost cause, which is the useful one: `Connection refused`, not `error sending request`.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
