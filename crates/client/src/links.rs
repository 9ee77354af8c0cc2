//! URLs other than the tools' endpoint. Invariant: what the server itself offers is requested through
//! `--url`, which is known to reach it; only links to elsewhere are requested as they are.

use panaversity_model::{BookId, BookPath};
use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::client::{CallError, Client};

impl Client {
    /// URL of a published asset on the server itself.
    pub(crate) fn asset_url(&self, book: &BookId, path: &BookPath) -> Url {
        let mut url = self.base();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["books", book.as_str()]).extend(path.segments());
        }
        url
    }

    /// URL of the feed of changes of a book.
    pub(crate) fn changes_url(&self, book: &BookId) -> Url {
        let mut url = self.base();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["books", book.as_str(), "changes"]);
        }
        url
    }

    /// URL of a link that a tool returned. A link to the server itself (one that ends in `route`
    /// and has its `signature`) is rewritten to the base of `--url`: the signature does not cover
    /// scheme, host and prefix.
    pub(super) fn address(&self, link: &str, route: &str) -> Result<Url, CallError> {
        let strange = || CallError::UnexpectedResponse("the server gave a link that is no URL".to_owned());
        let link = Url::parse(link).map_err(|_| strange())?;
        if !matches!(link.scheme(), "http" | "https") {
            return Err(strange());
        }
        // Signature parameters of object storages have other names. The path is compared decoded,
        // because equal paths may be escaped differently.
        let path = percent_decode_str(link.path()).decode_utf8_lossy();
        let is_own = path.ends_with(route) && link.query_pairs().any(|(name, _)| name == "signature");
        if !is_own {
            return Ok(link);
        }
        let mut own = self.base();
        own.set_path(&format!("{}{route}", own.path().trim_end_matches('/')));
        own.set_query(link.query());
        Ok(own)
    }

    /// The server's base URL, without `/mcp`.
    fn base(&self) -> Url {
        let mut base = self.endpoint.clone();
        let path = base.path().strip_suffix("/mcp").unwrap_or_default().to_owned();
        base.set_path(&path);
        base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_offers_is_asked_for_where_it_is_reached() {
        let route = "/books/ai-python/archive.zip";
        for (given, base) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("https://x.example/fs/mcp", "https://x.example/fs"),
        ] {
            let client = Client::new(given, "test").unwrap();
            let book = BookId::parse("ai-python").unwrap();
            let path = BookPath::parse("static/img/a b (1) é#?.png").unwrap();
            let asset = client.asset_url(&book, &path);
            assert_eq!(
                asset.as_str(),
                format!("{base}/books/ai-python/static/img/a%20b%20(1)%20%C3%A9%23%3F.png")
            );
            let own = format!("https://public.example/docs{route}?state=a%20b&signature=00");
            assert_eq!(
                client.address(&own, route).unwrap().as_str(),
                format!("{base}{route}?state=a%20b&signature=00")
            );
            let file = "/books/ai-python/content/img/a b (1) 高（級）.png";
            let own = "https://public.example/books/ai-python/content/img/a%20b%20%281%29%20%E9%AB%98%EF%BC%88%E7%B4%9A%EF%BC%89.png?hash=00&signature=00";
            let turned = client.address(own, file).unwrap();
            assert!(turned.as_str().starts_with(base) && turned.query() == Some("hash=00&signature=00"));
            assert_eq!(
                percent_decode_str(turned.path()).decode_utf8().unwrap().strip_prefix("/fs").unwrap_or(file),
                file
            );
            let elsewhere = format!("https://bucket.example{route}?X-Amz-Signature=00");
            assert_eq!(client.address(&elsewhere, route).unwrap().as_str(), elsewhere);
            assert!(client.address("file:///etc/passwd", route).is_err());
        }
    }
}
