//! Resolver of the hosts of webhooks. Invariant: it gives no address of a metadata service, whatever a name means
//! at the moment of the connection.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use panaversity_model::webhook::is_refused_address;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The system's resolver, without link-local addresses.
pub(super) struct GuardedResolver;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is that of the URL.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Addrs = Box::new(permitted(found.collect())?.into_iter());
            Ok::<_, Box<dyn Error + Send + Sync>>(addresses)
        })
    }
}

/// The addresses to which something may be sent; an error if a name means none of these.
fn permitted(mut found: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    let is_known = !found.is_empty();
    found.retain(|address| !is_refused_address(address.ip()));
    if is_known && found.is_empty() {
        return Err(io::Error::other("the name means a link-local address, to which nothing is sent"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_means_a_link_local_address_leads_nowhere() {
        let of = |texts: &[&str]| {
            permitted(texts.iter().map(|text| text.parse().unwrap()).collect())
                .map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())
                .ok()
        };
        assert_eq!(of(&["169.254.169.254:0"]), None);
        assert_eq!(of(&["[fe80::1]:0", "169.254.1.1:0"]), None);
        assert_eq!(of(&["169.254.169.254:0", "10.0.0.7:0"]).unwrap(), ["10.0.0.7:0"]);
        assert_eq!(of(&[]).unwrap(), Vec::<String>::new());
    }
}
