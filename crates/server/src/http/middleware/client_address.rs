//! Address of the client: the connection's, or the one that a trusted proxy names in `X-Forwarded-For`.
//!
//! Proxies append the address that they see, so the entries are read from the last to the first: the
//! first one that is no trusted proxy is the client. A client may put anything before it, and has no
//! influence on it.
//!
//! Requests are counted together by their agent, or else by their client's address; of IPv6 by the network of
//! 64 bits that one client has for itself.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;
use panaversity_model::AgentId;
use panaversity_model::permission::Principal;

/// Address of the peer of a request's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum CallerKey {
    /// An agent that is authenticated.
    Agent(AgentId),
    /// The address of anybody else.
    Address(IpAddr),
    /// A request without an address, as in tests without a listener.
    Unknown,
}

impl fmt::Display for CallerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(agent) => write!(f, "agent:{}", agent.as_str()),
            Self::Address(address) => write!(f, "address:{address}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Networks of proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// Parses addresses and networks, such as `10.0.0.0/8`, separated by commas.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let network = |part: &str| part.parse().ok().or_else(|| part.parse::<IpAddr>().ok().map(IpNet::from));
        parts.map(network).collect::<Option<Vec<_>>>().map(|networks| Self(networks.into()))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The caller of a request, once it is identified.
    pub(crate) fn caller(&self, extensions: &Extensions, headers: &HeaderMap) -> CallerKey {
        match (extensions.get::<Principal>(), extensions.get::<PeerAddress>()) {
            (Some(principal), _) => CallerKey::Agent(principal.agent.clone()),
            (None, Some(peer)) => CallerKey::Address(network(self.client(*peer, headers))),
            (None, None) => CallerKey::Unknown,
        }
    }

    /// The client behind this peer.
    pub(crate) fn client(&self, PeerAddress(peer): PeerAddress, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let entries = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.rsplit(','));
        let mut nearest = peer;
        for entry in entries {
            // What is no address was written by no proxy that is trusted.
            let Ok(address) = entry.trim().parse::<IpAddr>() else { return nearest };
            nearest = address.to_canonical();
            if !self.trusts(nearest) {
                return nearest;
            }
        }
        nearest
    }
}

/// The address itself, or the network of 64 bits that it is in.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let proxies = TrustedProxies::parse("10.0.0.0/8, 192.168.7.1, fd00::/8").unwrap();
        for (peer, forwarded, client) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.0.0.1", &[][..], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1, 192.168.7.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in forwarded {
                headers.append("x-forwarded-for", HeaderValue::from_static(line));
            }
            let found = proxies.client(PeerAddress(peer.parse().unwrap()), &headers);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        }
        for bad in ["10.0.0.0/33", "proxy.example.com", "10.0.0.1;10.0.0.2"] {
            assert!(TrustedProxies::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_agent_is_counted_by_name_and_others_by_address_or_network() {
        let proxies = TrustedProxies::default();
        let caller = |principal: Option<Principal>, peer: &str| {
            let mut request = Request::new(Body::empty());
            request.extensions_mut().insert(PeerAddress(peer.parse().unwrap()));
            if let Some(principal) = principal {
                request.extensions_mut().insert(principal);
            }
            proxies.caller(request.extensions(), request.headers())
        };
        let agent = AgentId::parse("writer-7").unwrap();
        let principal = Principal::unrestricted(agent.clone());
        assert_eq!(caller(Some(principal), "203.0.113.9"), CallerKey::Agent(agent));
        assert_ne!(caller(None, "203.0.113.9"), caller(None, "203.0.113.8"));
        assert_eq!(caller(None, "2001:db8:1:2::3"), caller(None, "2001:db8:1:2:ffff::"));
        assert_ne!(caller(None, "2001:db8:1:2::3"), caller(None, "2001:db8:1:3::3"));
    }
}
