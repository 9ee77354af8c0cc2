//! Webhooks in the database. Keeps: the holder of the lease alone moves a cursor, and a cursor moves behind a set
//! that was not accepted only together with its dead letter.

mod rows;

use std::time::Duration;

use async_trait::async_trait;
use panaversity_model::Fault;
use panaversity_model::feed::FeedPosition;
use panaversity_model::ids::LeaseId;
use panaversity_model::ports::Webhooks;
use panaversity_model::webhook::{
    DeliveryRecord, LeasedWebhook, NewWebhook, WebhookCreation, WebhookId, WebhookList,
};

use self::rows::{DEAD_LETTER, LEASED, WEBHOOK};
use crate::database::{Database, Dialect, Durability, Session, Sql, Value, fault};
use crate::journal::{retried, write};

/// Columns of the set after the cursor when nothing is known of it.
const NOT_SENT: &str = "attempts = 0, failing_since = NULL, next_attempt_at = NULL, last_error = NULL";

/// The webhooks of a migrated database.
#[derive(Clone)]
pub struct SqlWebhooks {
    db: Database,
}

impl SqlWebhooks {
    /// The webhooks of this database.
    pub fn new(db: Database) -> Self {
        Self { db }
    }

    /// SQL expression for the time that is as many milliseconds from now as a parameter says.
    fn later(&self, parameter: usize) -> String {
        match self.db.dialect() {
            Dialect::Sqlite => format!(
                "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', printf('+%.3f seconds', ${parameter} / 1000.0))"
            ),
            Dialect::Postgres => format!("clock_timestamp() + ${parameter} * interval '1 millisecond'"),
        }
    }

    /// Condition for a webhook that no server sends for.
    fn is_free(&self) -> String {
        format!("gone_at IS NULL AND (lease IS NULL OR lease_until <= {})", self.db.now_sql())
    }

    /// SQL that extends a lease which is still held.
    fn extend_sql(&self) -> String {
        format!("UPDATE hooks SET lease_until = {} WHERE id = $1 AND lease = $2", self.later(3))
    }
}

#[async_trait]
impl Webhooks for SqlWebhooks {
    async fn create_webhook(&self, new: &NewWebhook, most: usize) -> Result<WebhookCreation, Fault> {
        const WHAT: &str = "create a webhook";
        let book = "SELECT 1 FROM books WHERE book_id = $1";
        let insert = format!(
            "INSERT INTO hooks (id, book_id, url, secret, cursor_at, cursor_change, created_at) \
             SELECT $1, $2, $3, $4, $5, $6, {} WHERE (SELECT count(*) FROM hooks) < $7 RETURNING created_at",
            self.db.now_sql()
        );
        let values = vec![
            new.id.as_str().into(),
            new.book.as_str().into(),
            new.url.as_str().into(),
            new.secret.expose().into(),
            new.cursor.at.into(),
            new.cursor.change.to_string().into(),
            count(most),
        ];
        retried(WHAT, || async {
            let mut session = self.db.begin(Durability::PowerCut).await?;
            if session.row(book, vec![new.book.as_str().into()]).await?.is_none() {
                return Ok(WebhookCreation::NoBook);
            }
            let row = session.row(insert.as_str(), values.clone()).await?;
            session.commit().await?;
            let created_at = row.map(|row| row.time("created_at")).transpose()?;
            Ok(created_at.map_or(WebhookCreation::TooMany, WebhookCreation::Created))
        })
        .await
    }

    async fn webhooks(&self, letters: usize) -> Result<WebhookList, Fault> {
        let webhooks = format!(
            "SELECT {WEBHOOK}, CASE WHEN lease IS NOT NULL AND lease_until > {} THEN CAST(1 AS BIGINT) \
             ELSE CAST(0 AS BIGINT) END AS is_leased, \
             (SELECT count(*) FROM hook_dead_letters letter WHERE letter.hook_id = hooks.id) AS dead_letters \
             FROM hooks ORDER BY created_at, id",
            self.db.now_sql()
        );
        let dead = format!(
            "SELECT {DEAD_LETTER} FROM hook_dead_letters ORDER BY at DESC, hook_id, change_id LIMIT $1"
        );
        let read = async || -> Sql<_> {
            let mut session = self.db.snapshot().await?;
            let webhooks = session.rows(webhooks, Vec::new()).await?;
            let letters = session.rows(dead, vec![count(letters)]).await?;
            session.commit().await?;
            Ok((webhooks, letters))
        };
        let (webhooks, letters) = read().await.map_err(|error| fault("read the webhooks", &error))?;
        Ok(WebhookList {
            webhooks: webhooks.iter().map(rows::webhook).collect::<Result<_, _>>()?,
            dead_letters: letters.iter().map(rows::dead_letter).collect::<Result<_, _>>()?,
        })
    }

    async fn delete_webhook(&self, id: &WebhookId) -> Result<bool, Fault> {
        let id = || vec![id.as_str().into()];
        retried("delete a webhook", || async {
            let mut session = self.db.begin(Durability::PowerCut).await?;
            let found = session.row("SELECT 1 FROM hooks WHERE id = $1", id()).await?;
            // First the row whose lock every record of a delivery needs.
            session.queue("DELETE FROM hooks WHERE id = $1", id());
            session.queue("DELETE FROM hook_dead_letters WHERE hook_id = $1", id());
            session.commit().await?;
            Ok(found.is_some())
        })
        .await
    }

