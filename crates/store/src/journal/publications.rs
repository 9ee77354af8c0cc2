//! Backlog of the tree; for the protocol see the model's `publication`.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use panaversity_model::Fault;
use panaversity_model::audit::ChainKey;
use panaversity_model::file::Found;
use panaversity_model::ids::LeaseId;
use panaversity_model::ports::Publications;
use panaversity_model::publication::{Attempt, FileKey, Publication, Settled};

use super::gc::seconds_from_now;
use super::lists::{LISTED, list, listed};
use super::rows::{self, BLOB, FILE};
use super::{SqlJournal, retried};
use crate::backend::Backend;
use crate::database::{
    Database, Dialect, Durability, Session, Sql, Value, fault, power_of_two_chunks, values_list,
};

/// SQL expression for the end of a lease acquired now.
pub(super) fn lease_end(dialect: Dialect, backend: Backend) -> String {
    seconds_from_now(dialect, backend.lease_seconds().into())
}

#[async_trait]
impl Publications for SqlJournal {
    async fn claim(&self, leases: &[LeaseId]) -> Result<Vec<Publication>, Fault> {
        // In the order of the index on the backlog.
        let due = format!(
            "SELECT book_id, path, user_id, version FROM publications WHERE state = 'pending' \
             AND (lease IS NULL OR lease_until <= {}) ORDER BY lease_until NULLS FIRST, version LIMIT",
            self.db.now_sql()
        );
        if self.read("look for publications", &format!("{due} 1"), Vec::new()).await?.is_empty() {
            return Ok(Vec::new());
        }
        let skip = match self.db.dialect() {
            Dialect::Sqlite => "",
            Dialect::Postgres => "FOR UPDATE SKIP LOCKED",
        };
        let select = format!("{due} {} {skip}", leases.len());
        let update = format!(
            "UPDATE publications SET lease = $4, lease_until = {} WHERE book_id = $1 AND path = $2 AND user_id = $3",
            lease_end(self.db.dialect(), self.backend)
        );
        let found = retried("claim publications", || async {
            let mut session = self.db.begin(Durability::Kill).await?;
            let found = session.rows(select.clone(), Vec::new()).await?;
            for (row, lease) in found.iter().zip(leases) {
                let key = rows::chain_key(row)?;
                let values =
                    vec![key.book.into(), key.path.into(), key.user.into(), lease.to_string().into()];
                session.queue(update.clone(), values);
            }
            session.commit().await?;
            Ok(found)
        })
        .await?;
        found
            .iter()
            .zip(leases)
            .map(|(row, lease)| {
                let version = row.int("version").map_err(|error| fault("claim publications", &error))?;
                Ok(Publication { key: rows::file_key(row)?, version, lease: *lease })
            })
            .collect()
    }

    async fn current_file(&self, key: &FileKey) -> Result<Option<Found>, Fault> {
        let sql = format!(
            "SELECT {FILE}, {BLOB} FROM file_journal f LEFT JOIN blobs b ON b.hash = f.sha256 \
             WHERE f.book_id = $1 AND f.path = $2 AND f.user_id = $3"
        );
        let found = self.read("read what a file holds", &sql, key_values(key).to_vec()).await?;
        found.first().map(rows::found).transpose()
    }

    async fn extend_lease(&self, publication: &Publication, by: Duration) -> Result<bool, Fault> {
        let later = match self.db.dialect() {
            Dialect::Sqlite => "max",
            Dialect::Postgres => "greatest",
        };
        let whole = by.as_secs() + u64::from(by.subsec_nanos() > 0);
        let sql = format!(
            "UPDATE publications SET lease_until = {later}(lease_until, {}) \
             WHERE book_id = $1 AND path = $2 AND user_id = $3 AND lease = $4 AND lease_until > {}",
            seconds_from_now(self.db.dialect(), whole),
            self.db.now_sql()
        );
        let mut values = key_values(&publication.key).to_vec();
        values.push(publication.lease.to_string().into());
        Ok(self.write("prolong a lease", &sql, values).await? > 0)
    }

    async fn acknowledge(&self, publication: &Publication, attempt: Attempt) -> Result<Settled, Fault> {
        self.committer.acknowledge(publication.clone(), attempt).await
    }

    async fn pending(&self) -> Result<i64, Fault> {
        let sql = "SELECT count(*) AS paths FROM publications WHERE state = 'pending'";
        let found = self.read("count publications", sql, Vec::new()).await?;
        found
            .first()
            .map_or(Ok(0), |row| row.int("paths"))
            .map_err(|error| fault("count publications", &error))
    }

    async fn unsynced(&self, limit: usize) -> Result<Vec<(FileKey, i64)>, Fault> {
        let sql = format!(
            "SELECT book_id, path, user_id, version FROM publications WHERE state = 'published' LIMIT {limit}"
        );
        let found = self.read("read published files", &sql, Vec::new()).await?;
        found
            .iter()
            .map(|row| {
                let version = row.int("version").map_err(|error| fault("read published files", &error))?;
                Ok((rows::file_key(row)?, version))
            })
            .collect()
    }

