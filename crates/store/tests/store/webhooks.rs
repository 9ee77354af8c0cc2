//! Webhooks behave the same on both databases (I11).

use std::time::Duration;

use panaversity_model::feed::FeedPosition;
use panaversity_model::ids::{ChangeId, LeaseId};
use panaversity_model::ports::{Books, Webhooks};
use panaversity_model::webhook::{
    DeliveryRecord, LeasedWebhook, NewWebhook, WebhookCreation, WebhookId, WebhookSecret, WebhookStatus,
    WebhookUrl,
};
use panaversity_model::{BookId, Layer, Timestamp};
use panaversity_store::{Database, SqlJournal, SqlWebhooks};
use panaversity_testkit::samples::draft;
use tempfile::TempDir;
use uuid::Uuid;

use crate::engines::{open, sqlite_url};

const MOST: usize = 3;
const LONG: Duration = Duration::from_mins(10);
const NOW: Duration = Duration::ZERO;

fn book() -> BookId {
    BookId::parse("ai-python").unwrap()
}

fn new(byte: u8, book: &BookId) -> NewWebhook {
    NewWebhook {
        id: WebhookId::from_random([byte; 6]),
        book: book.clone(),
        url: WebhookUrl::parse("https://example.com:8443/in?token=ö").unwrap(),
        secret: WebhookSecret::from_random([byte; 32]),
        cursor: position(1),
    }
}

fn position(n: u32) -> FeedPosition {
    FeedPosition { at: Timestamp::from_micros(n.into()), change: ChangeId::new(Uuid::from_u128(n.into())) }
}

fn lease(n: u128) -> LeaseId {
    LeaseId::new(Uuid::from_u128(n))
}

/// The databases under test, each with a book.
async fn each() -> Vec<(Database, SqlWebhooks, TempDir)> {
    let mut all = Vec::new();
    let postgres = panaversity_testkit::postgres::shared();
    for n in 0..3 {
        let folder = TempDir::new().unwrap();
        let url = match n {
            0 => sqlite_url(&folder),
            1 => postgres.create_database(),
            _ => format!("{}?pgbouncer=true", postgres.create_database()),
        };
        let (db, journal) = open(&url).await;
        let record = draft(Some(&book()), None, &Layer::Base);
        journal.create_book(&book(), None, &record).await.unwrap();
        journal.close().await;
        all.push((db.clone(), SqlWebhooks::new(db), folder));
    }
    all
}

