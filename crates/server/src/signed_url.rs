//! URLs in answers, and signed links. Invariant: a signed link opens the resource it was signed for,
//! until it expires, and nothing else; all servers of one database share the key, so each accepts links
//! that another signed.
//!
//! # Form
//! `{base}{path}?{name}={value}&...&expires={unix seconds}&signature={hex}`. The signature is the
//! HMAC-SHA256 of the path and of every name and value up to and including `expires`, in the order
//! defined for the kind of link, each preceded by its length in bytes as 8 bytes, big-endian. In the URL
//! the parameters may come in any order. The base is not signed: a server may be reachable under several
//! names.
//!
//! # Base
//! `PANAVERSITY_PUBLIC_URL`; else the request's `Host` if that is loopback; else the address that the
//! server listens on. Over stdio only the first can be known, so without it there are no links.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use panaversity_model::publication::FileKey;
use panaversity_model::{AgentId, BookId, BookPath, ContentHash, Layer, Refusal};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::clock::unix_now;
use crate::host::{PublicUrl, host_of, is_loopback};
use crate::link_keys::LinkKeyRing;

/// Characters that are not percent-encoded in a query's value (RFC 3986, unreserved).
pub(crate) const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Characters that are not percent-encoded in a path: the same and the separator of segments.
pub(crate) const PLAIN_PATH: &AsciiSet = &PLAIN.remove(b'/');
/// Names of the last two parameters of every signed link.
const EXPIRES: &str = "expires";
const SIGNATURE: &str = "signature";

/// Parameters of the link to an archive: manifest, scope, layout, and the agent that requested it.
pub(crate) const ARCHIVE_FIELDS: [&str; 4] = ["manifest", "scope", "layout", "agent"];
/// Parameters of the link to a file below `content/`: the version, its layer, and the agent that
/// requested it.
pub(crate) const CONTENT_FIELDS: [&str; 3] = ["hash", "user", "agent"];

/// Parameters of the link to an upload: the announced size.
pub(crate) const UPLOAD_FIELDS: [&str; 1] = ["size"];

/// Path of the link to an upload.
pub(crate) fn upload_path(id: &str) -> String {
    format!("/uploads/{id}")
}

/// Path of the archives of a book.
pub(crate) fn archive_path(book: &BookId) -> String {
    format!("/books/{book}/archive.zip")
}

/// Path of the link to a file below `content/`.
pub(crate) fn content_path(book: &BookId, path: &BookPath) -> String {
    format!("/books/{book}/{path}")
}

/// Reason why a signed link is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidSignature {
    /// The signature is not valid for it under this key.
    Forged,
    /// The signature is valid, but the link has expired.
    Expired,
}

/// Spelling of a published file's key in the storage, which may differ from its path.
pub type PublishedKey = Arc<dyn Fn(&FileKey) -> String + Send + Sync>;

/// Options of [`SignedUrls`].
pub struct SignedUrlOptions {
    /// Keys of the signatures, the same on every server of a database.
    pub keys: LinkKeyRing,
    /// URL under which clients reach this server.
    pub public_url: Option<PublicUrl>,
    /// Base URL of a CDN for the storage's public files, and the spelling of keys there.
    pub cdn: Option<(PublicUrl, PublishedKey)>,
    /// Validity of a link.
    pub valid_for: Duration,
}

/// Signer and verifier of links. Cheap to clone.
#[derive(Clone)]
pub struct SignedUrls {
    inner: Arc<Inner>,
    /// The `Host` of the request, if it is loopback.
    host: Option<String>,
}

struct Inner {
    options: SignedUrlOptions,
    bound: OnceLock<String>,
}

impl SignedUrls {
    /// A signer with these options.
    pub fn new(options: SignedUrlOptions) -> Self {
        Self { inner: Arc::new(Inner { options, bound: OnceLock::new() }), host: None }
    }

    /// Sets the address that the server listens on, the base of links if there is no better one.
    pub(crate) fn bound_to(&self, address: SocketAddr) {
        // The first address is kept: a server listens on one.
        let _ = self.inner.bound.set(format!("http://{address}"));
    }

    /// The same signer, with this `Host` of a request as base if it is loopback.
    pub(crate) fn for_host(&self, host: Option<&str>) -> Self {
        let loopback = host.filter(|host| host_of(host).is_some_and(|host| is_loopback(&host)));
        Self { inner: self.inner.clone(), host: loopback.map(str::to_owned) }
    }

    /// Validity of a link signed now.
    pub(crate) fn valid_for(&self) -> Duration {
        self.inner.options.valid_for
    }

    /// Public URL of a base asset.
    ///
    /// # Errors
    /// [`Refusal::NoLinks`] if no server or CDN is known to serve it.
    pub(crate) fn asset_url(&self, book: &BookId, path: &BookPath) -> Result<String, Refusal> {
        let (base, path) = match &self.inner.options.cdn {
            // A CDN serves the storage, which may spell names in its own way.
            Some((cdn, published_key)) => {
                let key = FileKey { book: book.clone(), path: path.clone(), layer: Layer::Base };
                (cdn.text.clone(), published_key(&key))
            }
            None => (self.base()?, format!("books/{book}/{path}")),
        };
        Ok(format!("{base}/{}", utf8_percent_encode(&path, PLAIN_PATH)))
    }

