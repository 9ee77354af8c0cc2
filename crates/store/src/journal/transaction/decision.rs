//! Decision on a batch, whose verdicts hold once it is committed and the leases are known.

use std::collections::HashMap;

use panaversity_model::audit::ChainKey;
use panaversity_model::change::{ChangeSet, Verdict};

use super::key_values;
use crate::database::{Answers, Database, Queued, Row, Sql, SqlError, power_of_two_chunks, values_list};
use crate::journal::decide::key_of;
use crate::journal::rows;

/// Decisions on the sets of a batch, in their order.
#[derive(Default)]
pub(in crate::journal) struct Decision {
    /// Verdicts, each with a publication for every changed path, as if all leases were obtained.
    pub(super) verdicts: Vec<Verdict>,
    /// Statements that return the leases of the published paths, and the paths.
    pub(super) publications: Vec<Queued>,
    pub(super) published: Vec<ChainKey>,
}

/// Per published path, the version and the lease that its row has.
pub(in crate::journal) type Leases = HashMap<ChainKey, (i64, String)>;

impl Decision {
    /// True if the set at this place is committed with the batch.
    pub(in crate::journal) fn applies(&self, place: usize) -> bool {
        matches!(self.verdicts.get(place), Some(Verdict::Committed(_)))
    }

    /// Leases, from the answers of the transaction. A path without one is published in the background.
    pub(in crate::journal) fn leases(&self, answers: &mut Answers) -> Leases {
        let rows: Vec<Row> =
            self.publications.iter().flat_map(|statement| answers.take(*statement)).collect();
        leases(&rows).unwrap_or_default()
    }

    /// Leases, from the rows that a transaction has left whose answers were lost.
    pub(in crate::journal) async fn stored_leases(&self, db: &Database) -> Leases {
        let keys: Vec<&ChainKey> = self.published.iter().collect();
        let read = async {
            let mut found = Leases::new();
            let mut session = db.read().await?;
            for some in power_of_two_chunks(&keys) {
                let sql = format!(
                    "SELECT {LEASE} FROM publications WHERE (book_id, path, user_id) IN (VALUES {})",
                    values_list(1, some.len(), 3)
                );
                found.extend(leases(&session.rows(sql, key_values(some)).await?)?);
            }
            Ok::<_, SqlError>(found)
        };
        read.await.unwrap_or_default()
    }

    /// Verdicts on these sets.
    pub(in crate::journal) fn verdicts(mut self, sets: &[&ChangeSet], leases: &Leases) -> Vec<Verdict> {
        for (set, verdict) in sets.iter().zip(&mut self.verdicts) {
            keep_leased(set, verdict, leases);
        }
        self.verdicts
    }
}

/// Leaves a set those publications whose path has its version and its lease.
fn keep_leased(set: &ChangeSet, verdict: &mut Verdict, leases: &Leases) {
    let Verdict::Committed(applied) = verdict else { return };
    for applied in applied {
        let held = leases.get(&key_of(set, &applied.path));
        applied.publication.take_if(|publication| {
            held.is_none_or(|(version, lease)| {
                *version != publication.version || *lease != publication.lease.to_string()
            })
        });
    }
}

/// Columns read by [`leases`].
pub(super) const LEASE: &str = "book_id, path, user_id, version, lease";

fn leases(rows: &[Row]) -> Sql<Leases> {
    rows.iter().map(|row| Ok((rows::chain_key(row)?, (row.int("version")?, row.text("lease")?)))).collect()
}
