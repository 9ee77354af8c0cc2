//! Secret of a webhook: the key with which its deliveries are signed and checked.
//!
//! # Form
//! `whsec_` and the base64 of 32 bytes of strong randomness, as the libraries of Standard Webhooks take it.
//!
//! # What is stored
//! The secret itself: to sign, a server needs the key, and no hash would do.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretSlice};

/// Begin of every secret.
pub const WEBHOOK_SECRET_PREFIX: &str = "whsec_";
/// Random bytes of a secret.
pub const WEBHOOK_SECRET_BYTES: usize = 32;

/// The key; debug output does not show it.
#[derive(Debug, Clone)]
pub struct WebhookSecret(SecretSlice<u8>);

impl WebhookSecret {
    /// The secret made of these random bytes.
    pub fn from_random(random: [u8; WEBHOOK_SECRET_BYTES]) -> Self {
        Self(random.to_vec().into())
    }

    /// Parses the stored form.
    pub fn from_stored(text: &str) -> Option<Self> {
        let key = BASE64_STANDARD.decode(text.strip_prefix(WEBHOOK_SECRET_PREFIX)?).ok()?;
        (key.len() == WEBHOOK_SECRET_BYTES).then(|| Self(key.into()))
    }

    /// The text, to be stored, and shown to its holder once.
    pub fn expose(&self) -> String {
        format!("{WEBHOOK_SECRET_PREFIX}{}", BASE64_STANDARD.encode(self.key()))
    }

    /// The key of the signatures.
    pub fn key(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_reads_back_and_debug_output_hides_it() {
        let secret = WebhookSecret::from_random([0xab; WEBHOOK_SECRET_BYTES]);
        let text = secret.expose();
        assert_eq!(text, format!("whsec_{}q6s=", "q6ur".repeat(10)));
        assert_eq!(WebhookSecret::from_stored(&text).unwrap().key(), secret.key());
        let shown = format!("{secret:?}");
        assert!(!shown.contains("171") && !shown.contains("q6ur"), "{shown}");
        for wrong in ["", "whsec_", "whsec_q6ur", &text[6..], &format!("{text}x")] {
            assert!(WebhookSecret::from_stored(wrong).is_none(), "{wrong}");
        }
    }
}
