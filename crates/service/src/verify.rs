//! Verifying audit chains: all of a caller's scope at once for `verify_audit_chain`, and in the
//! background new entries within a minute and everything in a rolling pass. Keeps R6.
//!
//! # The background verifier
//! 1. Every 20 seconds it walks the chains that got entries since the round before (minus an
//!    overlap for entries committed late), up to a bounded number.
//! 2. In the same round it walks the next chains of the rolling pass, bounded by entries.
//! 3. At the end of a pass it looks for entries and journal rows whose chain is gone.
//!
//! A break found stays in `/health` until a later pass finds the chain whole.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use panaversity_model::audit::{ChainKey, EntryPosition};
use panaversity_model::chain::{Break, ChainRecord, Walk};
use panaversity_model::{BookId, Error, Fault, Layer, Timestamp};

use crate::service::Service;

const ROUND_EVERY: Duration = Duration::from_secs(20);
/// Entries may be committed this much later than they are stamped.
const OVERLAP_MICROS: i64 = 30_000_000;
const CHAINS_A_PAGE: usize = 200;
const ENTRIES_A_PAGE: i64 = 500;
/// New chains walked in one round, and entries of the rolling pass.
const NEW_CHAINS_A_ROUND: usize = 2_000;
const ENTRIES_A_ROUND: u64 = 20_000;
/// Breaks kept and reported.
const MOST_BREAKS: usize = 100;

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Entries looked at.
    pub entries_checked: u64,
    /// What is wrong, at most 100.
    pub breaks: Vec<Break>,
}

/// What the background verifier knows.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// When it last finished a round.
    pub checked_at: Option<Timestamp>,
    /// When the last full pass ended, by the monotonic clock.
    pub full_pass_at: Option<Duration>,
    /// Breaks that stand, by chain.
    pub breaks: BTreeMap<ChainKey, Break>,
}

/// The verifier's state.
#[derive(Default)]
pub(crate) struct Standing {
    verified: Mutex<Verified>,
}

/// Where the background verifier is.
#[derive(Default)]
struct Rounds {
    since: Option<Timestamp>,
    pass: Option<ChainKey>,
}

impl Service {
    /// Verifies the chains of one layer: all of them, a book's, or a file's.
    pub async fn verify_audit_chain(
        &self,
        layer: &Layer,
        book: Option<&BookId>,
        path: Option<&str>,
    ) -> Result<Report, Error> {
        let mut report = Report::default();
        if let (Some(book), Some(path)) = (book, path) {
            let key = ChainKey { book: book.as_str().into(), path: path.into(), user: layer.as_str().into() };
            if let Some(record) = self.inner.journal.chain(&key).await? {
                self.walk(record, &mut report).await?;
            }
            return Ok(report);
        }
        let mut after = None;
        loop {
            let page = self.inner.journal.chains(Some(layer), book, after.as_ref(), CHAINS_A_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for record in page {
                self.walk(record, &mut report).await?;
            }
        }
        let in_scope =
            |key: &ChainKey| key.user == layer.as_str() && book.is_none_or(|book| key.book == book.as_str());
        let gone = self.inner.journal.unchained(MOST_BREAKS).await?;
        report.breaks.extend(gone.into_iter().filter(in_scope).map(unchained));
        report.breaks.truncate(MOST_BREAKS);
        Ok(report)
    }

    async fn walk(&self, record: ChainRecord, report: &mut Report) -> Result<(), Fault> {
        let key = record.key.clone();
        let (mut walk, mut after) = (Walk::new(record), None::<EntryPosition>);
        while walk.remaining() > 0 {
            let wanted = usize::try_from(walk.remaining().min(ENTRIES_A_PAGE)).unwrap_or(1);
            let page = self.inner.journal.chain_entries(&key, after.as_ref(), wanted).await?;
            let Some(last) = page.last() else { break };
            after = Some(EntryPosition { timestamp: last.timestamp, id: last.id.clone() });
            report.entries_checked += page.len() as u64;
            for entry in &page {
                walk.step(entry);
            }
        }
        let room = MOST_BREAKS.saturating_sub(report.breaks.len());
        report.breaks.extend(walk.finish().into_iter().take(room));
        Ok(())
    }

    /// What the background verifier knows.
    pub fn verified(&self) -> Verified {
        self.inner.standing.verified.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long ago the last full pass ended.
    pub fn full_pass_age(&self) -> Option<Duration> {
        self.verified().full_pass_at.map(|at| self.inner.world.monotonic().saturating_sub(at))
    }

    /// The background verifier; runs until it is dropped.
    pub async fn run_verifier(&self) {
        let mut rounds = Rounds::default();
        loop {
            if let Err(fault) = self.verify_round(&mut rounds).await {
                tracing::warn!(error = %fault, "the audit chains could not be verified; it is tried again");
            }
            tokio::time::sleep(ROUND_EVERY).await;
        }
    }

    async fn verify_round(&self, rounds: &mut Rounds) -> Result<(), Fault> {
        let journal = &self.inner.journal;
        let now = journal.now().await?;
        let since = rounds.since.unwrap_or(now).micros() - OVERLAP_MICROS;
        for key in journal.chains_since(Timestamp::from_micros(since), NEW_CHAINS_A_ROUND).await? {
            if let Some(record) = journal.chain(&key).await? {
                self.walk_and_note(record).await?;
            }
        }
        rounds.since = Some(now);
        let mut entries = 0;
        while entries < ENTRIES_A_ROUND {
            let page = journal.chains(None, None, rounds.pass.as_ref(), CHAINS_A_PAGE).await?;
            rounds.pass = page.last().map(|record| record.key.clone());
            if page.is_empty() {
                self.end_pass().await?;
                break;
            }
            for record in page {
                entries += self.walk_and_note(record).await?;
            }
        }
        self.note(|verified| verified.checked_at = Some(now));
        Ok(())
    }

    async fn end_pass(&self) -> Result<(), Fault> {
        let gone = self.inner.journal.unchained(MOST_BREAKS).await?;
        let now = self.inner.world.monotonic();
        self.note(|verified| {
            verified.full_pass_at = Some(now);
            for key in gone {
                verified.breaks.insert(key.clone(), unchained(key));
            }
        });
        Ok(())
    }

    async fn walk_and_note(&self, record: ChainRecord) -> Result<u64, Fault> {
        let (key, mut report) = (record.key.clone(), Report::default());
        self.walk(record, &mut report).await?;
        self.note(|verified| match report.breaks.into_iter().next() {
            None => {
                verified.breaks.remove(&key);
            }
            Some(found) if verified.breaks.len() < MOST_BREAKS || verified.breaks.contains_key(&key) => {
                if verified.breaks.insert(key, found.clone()).is_none() {
                    tracing::error!(
                        target: "panaversity_fs.audit",
                        book_id = found.key.book,
                        path = found.key.path,
                        user_id = found.key.user,
                        entry = found.id,
                        reason = found.reason,
                        "the audit chain is broken"
                    );
                }
            }
            Some(_) => {}
        });
        Ok(report.entries_checked)
    }

    fn note(&self, change: impl FnOnce(&mut Verified)) {
        change(&mut self.inner.standing.verified.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn unchained(key: ChainKey) -> Break {
    Break { key, id: None, reason: "its chain's row is gone".to_owned() }
}