    async fn lease_webhooks(&self, lease: LeaseId, time: Duration) -> Result<Vec<LeasedWebhook>, Fault> {
        const WHAT: &str = "lease webhooks";
        let free = self.is_free();
        // Most of the time there is none: no transaction that writes is begun.
        let look = format!("SELECT 1 FROM hooks WHERE {free} LIMIT 1");
        let found = async { self.db.read().await?.row(look, Vec::new()).await }.await;
        if found.map_err(|error| fault(WHAT, &error))?.is_none() {
            return Ok(Vec::new());
        }
        let skip = match self.db.dialect() {
            Dialect::Sqlite => "",
            Dialect::Postgres => "ORDER BY id FOR UPDATE SKIP LOCKED",
        };
        let update = format!(
            "UPDATE hooks SET lease = $1, lease_until = {} \
             WHERE id IN (SELECT id FROM hooks WHERE {free} {skip}) RETURNING {LEASED}, {} AS now",
            self.later(2),
            self.db.now_sql()
        );
        let values = vec![lease.to_string().into(), milliseconds(time)];
        let rows = retried(WHAT, || async {
            let mut session = self.db.begin(Durability::Kill).await?;
            let rows = session.rows(update.as_str(), values.clone()).await?;
            session.commit().await?;
            Ok(rows)
        })
        .await?;
        // A row that can't be read holds up no other webhook.
        let told = |fault: &Fault| tracing::error!(target: "panaversity_fs.webhooks", error = %fault, "a webhook is left out");
        Ok(rows.iter().filter_map(|row| rows::leased(row).inspect_err(told).ok()).collect())
    }

    async fn extend_webhook_lease(
        &self,
        id: &WebhookId,
        lease: LeaseId,
        time: Duration,
    ) -> Result<bool, Fault> {
        let values = vec![id.as_str().into(), lease.to_string().into(), milliseconds(time)];
        let what = "extend the lease of a webhook";
        Ok(write(&self.db, Durability::Kill, what, &self.extend_sql(), values).await? > 0)
    }

    async fn record_delivery(
        &self,
        id: &WebhookId,
        lease: LeaseId,
        record: &DeliveryRecord,
        time: Duration,
    ) -> Result<bool, Fault> {
        const WHAT: &str = "record a delivery";
        let (now, until) = (self.db.now_sql(), self.later(3));
        let mut values = vec![id.as_str().into(), lease.to_string().into(), milliseconds(time)];
        let moves = "cursor_at = $4, cursor_change = $5";
        let (set, durability) = match record {
            DeliveryRecord::Delivered(position) => {
                values.extend(position_values(*position));
                (
                    format!("{moves}, {NOT_SENT}, delivered_at = {now}, lease_until = {until}"),
                    Durability::PowerCut,
                )
            }
            DeliveryRecord::Dead { position, .. } => {
                values.extend(position_values(*position));
                (format!("{moves}, {NOT_SENT}, lease_until = {until}"), Durability::PowerCut)
            }
            DeliveryRecord::Failed { error, retry_in } => {
                values.extend([error.as_str().into(), milliseconds(*retry_in)]);
                let set = format!(
                    "attempts = attempts + 1, failing_since = coalesce(failing_since, {now}), last_error = $4, \
                     next_attempt_at = {}, lease_until = {until}",
                    self.later(5)
                );
                (set, Durability::Kill)
            }
            DeliveryRecord::Gone { error } => {
                values.push(error.as_str().into());
                let set = format!("gone_at = {now}, last_error = $4, lease = NULL, lease_until = {until}");
                (set, Durability::PowerCut)
            }
        };
        let update = format!("UPDATE hooks SET {set} WHERE id = $1 AND lease = $2");
        let DeliveryRecord::Dead { position, attempts, error, kept } = record else {
            return Ok(write(&self.db, durability, WHAT, &update, values).await? > 0);
        };
        let extend = self.extend_sql();
        retried(WHAT, || async {
            let mut session = self.db.begin(durability).await?;
            // Locks the row; what must happen as a whole follows its answer.
            if session.execute(extend.as_str(), values[..3].to_vec()).await? == 0 {
                return Ok(false);
            }
            session.queue(update.as_str(), values.clone());
            self.queue_dead_letter(&mut session, id, *position, (*attempts, error), *kept);
            session.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn release_webhook(&self, id: &WebhookId, lease: LeaseId) -> Result<(), Fault> {
        let sql = "UPDATE hooks SET lease = NULL, lease_until = NULL WHERE id = $1 AND lease = $2";
        let values = vec![id.as_str().into(), lease.to_string().into()];
        write(&self.db, Durability::Kill, "release a webhook", sql, values).await.map(drop)
    }
}

impl SqlWebhooks {
    /// Queues a dead letter, and the deletion of those beyond the newest.
    fn queue_dead_letter(
        &self,
        session: &mut Session,
        id: &WebhookId,
        position: FeedPosition,
        (attempts, error): (u32, &str),
        kept: usize,
    ) {
        let insert = format!(
            "INSERT INTO hook_dead_letters (hook_id, change_at, change_id, attempts, error, at) \
             VALUES ($1, $2, $3, $4, $5, {}) ON CONFLICT (hook_id, change_at, change_id) DO NOTHING",
            self.db.now_sql()
        );
        let [at, change] = position_values(position);
        session.queue(insert, vec![id.as_str().into(), at, change, i64::from(attempts).into(), error.into()]);
        let forget = "DELETE FROM hook_dead_letters WHERE hook_id = $1 AND (change_at, change_id) NOT IN \
             (SELECT change_at, change_id FROM hook_dead_letters WHERE hook_id = $1 \
              ORDER BY change_at DESC, change_id DESC LIMIT $2)";
        session.queue(forget, vec![id.as_str().into(), count(kept)]);
    }
}

fn position_values(position: FeedPosition) -> [Value; 2] {
    [position.at.into(), position.change.to_string().into()]
}

fn count(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn milliseconds(time: Duration) -> Value {
    Value::Int(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}
