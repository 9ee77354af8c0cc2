//! Conversion of rows into webhooks. A row that this program cannot have written is `CORRUPT`, never a panic.

use std::time::Duration;

use panaversity_model::feed::FeedPosition;
use panaversity_model::ids::ChangeId;
use panaversity_model::webhook::{
    DeadLetter, FailingDelivery, LeasedWebhook, Webhook, WebhookId, WebhookSecret, WebhookUrl,
};
use panaversity_model::{BookId, Fault};

use crate::database::{Row, Sql};

/// Columns read by [`webhook`], beside `is_leased` and `dead_letters`.
pub(super) const WEBHOOK: &str = "id, book_id, url, created_at, cursor_at, cursor_change, delivered_at, attempts, \
    failing_since, next_attempt_at, last_error, gone_at";
/// Columns read by [`leased`], beside `now`.
pub(super) const LEASED: &str =
    "id, book_id, url, secret, cursor_at, cursor_change, attempts, next_attempt_at";
/// Columns read by [`dead_letter`].
pub(super) const DEAD_LETTER: &str = "hook_id, change_at, change_id, attempts, error, at";

/// Reads a row; `None` from `read`: a value does not parse.
fn parsed<T>(what: &str, read: impl FnOnce() -> Sql<Option<T>>) -> Result<T, Fault> {
    let read = read().map_err(|error| Fault::corrupt(format!("read a {what}: {error}")))?;
    read.ok_or_else(|| Fault::corrupt(format!("a stored {what} does not parse")))
}

fn position(row: &Row, at: &str, change: &str) -> Sql<Option<FeedPosition>> {
    let (at, change) = (row.time(at)?, ChangeId::from_stored(&row.text(change)?));
    Ok(change.map(|change| FeedPosition { at, change }))
}

fn attempts(row: &Row) -> Sql<u32> {
    Ok(u32::try_from(row.int("attempts")?).unwrap_or(u32::MAX))
}

/// Id, book, URL and cursor.
fn target(row: &Row) -> Sql<Option<(WebhookId, BookId, WebhookUrl, FeedPosition)>> {
    let (id, book, url) = (row.text("id")?, row.text("book_id")?, row.text("url")?);
    let cursor = position(row, "cursor_at", "cursor_change")?;
    let parse = || {
        Some((
            WebhookId::parse(&id).ok()?,
            BookId::parse(&book).ok()?,
            WebhookUrl::parse(&url).ok()?,
            cursor?,
        ))
    };
    Ok(parse())
}

pub(super) fn webhook(row: &Row) -> Result<Webhook, Fault> {
    parsed("webhook", || {
        let Some((id, book, url, cursor)) = target(row)? else { return Ok(None) };
        let (since, next) = (row.optional_time("failing_since")?, row.optional_time("next_attempt_at")?);
        let failing = match (since, next) {
            (Some(since), Some(next_attempt_at)) => {
                let error = row.optional_text("last_error")?.unwrap_or_default();
                Some(FailingDelivery { attempts: attempts(row)?, since, next_attempt_at, error })
            }
            _ => None,
        };
        Ok(Some(Webhook {
            id,
            book,
            url,
            created_at: row.time("created_at")?,
            cursor,
            delivered_at: row.optional_time("delivered_at")?,
            failing,
            gone_at: row.optional_time("gone_at")?,
            is_leased: row.int("is_leased")? == 1,
            dead_letters: u64::try_from(row.int("dead_letters")?).unwrap_or_default(),
        }))
    })
}

pub(super) fn leased(row: &Row) -> Result<LeasedWebhook, Fault> {
    parsed("webhook", || {
        let secret = WebhookSecret::from_stored(&row.text("secret")?);
        let (Some((id, book, url, cursor)), Some(secret)) = (target(row)?, secret) else { return Ok(None) };
        let (now, next) = (row.time("now")?, row.optional_time("next_attempt_at")?);
        let wait = next.map_or(0, |next| next.micros().saturating_sub(now.micros()));
        let wait = Duration::from_micros(u64::try_from(wait).unwrap_or_default());
        Ok(Some(LeasedWebhook { id, book, url, secret, cursor, attempts: attempts(row)?, wait }))
    })
}

pub(super) fn dead_letter(row: &Row) -> Result<DeadLetter, Fault> {
    parsed("dead letter", || {
        let (webhook, position) =
            (WebhookId::parse(&row.text("hook_id")?), position(row, "change_at", "change_id")?);
        let (Ok(webhook), Some(position)) = (webhook, position) else { return Ok(None) };
        let (error, at) = (row.text("error")?, row.time("at")?);
        Ok(Some(DeadLetter { webhook, position, attempts: attempts(row)?, error, at }))
    })
}
