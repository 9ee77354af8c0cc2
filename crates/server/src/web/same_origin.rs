//! Forms of this server's own pages told from those of other sites, by what browsers say of them.
//!
//! `Sec-Fetch-Site` must be `same-origin`, and `Origin` the host that the request is addressed to, or that of
//! `PANAVERSITY_PUBLIC_URL`, where a proxy in front writes another `Host`. A request without both comes from no
//! browser.

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use panaversity_model::Refusal;

/// Refuses a form of another site; `public` is the origin of the public URL.
pub(super) fn require(headers: &HeaderMap, public: Option<&str>) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let is_same_site = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let is_own = |origin: &str| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let is_addressed = authority.is_some_and(|authority| text(HOST.as_str()) == Some(authority));
        is_addressed || public.is_some_and(|public| public.eq_ignore_ascii_case(origin))
    };
    if is_same_site && text(ORIGIN.as_str()).is_none_or(is_own) {
        return Ok(());
    }
    Err(Refusal::argument("Origin", "the form was sent from another site"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_other_sites_are_told_apart() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            require(&headers, Some("https://public.example.com")).is_ok()
        };
        let host = ("host", "books.example.com");
        assert!(of(&[host]));
        assert!(of(&[host, ("origin", "https://books.example.com"), ("sec-fetch-site", "same-origin")]));
        assert!(of(&[host, ("origin", "https://public.example.com"), ("sec-fetch-site", "same-origin")]));
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "https://books.example.com.evil.example"),
            ("origin", "https://books.example.com:444"),
            ("origin", "http://public.example.com"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
        ] {
            assert!(!of(&[host, (name, value)]), "{name}: {value}");
        }
    }
}
