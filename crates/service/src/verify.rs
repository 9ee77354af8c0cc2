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

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use panaversity_model::audit::{ChainKey, EntryPosition};
use panaversity_model::chain::{ChainError, ChainRecord, ChainVerifier, Checkpoint};
use panaversity_model::fault::FaultKind;
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
/// Chains whose last walk is remembered.
const REMEMBERED_CHAINS: usize = 10_000;
/// Breaks kept and reported.
const MOST_BREAKS: usize = 100;

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Entries looked at.
    pub entries_checked: u64,
    /// What is wrong, at most 100.
    pub breaks: Vec<ChainError>,
}

/// What the background verifier knows.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// When it last finished a round.
    pub checked_at: Option<Timestamp>,
    /// When the last full pass ended, by the monotonic clock.
    pub full_pass_at: Option<Duration>,
    /// Breaks that stand, by chain.
    pub breaks: BTreeMap<ChainKey, ChainError>,
}

/// The verifier's state.
#[derive(Default)]
pub(crate) struct VerifierState {
    verified: Mutex<Verified>,
}

/// Where the background verifier is.
#[derive(Default)]
struct Rounds {
    since: Option<Timestamp>,
    pass: Option<ChainKey>,
    /// How far chains with new entries were walked, so that only the new ones are.
    reached: HashMap<ChainKey, Reached>,
}

/// How far a chain was walked.
struct Reached {
    trail: Checkpoint,
    after: Option<EntryPosition>,
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
            match self.inner.journal.chain(&key).await? {
                Some(record) => drop(self.walk(ChainVerifier::new(record), None, &mut report).await?),
                None if !self.inner.journal.chain_entries(&key, None, 1).await?.is_empty() => {
                    report.breaks.push(orphaned_chain(key));
                }
                None => {}
            }
            return Ok(report);
        }
        let mut after = None;
        loop {
            let page = self.inner.journal.chains(Some(layer), book, after.as_ref(), CHAINS_A_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for record in page {
                self.walk(ChainVerifier::new(record), None, &mut report).await?;
            }
        }
        let gone = self.inner.journal.orphaned_chains(Some(layer), book, MOST_BREAKS).await?;
        report.breaks.extend(gone.into_iter().map(orphaned_chain));
        report.breaks.truncate(MOST_BREAKS);
        Ok(report)
    }

    /// Walks a chain; gives how far it came. What cannot even be read is a break like any other,
    /// and does not keep other chains from being walked.
    async fn walk(
        &self,
        walk: ChainVerifier,
        from: Option<EntryPosition>,
        report: &mut Report,
    ) -> Result<Option<Reached>, Fault> {
        let key = walk.key().clone();
        match self.walk_readable(walk, from, report).await {
            Ok(reached) => Ok(Some(reached)),
            Err(fault) if fault.kind == FaultKind::Corrupt => {
                report.breaks.push(ChainError {
                    key,
                    id: None,
                    reason: "an entry cannot be read".to_owned(),
                });
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Walks on from a position, to the end that the chain's row names and one step beyond.
    async fn walk_readable(
        &self,
        mut walk: ChainVerifier,
        from: Option<EntryPosition>,
        report: &mut Report,
    ) -> Result<Reached, Fault> {
        let (key, mut after) = (walk.key().clone(), from);
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
        let reached = Reached { trail: walk.trail(), after };
        let breaks = self.beyond(&key, &walk, &reached).await?.into_iter().chain(walk.finish());
        report.breaks.extend(breaks.take(room));
        Ok(reached)
    }

    /// An entry beyond the tip was either appended since the row was read, and then the row knows
    /// it by now, or slipped in behind the log's back.
    async fn beyond(
        &self,
        key: &ChainKey,
        walk: &ChainVerifier,
        reached: &Reached,
    ) -> Result<Option<ChainError>, Fault> {
        let extra = self.inner.journal.chain_entries(key, reached.after.as_ref(), 1).await?;
        let Some(extra) = extra.into_iter().next() else { return Ok(None) };
        let grown = self.inner.journal.chain(key).await?.is_some_and(|record| record.count > walk.count());
        let reason = "the entry stands beyond the chain's tip: it was added behind the log's back".to_owned();
        Ok((!grown).then(|| ChainError { key: key.clone(), id: Some(extra.id), reason }))
    }

    /// What the background verifier knows.
    pub fn verified(&self) -> Verified {
        self.inner.verifier.verified.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long ago the last full pass ended.
    pub fn full_pass_age(&self) -> Option<Duration> {
        self.verified().full_pass_at.map(|at| self.inner.clock.monotonic().saturating_sub(at))
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
            let Some(record) = journal.chain(&key).await? else { continue };
            let from = rounds.reached.remove(&key).filter(|from| from.trail.seen() <= record.count);
            let (_, reached) = self.walk_and_note(record, from).await?;
            if rounds.reached.len() >= REMEMBERED_CHAINS {
                rounds.reached.clear();
            }
            rounds.reached.extend(reached.map(|reached| (key, reached)));
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
                entries += self.walk_and_note(record, None).await?.0;
            }
        }
        self.note(|verified| verified.checked_at = Some(now));
        Ok(())
    }

    async fn end_pass(&self) -> Result<(), Fault> {
        let gone = self.inner.journal.orphaned_chains(None, None, MOST_BREAKS).await?;
        let now = self.inner.clock.monotonic();
        self.note(|verified| {
            verified.full_pass_at = Some(now);
            for key in gone {
                verified.breaks.insert(key.clone(), orphaned_chain(key));
            }
        });
        Ok(())
    }

    /// Gives the number of entries checked and, of a whole chain, how far it was walked.
    async fn walk_and_note(
        &self,
        record: ChainRecord,
        from: Option<Reached>,
    ) -> Result<(u64, Option<Reached>), Fault> {
        let (key, mut report) = (record.key.clone(), Report::default());
        let (walk, after) = match from {
            Some(from) => (ChainVerifier::resume(record, from.trail), from.after),
            None => (ChainVerifier::new(record), None),
        };
        let reached = self.walk(walk, after, &mut report).await?.filter(|_| report.breaks.is_empty());
        let checked = report.entries_checked;
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
        Ok((checked, reached))
    }

    fn note(&self, change: impl FnOnce(&mut Verified)) {
        change(&mut self.inner.verifier.verified.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn orphaned_chain(key: ChainKey) -> ChainError {
    ChainError { key, id: None, reason: "its chain's row is gone".to_owned() }
}
