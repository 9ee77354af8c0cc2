//! Webhooks: URLs of an operator, each of which is sent the change sets of one book's base, in the order of the
//! [feed](crate::feed). Headers and signatures are those of Standard Webhooks.
//!
//! # Protocol
//! 1. A webhook has a cursor, the position in the feed after the last set that is dealt with. A new one begins
//!    with the sets committed from now on. There is no queue: the feed loses nothing and its order never changes.
//! 2. One server at a time holds its lease, by the database's clock, and extends it while it works. If that
//!    server ends without a word, the lease runs out and another goes on from the cursor.
//! 3. The set after the cursor is sent. A status of 2xx accepts it: the cursor moves behind it, durably. After
//!    anything else it is sent again, with growing pauses.
//! 4. A set that was refused too often becomes a dead letter, and the cursor moves behind it, in one transaction.
//! 5. A receiver that answers 410 is sent nothing any more.
//!
//! So each set is sent at least once, and never before those that precede it are accepted or dead. It is sent
//! again if the server ends between 2xx and the transaction of step 3. The id of a delivery, which is that of its
//! webhook and its set, is the same each time.

mod secret;
mod url;

use std::fmt;
use std::time::Duration;

use crate::book::BookId;
use crate::feed::FeedPosition;
use crate::ids::ChangeId;
use crate::refusal::Refusal;
use crate::timestamp::Timestamp;

pub use self::secret::{WEBHOOK_SECRET_BYTES, WEBHOOK_SECRET_PREFIX, WebhookSecret};
pub use self::url::{WebhookUrl, is_refused_address};

/// Random bytes of an id.
pub const WEBHOOK_ID_BYTES: usize = 6;

/// Name of a webhook in lists, commands and deliveries: 12 hex digits. It is no secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookId(String);

/// A webhook to be made.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Its id.
    pub id: WebhookId,
    /// The book whose changes are sent.
    pub book: BookId,
    /// Where they are sent to.
    pub url: WebhookUrl,
    /// The key of the signatures.
    pub secret: WebhookSecret,
    /// Position after which it begins.
    pub cursor: FeedPosition,
}

/// Result of making a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookCreation {
    /// It was made at this time.
    Created(Timestamp),
    /// There is no such book.
    NoBook,
    /// There are as many as there may be.
    TooMany,
}

/// A webhook as lists show it.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// The book whose changes are sent.
    pub book: BookId,
    /// Where they are sent to.
    pub url: WebhookUrl,
    /// Time of its creation.
    pub created_at: Timestamp,
    /// Position after the last set that is dealt with.
    pub cursor: FeedPosition,
    /// Time at which a set was accepted last.
    pub delivered_at: Option<Timestamp>,
    /// The set after the cursor, if it was refused.
    pub failing: Option<FailingDelivery>,
    /// Time at which the receiver answered 410.
    pub gone_at: Option<Timestamp>,
    /// True if a server holds its lease.
    pub is_leased: bool,
    /// Number of its dead letters that are kept.
    pub dead_letters: u64,
}

/// A change set that is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingDelivery {
    /// Number of times it was sent.
    pub attempts: u32,
    /// Time of the first failure.
    pub since: Timestamp,
    /// Time before which it is not sent again.
    pub next_attempt_at: Timestamp,
    /// Reason of the last failure.
    pub error: String,
}

/// A change set that was refused too often, and is not sent any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The webhook.
    pub webhook: WebhookId,
    /// Position of the set in the feed.
    pub position: FeedPosition,
    /// Number of times it was sent.
    pub attempts: u32,
    /// Reason of the last failure.
    pub error: String,
    /// Time at which it was given up.
    pub at: Timestamp,
}

/// All webhooks of a store, oldest first, with the latest dead letters.
#[derive(Debug, Clone, Default)]
pub struct WebhookList {
    /// The webhooks.
    pub webhooks: Vec<Webhook>,
    /// The latest dead letters of all of them, newest first.
    pub dead_letters: Vec<DeadLetter>,
}

/// Whether and how the changes of a webhook are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookStatus {
    /// A server sends each change set when it is committed.
    Active,
    /// No server holds its lease at this moment.
    Waiting,
    /// A change set was refused, and is sent again.
    Retrying,
    /// The receiver wants no more.
    Gone,
}

