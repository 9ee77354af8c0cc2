//! Verification of audit chains: on demand for `verify_audit_chain`, all chains in the caller's scope;
//! in the background, new entries within a minute and all chains in a rolling pass. Keeps R6.
//!
//! # The background verifier
//! 1. Every 20 seconds it walks the chains with entries since the last round (minus an overlap for
//!    entries committed late), up to a bounded number.
//! 2. In the same round it walks the next chains of the rolling pass, bounded by entries.
//! 3. At the end of a pass it looks for entries and journal rows whose chain row is missing.
//!
//! A break stays in `/health` until a later pass finds the chain whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use panaversity_model::audit::{ChainKey, EntryPosition};
use panaversity_model::chain::{ChainError, ChainRecord, ChainVerifier, Checkpoint};
use panaversity_model::fault::FaultKind;
use panaversity_model::{Error, Fault, Timestamp};

use crate::authorize::VerifyAccess;
use crate::call::Call;
use crate::service::Service;

const ROUND_EVERY: Duration = Duration::from_secs(20);
/// Most microseconds between the timestamp of an entry and its commit.
const OVERLAP_MICROS: i64 = 30_000_000;
const CHAINS_A_PAGE: usize = 200;
const ENTRIES_A_PAGE: i64 = 500;
/// Most new chains walked in one round, and most entries of the rolling pass.
const NEW_CHAINS_A_ROUND: usize = 2_000;
const ENTRIES_A_ROUND: u64 = 20_000;
/// Most chains whose last walk is remembered.
const REMEMBERED_CHAINS: usize = 10_000;
/// Most breaks kept and reported.
const MOST_BREAKS: usize = 100;

/// Result of a verification.
#[derive(Debug, Clone, Default)]
pub struct ChainReport {
    /// Entries checked.
    pub entries_checked: u64,
    /// Breaks found, at most 100.
    pub breaks: Vec<ChainError>,
}

/// State of the background verifier.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// End of its last round.
    pub checked_at: Option<Timestamp>,
    /// End of the last full pass, by the monotonic clock.
    pub full_pass_at: Option<Duration>,
    /// Known breaks, by chain.
    pub breaks: BTreeMap<ChainKey, ChainError>,
}

/// Shared state of the verifier.
#[derive(Default)]
pub(crate) struct VerifierState {
    verified: Mutex<Verified>,
}

/// Progress of the background verifier.
#[derive(Default)]
struct Rounds {
    since: Option<Timestamp>,
    pass: Option<ChainKey>,
    /// Progress in chains with new entries, so that only the new ones are walked.
    reached: HashMap<ChainKey, Reached>,
}

/// Position up to which a chain was walked.
struct Reached {
    trail: Checkpoint,
    after: Option<EntryPosition>,
}

impl Call {
    /// Verifies the chains of one layer: all of them, a book's, or a single file's.
    pub async fn verify_audit_chain(
        &self,
        access: &VerifyAccess,
        path: Option<&str>,
    ) -> Result<ChainReport, Error> {
        let (book, layer) = (access.book(), access.layer());
        if let Some(book) = book {
            self.service.require_book(book).await?;
        }
        let mut report = ChainReport::default();
        if let (Some(book), Some(path)) = (book, path) {
            let key = ChainKey { book: book.as_str().into(), path: path.into(), user: layer.as_str().into() };
            match self.service.inner.journal.chain(&key).await? {
                Some(record) => drop(self.service.walk(ChainVerifier::new(record), None, &mut report).await?),
                None if !self.service.inner.journal.chain_entries(&key, None, 1).await?.is_empty() => {
                    report.breaks.push(orphaned_chain(key));
                }
                None => {}
            }
            return Ok(report);
        }
        let mut after = None;
        loop {
            let page =
                self.service.inner.journal.chains(Some(layer), book, after.as_ref(), CHAINS_A_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for record in page {
                self.service.walk(ChainVerifier::new(record), None, &mut report).await?;
            }
        }
        let gone = self.service.inner.journal.orphaned_chains(Some(layer), book, MOST_BREAKS).await?;
        report.breaks.extend(gone.into_iter().map(orphaned_chain));
        report.breaks.truncate(MOST_BREAKS);
        Ok(report)
    }
}

impl Service {
    /// Walks a chain; returns how far. An entry that can't be read counts as a break, and other chains
    /// are still walked.
    async fn walk(
        &self,
        walk: ChainVerifier,
        from: Option<EntryPosition>,
        report: &mut ChainReport,
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

    /// Walks a chain from a position to the end that its row names, and one entry beyond.
    async fn walk_readable(
        &self,
        mut walk: ChainVerifier,
        from: Option<EntryPosition>,
        report: &mut ChainReport,
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

    /// Checks for an entry beyond the tip. Either it was appended since the row was read, and then the
    /// row counts it by now, or it was inserted bypassing the log.
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

    /// State of the background verifier.
    pub fn verified(&self) -> Verified {
        self.inner.verifier.verified.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Time since the last full pass ended.
    pub fn full_pass_age(&self) -> Option<Duration> {
        self.verified().full_pass_at.map(|at| self.inner.clock.monotonic().saturating_sub(at))
    }

    /// The background verifier; runs until its future is dropped.
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

    /// Walks a chain and notes the result; returns the entries checked and, if it is whole, how far it
    /// was walked.
    async fn walk_and_note(
        &self,
        record: ChainRecord,
        from: Option<Reached>,
    ) -> Result<(u64, Option<Reached>), Fault> {
        let (key, mut report) = (record.key.clone(), ChainReport::default());
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
