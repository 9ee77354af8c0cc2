//! URL of a webhook. Invariant: it is absolute, `http` or `https`, and has neither user nor fragment; its host is
//! no address at which machines of a cloud ask for their credentials.
//!
//! Path and query may contain a secret of the receiver, so debug output and [`shown`](WebhookUrl::shown) leave
//! the query out, and logs and pages show the host alone.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::refusal::Refusal;

/// Most bytes of a URL.
const MOST_BYTES: usize = 2_048;
/// Addresses beyond the link-local ones at which clouds serve the credentials of their machines: AWS, also for
/// EKS; Google; Alibaba.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];
const METADATA_V4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);

/// Where changes are sent to.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    /// Parses a URL that an operator gives.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let refused = |why: &str| Refusal::argument("url", why);
        let url =
            Url::parse(text).map_err(|_| refused("it must be a URL such as https://example.com/changes"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("it must begin with https:// or http://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("it must not contain a user or password: deliveries are signed"));
        }
        if url.fragment().is_some() {
            return Err(refused("it must have no fragment (#), which is never sent"));
        }
        if url.as_str().len() > MOST_BYTES {
            return Err(refused("it must have at most 2048 bytes"));
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        if address.is_some_and(is_refused_address) {
            return Err(refused(
                "it must not name a link-local address: machines of a cloud get credentials there",
            ));
        }
        Ok(Self(url))
    }

    /// The URL, for requests and the database.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Host, and the port if it is not the usual one.
    pub fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The URL without its query, for the operator.
    pub fn shown(&self) -> String {
        let (url, hidden) = (self.0.as_str(), if self.0.query().is_some() { "?***" } else { "" });
        format!("{}{hidden}", url.split('?').next().unwrap_or_default())
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// True if nothing is sent to this address: link-local ones (169.254.0.0/16, `fe80::/10`) and others under which
/// clouds serve the credentials of their machines, also as IPv6 reaches IPv4 (mapped, NAT64, 6to4).
pub fn is_refused_address(address: IpAddr) -> bool {
    let is_refused = |address: Ipv4Addr| address.is_link_local() || address == METADATA_V4;
    match address {
        IpAddr::V4(address) => is_refused(address),
        IpAddr::V6(address) => {
            let of = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
            let embedded = match address.segments() {
                [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                    Some(of(high, low))
                }
                [0x2002, high, low, ..] => Some(of(high, low)),
                _ => None,
            };
            embedded.is_some_and(is_refused)
                || address.is_unicast_link_local()
                || METADATA_V6.contains(&address)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_and_is_shown_without_its_query() {
        let url = WebhookUrl::parse("https://Example.com:8443/in?token=s3cret-word").unwrap();
        assert_eq!(url.as_str(), "https://example.com:8443/in?token=s3cret-word");
        assert_eq!(
            (url.host().as_str(), url.shown().as_str()),
            ("example.com:8443", "https://example.com:8443/in?***")
        );
        assert!(!format!("{url:?}").contains("s3cret"));
        let path = "https://example.com/@team/x";
        assert_eq!(WebhookUrl::parse(path).unwrap().shown(), path);
        assert_eq!(WebhookUrl::parse("http://[::1]:80/").unwrap().host(), "[::1]");
    }

    #[test]
    fn what_is_no_plain_url_or_leads_to_a_metadata_service_is_refused() {
        for wrong in [
            "",
            "example.com/hook",
            "/hook",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://",
            "https://ada@example.com/",
            "https://ada:pass@example.com/",
            "https://example.com/#a",
            "http://169.254.169.254/latest/meta-data",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.1.1]/",
            "http://[fd00:ec2::254]/",
            "http://[fd20:ce::254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::1]/",
            "http://100.100.100.200/latest",
            &format!("https://example.com/{}", "a".repeat(2_048)),
        ] {
            assert!(WebhookUrl::parse(wrong).is_err(), "{wrong}");
        }
        for fine in ["http://127.0.0.1:9000/", "http://10.0.0.7/x", "https://hooks.example.com/a/b?c=d"] {
            assert!(WebhookUrl::parse(fine).is_ok(), "{fine}");
        }
    }
}