async fn leased(webhooks: &SqlWebhooks, n: u128, time: Duration) -> Vec<LeasedWebhook> {
    webhooks.lease_webhooks(lease(n), time).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn i11_a_webhook_ends_with_its_book_and_a_lease_with_its_time_alone() {
    let folder = TempDir::new().unwrap();
    for url in [sqlite_url(&folder), panaversity_testkit::postgres::shared().create_database()] {
        let (db, journal) = open(&url).await;
        let record = draft(Some(&book()), None, &Layer::Base);
        journal.create_book(&book(), None, &record).await.unwrap();
        let webhooks = SqlWebhooks::new(db);
        webhooks.create_webhook(&new(1, &book()), MOST).await.unwrap();
        assert_eq!(leased(&webhooks, 1, LONG).await.len(), 1);
        // Another process beside it, as `mcp` beside `serve`.
        let (_, other) = open(&url).await;
        assert!(leased(&webhooks, 2, LONG).await.is_empty(), "{url}: the lease was dropped");
        other.close().await;
        let record = draft(Some(&book()), None, &Layer::Base);
        assert!(journal.delete_book(&book(), &record).await.unwrap());
        assert!(webhooks.webhooks(MOST).await.unwrap().webhooks.is_empty());
        journal.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i11_a_webhook_is_kept_as_it_was_made_for_a_book_that_there_is() {
    for (_db, webhooks, _folder) in each().await {
        let other = BookId::parse("no-such-book").unwrap();
        assert_eq!(webhooks.create_webhook(&new(1, &other), MOST).await.unwrap(), WebhookCreation::NoBook);
        for byte in 1..=3 {
            let made = webhooks.create_webhook(&new(byte, &book()), MOST).await.unwrap();
            assert!(matches!(made, WebhookCreation::Created(at) if at > Timestamp::from_micros(0)));
        }
        assert_eq!(webhooks.create_webhook(&new(4, &book()), MOST).await.unwrap(), WebhookCreation::TooMany);
        assert!(webhooks.create_webhook(&new(1, &book()), 10).await.is_err(), "an id exists once");
        let list = webhooks.webhooks(10).await.unwrap();
        let ids: Vec<_> = list.webhooks.iter().map(|webhook| webhook.id.clone()).collect();
        assert_eq!(ids, [1, 2, 3].map(|byte| WebhookId::from_random([byte; 6])), "oldest first");
        let (first, made) = (&list.webhooks[0], new(1, &book()));
        assert_eq!((&first.url, &first.book, first.cursor), (&made.url, &made.book, made.cursor));
        assert_eq!(
            (first.status(), first.dead_letters, first.delivered_at),
            (WebhookStatus::Waiting, 0, None)
        );
        assert!(webhooks.delete_webhook(&made.id).await.unwrap());
        assert!(!webhooks.delete_webhook(&made.id).await.unwrap(), "it is gone");
        assert_eq!(webhooks.webhooks(10).await.unwrap().webhooks.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i11_one_server_at_a_time_has_the_lease_and_another_gets_it_when_it_is_over() {
    for (_db, webhooks, _folder) in each().await {
        let made = new(1, &book());
        webhooks.create_webhook(&made, MOST).await.unwrap();
        let first = leased(&webhooks, 1, LONG).await;
        assert_eq!(first.len(), 1);
        assert_eq!(
            (&first[0].url, first[0].cursor, first[0].attempts),
            (&made.url, made.cursor, 0),
            "all that a server needs"
        );
        assert_eq!((first[0].secret.key(), first[0].wait), (made.secret.key(), NOW));
        assert!(leased(&webhooks, 2, LONG).await.is_empty(), "nobody else has it");
        assert_eq!(webhooks.webhooks(0).await.unwrap().webhooks[0].status(), WebhookStatus::Active);
        assert!(webhooks.extend_webhook_lease(&made.id, lease(1), LONG).await.unwrap());
        assert!(!webhooks.extend_webhook_lease(&made.id, lease(2), LONG).await.unwrap());
        assert!(webhooks.extend_webhook_lease(&made.id, lease(1), NOW).await.unwrap());
        assert_eq!(leased(&webhooks, 2, LONG).await.len(), 1, "it was over");
        assert!(!webhooks.extend_webhook_lease(&made.id, lease(1), LONG).await.unwrap());
        let late = DeliveryRecord::Delivered(position(9));
        assert!(!webhooks.record_delivery(&made.id, lease(1), &late, LONG).await.unwrap());
        webhooks.release_webhook(&made.id, lease(1)).await.unwrap();
        assert!(leased(&webhooks, 3, LONG).await.is_empty(), "a lease is released by its holder alone");
        webhooks.release_webhook(&made.id, lease(2)).await.unwrap();
        let again = leased(&webhooks, 3, LONG).await;
        assert_eq!(again[0].cursor, made.cursor, "what came late moved nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i11_the_cursor_moves_with_a_delivery_or_a_dead_letter_and_stays_while_a_set_fails() {
    for (_db, webhooks, _folder) in each().await {
        let made = new(1, &book());
        webhooks.create_webhook(&made, MOST).await.unwrap();
        leased(&webhooks, 1, LONG).await;
        let record = async |record: DeliveryRecord| {
            assert!(webhooks.record_delivery(&made.id, lease(1), &record, LONG).await.unwrap());
            webhooks.webhooks(10).await.unwrap()
        };
        let failed = |error: &str| DeliveryRecord::Failed { error: error.to_owned(), retry_in: LONG };
        record(failed("500")).await;
        let list = record(failed("no answer")).await;
        let (webhook, failing) = (&list.webhooks[0], list.webhooks[0].failing.as_ref().unwrap());
        assert_eq!((webhook.status(), webhook.cursor), (WebhookStatus::Retrying, made.cursor));
        assert_eq!((failing.attempts, failing.error.as_str()), (2, "no answer"));
        assert!(failing.next_attempt_at > failing.since);
        webhooks.release_webhook(&made.id, lease(1)).await.unwrap();
        let again = leased(&webhooks, 1, LONG).await;
        assert_eq!(again[0].attempts, 2, "another server counts on");
        assert!(again[0].wait > LONG / 2 && again[0].wait <= LONG, "{:?}", again[0].wait);

        let list = record(DeliveryRecord::Delivered(position(5))).await;
        assert_eq!((list.webhooks[0].cursor, &list.webhooks[0].failing), (position(5), &None));
        assert!(list.webhooks[0].delivered_at.is_some());

        record(failed("500")).await;
        for n in 6..10 {
            let error = format!("the answer was {n}");
            let list =
                record(DeliveryRecord::Dead { position: position(n), attempts: 43, error, kept: 2 }).await;
            assert_eq!((list.webhooks[0].cursor, &list.webhooks[0].failing), (position(n), &None));
        }
        let list = webhooks.webhooks(10).await.unwrap();
        let letters: Vec<_> =
            list.dead_letters.iter().map(|letter| (letter.position, letter.error.as_str())).collect();
        assert_eq!(letters.len(), 2, "the newest are kept: {letters:?}");
        assert!(letters.contains(&(position(9), "the answer was 9")), "{letters:?}");
        assert!(letters.contains(&(position(8), "the answer was 8")), "{letters:?}");
        assert_eq!((list.webhooks[0].dead_letters, list.dead_letters[0].attempts), (2, 43));

        let gone = DeliveryRecord::Gone { error: "410".to_owned() };
        assert_eq!(record(gone).await.webhooks[0].status(), WebhookStatus::Gone);
        assert!(leased(&webhooks, 2, LONG).await.is_empty(), "nobody sends there any more");
        assert!(webhooks.delete_webhook(&made.id).await.unwrap());
        assert!(webhooks.webhooks(10).await.unwrap().dead_letters.is_empty(), "they go with it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i11_a_deleted_webhook_is_nobody_s() {
    for (_db, webhooks, _folder) in each().await {
        let made = new(1, &book());
        webhooks.create_webhook(&made, MOST).await.unwrap();
        leased(&webhooks, 1, LONG).await;
        assert!(webhooks.delete_webhook(&made.id).await.unwrap());
        assert!(!webhooks.extend_webhook_lease(&made.id, lease(1), LONG).await.unwrap());
        let dead =
            DeliveryRecord::Dead { position: position(2), attempts: 1, error: "500".to_owned(), kept: 10 };
        assert!(!webhooks.record_delivery(&made.id, lease(1), &dead, LONG).await.unwrap());
        assert!(webhooks.webhooks(10).await.unwrap().dead_letters.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_finds_the_end_of_the_feed_without_a_server() {
    for (db, _webhooks, _folder) in each().await {
        let end = SqlJournal::change_feed(db).feed_end().await.unwrap();
        assert!(end > FeedPosition::start());
    }
}
