//! Garbage collection, by the protocol in the model's `gc`. Keeps I9: a blob named by a version is
//! never condemned, because the versions are checked after the blob's row was locked.

use std::collections::HashMap;

use async_trait::async_trait;
use panaversity_model::gc::{
    CONDEMNED_FOR, Condemned, CondemnedBatch, GcEstimate, KeptManifest, PurgeOutcome, RetentionCutoffs,
    STAGED_FOR,
};
use panaversity_model::ports::GarbageCollection;
use panaversity_model::{BookId, ContentHash, Fault, Timestamp};

use super::lists::{LISTED, list, listed, listed_versions};
use super::{SqlJournal, retried, rows};
use crate::database::{
    Database, Dialect, Durability, Row, Session, Sql, Value, fault, placeholders, power_of_two_chunks,
};

/// Condition on a version `v`: it was superseded at or before `$1`.
const FORGETTABLE: &str = "EXISTS (SELECT 1 FROM versions n WHERE n.book_id = v.book_id AND n.path = v.path \
    AND n.user_id = v.user_id AND n.version > v.version AND n.at <= $1)";
/// Columns read by [`condemned`].
const CONDEMNED: &str = "hash, size, CASE WHEN chunks IS NULL THEN CAST(0 AS BIGINT) ELSE CAST(1 AS BIGINT) END AS in_object, condemned_until";

/// SQL expression for the time `seconds` from now.
pub(super) fn seconds_from_now(dialect: Dialect, seconds: u64) -> String {
    match dialect {
        Dialect::Sqlite => format!("strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '+{seconds} seconds')"),
        Dialect::Postgres => format!("clock_timestamp() + interval '{seconds} seconds'"),
    }
}

/// SQL expression for the end of the guard of a blob staged now.
pub(super) fn staged_until(dialect: Dialect) -> String {
    seconds_from_now(dialect, STAGED_FOR.as_secs())
}

fn condemned_until(dialect: Dialect) -> String {
    seconds_from_now(dialect, CONDEMNED_FOR.as_secs())
}

/// Condition on a version `v` that may be deleted now.
fn unkept(db: &Database) -> String {
    format!("(v.kept_until IS NULL OR v.kept_until <= {}) AND {FORGETTABLE}", db.now_sql())
}

/// Condition on a blob that was not touched since `$1` and has no guard. It does not check that no
/// version names the blob.
fn unguarded(db: &Database) -> String {
    let now = db.now_sql();
    format!(
        "(blobs.state = 'condemned' OR blobs.touched_at <= $1) \
         AND (blobs.staged_until IS NULL OR blobs.staged_until <= {now}) \
         AND (blobs.condemned_until IS NULL OR blobs.condemned_until <= {now})"
    )
}

fn condemned(row: &Row) -> Result<Condemned, Fault> {
    rows::read("read a condemned blob", || {
        let (raw_hash, size, in_object) = (row.text("hash")?, row.int("size")?, row.int("in_object")? == 1);
        let (size, until) = (rows::unsigned(size), row.time("condemned_until")?);
        Ok(rows::hash(&raw_hash).map(|hash| Condemned { hash, size, in_object, until }))
    })
}

fn kept_manifest(row: &Row) -> Result<KeptManifest, Fault> {
    rows::read("read a kept manifest", || {
        let (raw_book, raw_hash, named_at, encoded) =
            (row.text("book_id")?, row.text("hash")?, row.time("named_at")?, row.bytes("body")?);
        Ok((|| {
            let (book, hash) = (rows::book_id(&raw_book)?, rows::hash(&raw_hash)?);
            Ok(KeptManifest { book, hash, named_at, encoded })
        })())
    })
}

