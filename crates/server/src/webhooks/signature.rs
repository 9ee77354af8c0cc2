//! Signature of a delivery, by Standard Webhooks: HMAC-SHA256 over id, timestamp and body, separated by full
//! stops, in base64. The timestamp is that of the attempt, so that receivers can refuse old ones.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use panaversity_model::webhook::WebhookSecret;
use sha2::Sha256;

/// Value of `webhook-signature`; `seconds` is that of `webhook-timestamp`.
#[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
pub(super) fn signature(secret: &WebhookSecret, id: &str, seconds: u64, body: &[u8]) -> String {
    let mut mac: Hmac<Sha256> = Hmac::new_from_slice(secret.key()).expect("a key of any length");
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by Python's `hmac` with the key 0, 1, ..., 31.
    #[test]
    fn a_signature_is_the_one_that_receivers_compute() {
        let secret = WebhookSecret::from_random(std::array::from_fn(|n| u8::try_from(n).unwrap()));
        let signed = signature(&secret, "ab00010203ff_7", 1_674_087_231, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,bnmWCJNONlbkHiVQnQwUS7XFUMiCS8OqrXkKDWr3cC4=");
    }
}