    /// A signed link to a version of a file below `content/`: content is public only in a site built
    /// from it.
    ///
    /// # Errors
    /// As [`signed`](Self::signed).
    pub(crate) fn content_url(
        &self,
        file: &FileKey,
        hash: ContentHash,
        agent: &AgentId,
    ) -> Result<String, Refusal> {
        let hash = hash.to_string();
        let values = [hash.as_str(), file.layer.as_str(), agent.as_str()];
        let fields: Vec<_> = CONTENT_FIELDS.into_iter().zip(values).collect();
        Ok(self.signed(&content_path(&file.book, &file.path), &fields)?.0)
    }

    /// True if this server has a base for links.
    pub(crate) fn are_served(&self) -> bool {
        self.base().is_ok()
    }

    /// A signed link to a path of this server, valid for [`valid_for`](Self::valid_for); also returns
    /// its expiry in Unix seconds.
    ///
    /// # Errors
    /// [`Refusal::NoLinks`] if the server has no base for links.
    pub(crate) fn signed(&self, path: &str, fields: &[(&str, &str)]) -> Result<(String, u64), Refusal> {
        let expires = unix_now().saturating_add(self.inner.options.valid_for.as_secs());
        Ok((self.signed_until(&self.base()?, path, fields, expires), expires))
    }

    /// A token that a browser sends back to this server's own pages: the query of a signed link to a path.
    pub(crate) fn token(&self, path: &str, fields: &[(&str, &str)], valid_for: Duration) -> String {
        let expires = unix_now().saturating_add(valid_for.as_secs());
        let link = self.signed_until("", path, fields, expires);
        link.split_once('?').map_or(String::new(), |(_, query)| query.to_owned())
    }

    fn signed_until(&self, base: &str, path: &str, fields: &[(&str, &str)], expires: u64) -> String {
        let until = expires.to_string();
        let all = fields.iter().copied().chain([(EXPIRES, until.as_str())]);
        let signature = hex::encode(self.signature(path, all.clone()));
        let mut url = format!("{base}{}", utf8_percent_encode(path, PLAIN_PATH));
        for (n, (name, value)) in all.chain([(SIGNATURE, signature.as_str())]).enumerate() {
            let mark = if n == 0 { '?' } else { '&' };
            // Writing to a string does not fail.
            let _ = write!(url, "{mark}{name}={}", utf8_percent_encode(value, PLAIN));
        }
        url
    }

    /// Verifies a link and returns the values of its parameters, which must be exactly these, each once,
    /// in any order. `path` is decoded, `query` as received.
    pub(crate) fn open<const N: usize>(
        &self,
        path: &str,
        query: &str,
        names: [&str; N],
    ) -> Result<[String; N], InvalidSignature> {
        let mut pairs: Vec<_> =
            query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        let mut values = Vec::with_capacity(N + 2);
        for name in names.iter().copied().chain([EXPIRES, SIGNATURE]) {
            let at = pairs.iter().position(|(given, _)| *given == name).ok_or(InvalidSignature::Forged)?;
            let (_, raw) = pairs.swap_remove(at);
            let value = percent_decode_str(raw).decode_utf8().map_err(|_| InvalidSignature::Forged)?;
            values.push(value.into_owned());
        }
        let (Some(signature), Some(until)) = (values.pop(), values.pop()) else {
            return Err(InvalidSignature::Forged);
        };
        if !pairs.is_empty() {
            return Err(InvalidSignature::Forged);
        }
        if !self.is_signed(path, &signature, names.iter().copied().zip(&values).chain([(EXPIRES, &until)])) {
            return Err(InvalidSignature::Forged);
        }
        let expires: u64 = until.parse().map_err(|_| InvalidSignature::Forged)?;
        if unix_now() >= expires {
            return Err(InvalidSignature::Expired);
        }
        values.try_into().map_err(|_| InvalidSignature::Forged)
    }

    /// True if a key made this signature.
    fn is_signed<'a>(
        &self,
        path: &str,
        signature: &str,
        fields: impl Iterator<Item = (&'a str, &'a String)> + Clone,
    ) -> bool {
        let Ok(signature) = hex::decode(signature) else { return false };
        let fields = fields.map(|(name, value)| (name, value.as_str()));
        // Each comparison takes constant time.
        let made = |key: &SecretString| mac(key, path, fields.clone()).verify_slice(&signature).is_ok();
        self.inner.options.keys.accepted().iter().any(made)
    }

    fn signature<'a>(&self, path: &str, fields: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
        let keys = self.inner.options.keys.accepted();
        keys.first().map(|key| mac(key, path, fields).finalize().into_bytes().to_vec()).unwrap_or_default()
    }

    /// Scheme and authority of the public URL, if it is set.
    pub(crate) fn public_origin(&self) -> Option<&str> {
        self.inner.options.public_url.as_ref().map(PublicUrl::origin)
    }

    /// Base URL of links, without a trailing slash.
    ///
    /// # Errors
    /// [`Refusal::NoLinks`] if there is none.
    pub(crate) fn base(&self) -> Result<String, Refusal> {
        match (&self.inner.options.public_url, &self.host) {
            (Some(public), _) => Ok(public.text.clone()),
            (None, Some(host)) => Ok(format!("http://{host}")),
            (None, None) => self.inner.bound.get().cloned().ok_or(Refusal::NoLinks),
        }
    }
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104, section 3)")]
fn mac<'a>(key: &SecretString, path: &str, fields: impl Iterator<Item = (&'a str, &'a str)>) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(key.expose_secret().as_bytes()).expect("a key of any length");
    let mut take = |text: &str| {
        mac.update(&(text.len() as u64).to_be_bytes());
        mac.update(text.as_bytes());
    };
    take(path);
    for (name, value) in fields {
        take(name);
        take(value);
    }
    mac
}

#[cfg(test)]
mod tests;