/// A webhook whose lease was acquired.
#[derive(Debug, Clone)]
pub struct LeasedWebhook {
    /// Its id.
    pub id: WebhookId,
    /// The book whose changes are sent.
    pub book: BookId,
    /// Where they are sent to.
    pub url: WebhookUrl,
    /// The key of the signatures.
    pub secret: WebhookSecret,
    /// Position after the last set that is dealt with.
    pub cursor: FeedPosition,
    /// Number of times that the set after it was sent.
    pub attempts: u32,
    /// Time for which it is not sent again.
    pub wait: Duration,
}

/// What became of a change set that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryRecord {
    /// It was accepted.
    Delivered(FeedPosition),
    /// It was refused, and is sent again after a pause.
    Failed {
        /// Reason.
        error: String,
        /// The pause.
        retry_in: Duration,
    },
    /// It was refused too often.
    Dead {
        /// Position of the set.
        position: FeedPosition,
        /// Number of times it was sent.
        attempts: u32,
        /// Reason of the last failure.
        error: String,
        /// Number of dead letters of this webhook that are kept, the newest.
        kept: usize,
    },
    /// The receiver wants no more.
    Gone {
        /// Its answer.
        error: String,
    },
}

impl WebhookId {
    /// The id made of these random bytes.
    pub fn from_random(random: [u8; WEBHOOK_ID_BYTES]) -> Self {
        Self(hex::encode(random))
    }

    /// Parses an id as `hooks list` shows it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let is_id = text.len() == 2 * WEBHOOK_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let allowed = "it must be the 12 hexadecimal digits that `hooks list` shows";
        is_id.then(|| Self(text.to_ascii_lowercase())).ok_or_else(|| Refusal::argument("id", allowed))
    }

    /// The 12 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Id of the delivery of a change set, the same each time it is sent. It contains no full stop, which
    /// separates the parts that are signed.
    pub fn delivery(&self, change: ChangeId) -> String {
        format!("{}_{change}", self.0)
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Webhook {
    /// Its state.
    pub fn status(&self) -> WebhookStatus {
        if self.gone_at.is_some() {
            WebhookStatus::Gone
        } else if self.failing.is_some() {
            WebhookStatus::Retrying
        } else if self.is_leased {
            WebhookStatus::Active
        } else {
            WebhookStatus::Waiting
        }
    }
}

impl DeadLetter {
    /// Cursor from which the feed tells the set again, as the first or among the first.
    pub fn since(&self) -> FeedPosition {
        FeedPosition::before(self.position.at)
    }
}

impl WebhookStatus {
    /// Its name in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::Gone => "gone",
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_id_reads_back_and_a_delivery_is_named_by_webhook_and_change_set() {
        let id = WebhookId::from_random([0xab, 0, 1, 2, 3, 0xff]);
        assert_eq!(id.as_str(), "ab00010203ff");
        assert_eq!(WebhookId::parse("AB00010203FF"), Ok(id.clone()));
        for wrong in ["", "ab00010203f", "ab00010203fff", "ab00010203fg", "../010203ff"] {
            assert!(WebhookId::parse(wrong).is_err(), "{wrong}");
        }
        let change = ChangeId::new(Uuid::from_u128(7));
        assert_eq!(id.delivery(change), "ab00010203ff_00000000-0000-0000-0000-000000000007");
    }

    #[test]
    fn the_worst_of_its_states_is_that_of_a_webhook() {
        let at = Timestamp::from_micros(1);
        let failing =
            FailingDelivery { attempts: 1, since: at, next_attempt_at: at, error: "500".to_owned() };
        let mut webhook = Webhook {
            id: WebhookId::from_random([0; 6]),
            book: BookId::parse("ai-python").unwrap(),
            url: WebhookUrl::parse("https://example.com/").unwrap(),
            created_at: at,
            cursor: FeedPosition::start(),
            delivered_at: None,
            failing: None,
            gone_at: None,
            is_leased: false,
            dead_letters: 0,
        };
        assert_eq!(webhook.status(), WebhookStatus::Waiting);
        webhook.is_leased = true;
        assert_eq!(webhook.status(), WebhookStatus::Active);
        webhook.failing = Some(failing);
        assert_eq!(webhook.status(), WebhookStatus::Retrying);
        webhook.gone_at = Some(at);
        assert_eq!(webhook.status(), WebhookStatus::Gone);
    }
}