    async fn synced(&self, paths: &[(FileKey, i64)]) -> Result<(), Fault> {
        let mut paths: Vec<&(FileKey, i64)> = paths.iter().collect();
        paths.sort();
        let columns = ["book_id", "path", "user_id", "version"];
        let w = listed(self.db.dialect(), 1, &columns);
        let lock = format!(
            "WITH w AS ({w}) SELECT 1 FROM publications WHERE (book_id, path, user_id) IN \
             (SELECT book_id, path, user_id FROM w) ORDER BY book_id, path, user_id FOR UPDATE"
        );
        let sql = format!(
            "WITH w AS ({w}) DELETE FROM publications WHERE state = 'published' \
             AND (book_id, path, user_id, version) IN (SELECT book_id, path, user_id, CAST(version AS BIGINT) FROM w)"
        );
        for some in paths.chunks(LISTED) {
            let named = list(some.iter().map(|(key, version)| {
                let [book, path, user] = [key.book.as_str(), key.path.as_str(), key.layer.as_str()];
                [book, path, user, &version.to_string()].map(str::to_owned)
            }));
            retried("forget published files", || async {
                let mut session = self.db.begin(Durability::Kill).await?;
                if self.db.dialect() == Dialect::Postgres {
                    session.queue(lock.as_str(), vec![named.clone()]);
                }
                session.execute(sql.as_str(), vec![named.clone()]).await?;
                session.commit().await
            })
            .await?;
        }
        self.note_published(paths.len()).await;
        Ok(())
    }

    async fn requeue_unsynced(&self) -> Result<u64, Fault> {
        let sql = "UPDATE publications SET state = 'pending', lease = NULL, lease_until = NULL \
                   WHERE state = 'published'";
        self.write("look again at published files", sql, Vec::new()).await
    }
}

/// Queues the locks of rows in key order, as commits do, so that the two cannot deadlock.
fn lock(db: &Database, session: &mut Session, keys: &[&FileKey]) {
    if db.dialect() == Dialect::Postgres {
        for some in power_of_two_chunks(keys) {
            let sql = format!(
                "SELECT 1 FROM publications WHERE (book_id, path, user_id) IN (VALUES {}) \
                 ORDER BY book_id, path, user_id FOR UPDATE",
                values_list(1, some.len(), 3)
            );
            session.queue(sql, some.iter().flat_map(|key| key_values(key)).collect());
        }
    }
}

/// Releases leases, inside a transaction, and records the results of the attempts. A publisher that put
/// a file under a lease it had lost may have overwritten the file of a later holder: the path becomes
/// pending again, and the later holder's lease no longer settles it.
pub(super) async fn settle_all(
    db: &Database,
    backend: Backend,
    session: &mut Session,
    settles: &[(&Publication, Attempt)],
) -> Sql<Vec<Settled>> {
    if settles.is_empty() {
        return Ok(Vec::new());
    }
    let keys: BTreeSet<&FileKey> = settles.iter().map(|(publication, _)| &publication.key).collect();
    lock(db, session, &keys.into_iter().collect::<Vec<_>>());
    let done: Vec<_> = settles.iter().filter(|(_, attempt)| *attempt == Attempt::Done).collect();
    let mark = |some: &[&(&Publication, Attempt)]| {
        let sql = format!(
            "UPDATE publications SET state = 'published', lease = NULL, lease_until = NULL \
             WHERE (book_id, path, user_id, version, lease) IN (VALUES {}) RETURNING book_id, path, user_id, version",
            values_list(1, some.len(), 5)
        );
        let values = some.iter().flat_map(|(publication, _)| {
            let numbered = [Value::Int(publication.version), publication.lease.to_string().into()];
            key_values(&publication.key).into_iter().chain(numbered)
        });
        session.queue(sql, values.collect())
    };
    let marked: Vec<_> = power_of_two_chunks(&done).into_iter().map(mark).collect();
    session.send().await?;
    let mut published = HashSet::new();
    for row in marked.into_iter().flat_map(|statement| session.take(statement)) {
        published.insert((rows::chain_key(&row)?, row.int("version")?));
    }
    let mut settled = Vec::with_capacity(settles.len());
    for (publication, attempt) in settles {
        let key = ChainKey {
            book: publication.key.book.as_str().to_owned(),
            path: publication.key.path.as_str().to_owned(),
            user: publication.key.layer.as_str().to_owned(),
        };
        if *attempt == Attempt::Done && published.contains(&(key.clone(), publication.version)) {
            settled.push(Settled::Published);
            continue;
        }
        let mut values = key_values(&publication.key).to_vec();
        values.push(publication.lease.to_string().into());
        let give_back = match attempt {
            // The time is set: a failed path is claimed again after all others.
            Attempt::Done | Attempt::Failed => format!("lease = NULL, lease_until = {}", db.now_sql()),
            Attempt::Unknown => format!("lease_until = {}", lease_end(db.dialect(), backend)),
        };
        let give_back = format!(
            "UPDATE publications SET {give_back} WHERE book_id = $1 AND path = $2 AND user_id = $3 AND lease = $4"
        );
        let ours = session.execute(give_back, values.clone()).await? > 0;
        if !ours && *attempt != Attempt::Failed {
            values.push(Value::Int(publication.version));
            let now = db.now_sql();
            let (until, lease) = match attempt {
                Attempt::Unknown => {
                    let lease = "lease = excluded.lease, lease_until = excluded.lease_until".to_owned();
                    (lease_end(db.dialect(), backend), lease)
                }
                // A running lease may cover a request without an answer: its end stays.
                Attempt::Done | Attempt::Failed => {
                    let runs = "publications.lease IS NOT NULL AND publications.lease_until >";
                    (now.to_owned(), format!("lease = CASE WHEN {runs} {now} THEN excluded.lease END"))
                }
            };
            let again = format!(
                "INSERT INTO publications (book_id, path, user_id, lease, lease_until, version, state) \
                 VALUES ($1, $2, $3, $4, {until}, $5, 'pending') \
                 ON CONFLICT (book_id, path, user_id) DO UPDATE SET state = 'pending', {lease}"
            );
            session.queue(again, values);
        }
        settled.push(Settled::Pending);
    }
    Ok(settled)
}

/// Book, path and user.
pub(super) fn key_values(key: &FileKey) -> [Value; 3] {
    [key.book.as_str().into(), key.path.as_str().into(), key.layer.as_str().into()]
}
