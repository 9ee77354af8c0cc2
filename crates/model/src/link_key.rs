//! Signing keys of links, kept in the database for all servers of a store, and their rotation.
//!
//! # Protocol
//! 1. The first server that needs a key generates it.
//! 2. A rotation adds a key. Servers read the keys every few seconds; they accept links of a new key at once
//!    and sign with it only when it is [`ACTIVATION`] old, and so known to all of them.
//! 3. Links of the key before are accepted until the last of them has expired.

use std::time::Duration;

use secrecy::SecretString;

use crate::timestamp::Timestamp;

/// Age from which on links are signed with a key.
pub const ACTIVATION: Duration = Duration::from_secs(30);

/// Margin for servers that read the keys a little later, and for clocks that differ.
const MARGIN: Duration = Duration::from_mins(1);

/// A key with the time of its creation.
#[derive(Debug, Clone)]
pub struct LinkKey {
    /// The key.
    pub key: SecretString,
    /// Time of its creation.
    pub created_at: Timestamp,
}

/// The keys of a store, newest first, at one moment.
#[derive(Debug, Clone)]
pub struct LinkKeyList {
    /// The database's time at that moment.
    pub now: Timestamp,
    /// The keys.
    pub keys: Vec<LinkKey>,
}

impl LinkKeyList {
    /// The accepted keys, where links are valid for `valid_for`; the first of them signs.
    pub fn accepted(self, valid_for: Duration) -> Vec<SecretString> {
        let is_active = |key: &LinkKey| key.created_at <= self.now.before(ACTIVATION);
        let signer = self.keys.iter().position(is_active).unwrap_or(self.keys.len().saturating_sub(1));
        let replaced_since = self.now.before(ACTIVATION).before(MARGIN).before(valid_for);
        let mut successor = None;
        let mut accepted = Vec::with_capacity(self.keys.len());
        for (n, LinkKey { key, created_at }) in self.keys.into_iter().enumerate() {
            let is_over = n > signer && successor.is_some_and(|since| since <= replaced_since);
            successor = Some(created_at);
            match n {
                _ if is_over => {}
                _ if n == signer => accepted.insert(0, key),
                _ => accepted.push(key),
            }
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// The accepted keys, each named by the second of its creation, at a second, of links valid for 100 s.
    fn accepted(created: &[i64], now: i64) -> Vec<String> {
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let keys =
            created.iter().map(|second| LinkKey { key: second.to_string().into(), created_at: at(*second) });
        let list = LinkKeyList { now: at(now), keys: keys.collect() };
        list.accepted(Duration::from_secs(100)).iter().map(|key| key.expose_secret().to_owned()).collect()
    }

    #[test]
    fn a_new_key_signs_once_all_know_it_and_the_old_one_is_accepted_until_its_last_link_has_expired() {
        assert_eq!(accepted(&[0], 0), ["0"], "the first key signs at once");
        assert_eq!(accepted(&[1_000, 0], 1_029), ["0", "1000"]);
        assert_eq!(accepted(&[1_000, 0], 1_030), ["1000", "0"]);
        assert_eq!(accepted(&[1_000, 0], 1_189), ["1000", "0"]);
        assert_eq!(accepted(&[1_000, 0], 1_190), ["1000"]);
        assert_eq!(accepted(&[1_010, 1_000, 0], 1_035), ["1000", "1010", "0"]);
        assert_eq!(accepted(&[5, 0], 6), ["0", "5"]);
    }
}