fn whole(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Step 3 of the protocol, for these candidates: locks first, and only then checks the versions, in a
/// separate statement that sees the commits of writers that were waited for.
async fn condemn_these(
    db: &Database,
    session: &mut Session,
    unused_since: Timestamp,
    candidates: &[String],
) -> Sql<Vec<Row>> {
    let mut done = Vec::with_capacity(candidates.len());
    for some in power_of_two_chunks(candidates) {
        let mut hashes: Vec<Value> = some.iter().map(|hash| hash.as_str().into()).collect();
        if db.dialect() == Dialect::Postgres {
            let list = placeholders(1, hashes.len());
            let lock =
                format!("SELECT hash FROM blobs WHERE hash IN ({list}) ORDER BY hash FOR UPDATE SKIP LOCKED");
            let locked = session.rows(lock, hashes).await?;
            hashes = locked.iter().map(|row| row.text("hash").map(Value::from)).collect::<Sql<_>>()?;
        }
        if hashes.is_empty() {
            continue;
        }
        let sql = format!(
            "UPDATE blobs SET state = 'condemned', condemned_until = {} WHERE hash IN ({}) AND {} \
             AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.sha256 = blobs.hash) RETURNING {CONDEMNED}",
            condemned_until(db.dialect()),
            placeholders(2, hashes.len()),
            unguarded(db)
        );
        let values = std::iter::once(unused_since.into()).chain(hashes).collect();
        done.extend(session.rows(sql, values).await?);
    }
    Ok(done)
}

#[async_trait]
impl GarbageCollection for SqlJournal {
    async fn kept_manifests(
        &self,
        after: Option<(&BookId, ContentHash)>,
        limit: usize,
    ) -> Result<Vec<KeptManifest>, Fault> {
        let sql = "SELECT book_id, hash, named_at, body FROM manifests \
                   WHERE (book_id, hash) > ($1, $2) ORDER BY book_id, hash LIMIT $3";
        let (book, hash) = after.map_or((String::new(), String::new()), |(book, hash)| {
            (book.as_str().to_owned(), hash.to_string())
        });
        let found =
            self.read("list kept manifests", sql, vec![book.into(), hash.into(), whole(limit)]).await?;
        found.iter().map(kept_manifest).collect()
    }

    async fn pin(
        &self,
        book: &BookId,
        until: Timestamp,
        versions: &[(&str, ContentHash)],
    ) -> Result<(), Fault> {
        // Row by row by an index, and locked in one order, so that two of these cannot deadlock.
        let lock = match self.db.dialect() {
            Dialect::Sqlite => "",
            Dialect::Postgres => "ORDER BY v.path, v.version FOR UPDATE OF v",
        };
        let sql = format!(
            "{} UPDATE versions SET kept_until = $1 \
             WHERE (book_id, path, user_id, version) IN (SELECT v.book_id, v.path, v.user_id, v.version \
             FROM w CROSS JOIN versions v WHERE v.book_id = w.book_id AND v.path = w.path \
             AND v.user_id = w.user_id AND v.sha256 = w.hash {lock}) \
             AND (kept_until IS NULL OR kept_until < $1)",
            listed_versions(self.db.dialect(), 2, 3)
        );
        for some in versions.chunks(LISTED) {
            let named = list(some.iter().map(|(path, hash)| [(*path).to_owned(), hash.to_string()]));
            self.write_durably("keep versions", &sql, vec![until.into(), book.as_str().into(), named])
                .await?;
        }
        Ok(())
    }

    async fn forget_manifests(&self, unnamed_since: Timestamp) -> Result<u64, Fault> {
        let sql = "DELETE FROM manifests WHERE named_at <= $1";
        self.write("delete manifests", sql, vec![unnamed_since.into()]).await
    }

    async fn forget_versions(&self, unused_since: Timestamp, limit: usize) -> Result<u64, Fault> {
        // The pin is checked outside of the subquery as well: PostgreSQL checks again only the row it has
        // waited for, which an archive may have pinned meanwhile, not the subquery that selected it.
        let sql = format!(
            "DELETE FROM versions WHERE (book_id, path, user_id, version) IN \
             (SELECT v.book_id, v.path, v.user_id, v.version FROM versions v WHERE {} LIMIT {limit}) \
             AND (kept_until IS NULL OR kept_until <= {})",
            unkept(&self.db),
            self.db.now_sql()
        );
        self.write("delete versions", &sql, vec![unused_since.into()]).await
    }

    async fn condemn(
        &self,
        unused_since: Timestamp,
        after: Option<ContentHash>,
        limit: usize,
    ) -> Result<CondemnedBatch, Fault> {
        // Without locks, so that only likely candidates are locked.
        let look = format!(
            "SELECT blobs.hash FROM blobs WHERE {} AND blobs.hash > $2 \
             AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.sha256 = blobs.hash) ORDER BY blobs.hash LIMIT $3",
            unguarded(&self.db)
        );
        let after = after.map_or(String::new(), |hash| hash.to_string());
        let values = vec![unused_since.into(), after.into(), whole(limit)];
        let found = self.read("look for garbage", &look, values).await?;
        let candidates = found.iter().map(|row| row.text("hash")).collect::<Sql<Vec<_>>>();
        let candidates = candidates.map_err(|error| fault("look for garbage", &error))?;
        let Some(last) = candidates.last() else { return Ok(CondemnedBatch::default()) };
        let next = (candidates.len() == limit).then(|| rows::hash(last)).transpose()?;
        let done = retried("condemn blobs", || async {
            let mut session = self.db.begin(Durability::PowerCut).await?;
            let done = condemn_these(&self.db, &mut session, unused_since, &candidates).await?;
            session.commit().await?;
            Ok(done)
        })
        .await?;
        let mut condemned = done.iter().map(condemned).collect::<Result<Vec<_>, _>>()?;
        condemned.sort_by_key(|condemned| condemned.hash);
        Ok(CondemnedBatch { condemned, next })
    }

    async fn condemn_unknown(&self, hash: ContentHash, size: u64) -> Result<Option<Condemned>, Fault> {
        let now = self.db.now_sql();
        let sql = format!(
            "INSERT INTO blobs (hash, size, crc32, state, touched_at, chunks, condemned_until) \
             VALUES ($1, $2, 0, 'condemned', {now}, $3, {}) ON CONFLICT (hash) DO NOTHING RETURNING {CONDEMNED}",
            condemned_until(self.db.dialect())
        );
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let values = vec![hash.to_string().into(), Value::Int(size), Value::Bytes(Some(Vec::new()))];
        let done = retried("condemn an unknown object", || async {
            let mut session = self.db.begin(Durability::PowerCut).await?;
            let done = session.row(sql.as_str(), values.clone()).await?;
            session.commit().await?;
            Ok(done)
        })
        .await?;
        done.as_ref().map(condemned).transpose()
    }

    async fn purge(&self, condemned: &[Condemned]) -> Result<Vec<PurgeOutcome>, Fault> {
        // Locked in hash order, as commits do.
        let (until, lock) = match self.db.dialect() {
            Dialect::Sqlite => ("w.until", ""),
            Dialect::Postgres => ("CAST(w.until AS TIMESTAMPTZ)", "ORDER BY b.hash FOR UPDATE OF b"),
        };
        let w = listed(self.db.dialect(), 1, &["hash", "until"]);
        let ours = format!(
            "hash IN (SELECT b.hash FROM w CROSS JOIN blobs b WHERE b.hash = w.hash \
             AND b.condemned_until = {until} {lock})"
        );
        let purge =
            format!("WITH w AS ({w}) DELETE FROM blobs WHERE {ours} AND state = 'condemned' RETURNING hash");
        let lift =
            format!("WITH w AS ({w}) UPDATE blobs SET condemned_until = NULL WHERE {ours} RETURNING hash");
        let mut outcomes = HashMap::with_capacity(condemned.len());
        for some in condemned.chunks(LISTED) {
            let named = list(some.iter().map(|one| [one.hash.to_string(), one.until.to_string()]));
            let (purged, lifted) = retried("purge blobs", || async {
                let mut session = self.db.begin(Durability::Kill).await?;
                let purged = session.rows(purge.as_str(), vec![named.clone()]).await?;
                let lifted = session.rows(lift.as_str(), vec![named.clone()]).await?;
                session.commit().await?;
                Ok((purged, lifted))
            })
            .await?;
            for (done, outcome) in [(purged, PurgeOutcome::Purged), (lifted, PurgeOutcome::Revived)] {
                for row in done {
                    let hash = row.text("hash").map_err(|error| fault("purge blobs", &error))?;
                    outcomes.insert(rows::hash(&hash)?, outcome);
                }
            }
        }
        let outcome = |one: &Condemned| outcomes.get(&one.hash).copied().unwrap_or(PurgeOutcome::TooLate);
        Ok(condemned.iter().map(outcome).collect())
    }

    async fn survey(&self, cutoffs: RetentionCutoffs) -> Result<GcEstimate, Fault> {
        let count = |row: Option<&Row>, name: &str| -> Result<u64, Fault> {
            let number = row.map_or(Ok(0), |row| row.int(name));
            number.map(|n| u64::try_from(n).unwrap_or(0)).map_err(|error| fault("survey garbage", &error))
        };
        let manifests = "SELECT count(*) AS manifests FROM manifests WHERE named_at <= $1";
        let manifests = self.read("survey manifests", manifests, vec![cutoffs.unnamed_since.into()]).await?;
        let versions = format!("SELECT count(*) AS versions FROM versions v WHERE {}", unkept(&self.db));
        let versions = self.read("survey versions", &versions, vec![cutoffs.unused_since.into()]).await?;
        let blobs = format!(
            "SELECT count(*) AS blobs, CAST(coalesce(sum(blobs.size), 0) AS BIGINT) AS bytes FROM blobs WHERE {} AND NOT EXISTS \
             (SELECT 1 FROM versions v WHERE v.sha256 = blobs.hash AND NOT ({}))",
            unguarded(&self.db),
            unkept(&self.db)
        );
        let blobs = self.read("survey blobs", &blobs, vec![cutoffs.unused_since.into()]).await?;
        Ok(GcEstimate {
            manifests: count(manifests.first(), "manifests")?,
            versions: count(versions.first(), "versions")?,
            blobs: count(blobs.first(), "blobs")?,
            bytes: count(blobs.first(), "bytes")?,
        })
    }
}
