//! Parser of host names in URLs, `Host` and `Origin`: one for settings and requests, so that the host
//! check compares the names that an operator allowed.

use axum::http::uri::Authority;
use axum::http::{HeaderValue, Uri};

/// Names that always mean this machine.
pub(crate) const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// True if a host, as [`host_of`] returns it, always means this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    LOOPBACK.contains(&host)
}

/// The URL under which clients reach the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// The URL without a trailing slash.
    pub text: String,
    /// Host of the URL, in lower case.
    pub host: String,
}

impl PublicUrl {
    /// Parses an absolute `http` or `https` URL without user, query or fragment.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let clean = !text.contains(['?', '#', '@']) && matches!(uri.scheme_str(), Some("http" | "https"));
        let host = host_of_authority(uri.authority()?)?;
        clean.then(|| Self { text: text.trim_end_matches('/').to_owned(), host })
    }

    /// True if nobody else can read or change what is fetched from it: it is `https`, or this machine.
    pub fn is_private(&self) -> bool {
        self.text.starts_with("https:") || is_loopback(&self.host)
    }

    /// Scheme and authority of the URL.
    pub(crate) fn origin(&self) -> &str {
        self.text.strip_suffix(self.path()).unwrap_or(&self.text)
    }

    /// Path of the URL; empty if it has none.
    pub fn path(&self) -> &str {
        let after_scheme = self.text.find("://").map_or(0, |at| at + 3);
        self.text[after_scheme..].find('/').map_or("", |at| &self.text[after_scheme + at..])
    }
}

/// Origin of a web page, as browsers send it (RFC 6454, section 6.2): scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl Origin {
    /// Parses an origin with `http` or `https`; there are no wildcards.
    pub fn parse(text: &str) -> Option<Self> {
        let url = PublicUrl::parse(text)?;
        let is_bare = url.text == text && url.path().is_empty() && !text.contains('*');
        is_bare.then(|| HeaderValue::from_str(&text.to_ascii_lowercase()).ok()).flatten().map(Self)
    }

    /// Value of the header `Origin`.
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.0
    }
}

/// The host in a `Host` header's value, in lower case, without port.
pub fn host_of(text: &str) -> Option<String> {
    if text.contains('@') {
        return None;
    }
    host_of_authority(&text.parse().ok()?)
}

/// The host in an `Origin` header's value; `None` for `null` and for other schemes than HTTP.
pub(crate) fn host_of_origin(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    if matches!(scheme, "http" | "https") { host_of(rest) } else { None }
}

fn host_of_authority(authority: &Authority) -> Option<String> {
    let host = authority.host();
    // A name with a trailing dot means the same.
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_without_port_and_case() {
        assert_eq!(host_of("Example.COM:8000").as_deref(), Some("example.com"));
        assert_eq!(host_of("[::1]:8000").as_deref(), Some("[::1]"));
        assert_eq!(host_of("example.com.").as_deref(), Some("example.com"));
        assert_eq!(host_of("localhost@evil.com"), None);
        assert_eq!(host_of("a/b"), None);
        assert_eq!(host_of(""), None);
        assert_eq!(host_of_origin("https://Docs.example.com:443").as_deref(), Some("docs.example.com"));
        assert_eq!(host_of_origin("null"), None);
        assert_eq!(host_of_origin("file://localhost"), None);
    }

    #[test]
    fn a_public_url_is_absolute_and_plain() {
        let url = PublicUrl::parse("https://Books.example.com:8443/fs/").unwrap();
        assert_eq!(
            (url.text.as_str(), url.host.as_str()),
            ("https://Books.example.com:8443/fs", "books.example.com")
        );
        assert_eq!((url.origin(), url.path()), ("https://Books.example.com:8443", "/fs"));
        let bare = PublicUrl::parse("http://localhost:8000/").unwrap();
        assert_eq!((bare.origin(), bare.path()), ("http://localhost:8000", ""));
        assert!(Origin::parse("http://localhost:3000").is_some());
        for bad in ["*", "localhost:3000", "http://localhost/", "https://*.example.com", "null"] {
            assert_eq!(Origin::parse(bad), None, "{bad}");
        }
        for bad in ["books.example.com", "/x", "ftp://x", "https://u:p@x", "https://x/?q", "https://"] {
            assert_eq!(PublicUrl::parse(bad), None, "{bad}");
        }
    }
}
