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

mod chains;
pub(crate) mod verified;

use std::collections::{HashMap, VecDeque};
use std::sync::PoisonError;
use std::time::Duration;

use panaversity_model::audit::ChainKey;
use panaversity_model::chain::ChainError;
use panaversity_model::{Error, Fault, Timestamp};

use crate::authorize::VerifyAccess;
use crate::call::Call;
use crate::service::Service;
pub use chains::ChainScope;
pub(crate) use chains::verify as verify_chains;
use chains::{CHAINS_A_PAGE, ChainWalk, Reached, next_chains, orphaned_chain};
pub use verified::Verified;

const ROUND_EVERY: Duration = Duration::from_secs(20);
/// Most microseconds between the timestamp of an entry and its commit.
const OVERLAP_MICROS: i64 = 30_000_000;
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
    /// Chains walked.
    pub chains: u64,
    /// Entries checked.
    pub entries_checked: u64,
    /// Breaks found, at most 100.
    pub breaks: Vec<ChainError>,
}

/// Progress of the background verifier.
#[derive(Default)]
struct Rounds {
    since: Option<Timestamp>,
    pass: Option<ChainKey>,
    /// Progress in chains with new entries, so that only the new ones are walked.
    reached: HashMap<ChainKey, Reached>,
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
        let scope =
            ChainScope { book: book.cloned(), path: path.map(str::to_owned), layer: Some(layer.clone()) };
        chains::verify::<Fault>(&*self.service.inner.journal, &scope, &mut |_| Ok(()))
            .await
            .map_err(Error::from)
    }
}

impl Service {
    /// State of the background verifier.
    pub fn verified(&self) -> Verified {
        self.inner.verified.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
            let chain = match from {
                Some(from) => ChainWalk::resume(record, from),
                None => ChainWalk::new(record),
            };
            let (_, reached) = self.walk_and_note(chain).await?;
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
            let mut left = VecDeque::from(page);
            while !left.is_empty() {
                for chain in next_chains(&**journal, &mut left).await? {
                    entries += self.walk_and_note(chain).await?.0;
                }
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
    async fn walk_and_note(&self, chain: ChainWalk) -> Result<(u64, Option<Reached>), Fault> {
        let (key, mut report) = (chain.key().clone(), ChainReport::default());
        let reached = chains::walk::<Fault>(&*self.inner.journal, chain, &mut report, &mut |_| Ok(()))
            .await?
            .filter(|_| report.breaks.is_empty());
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
        change(&mut self.inner.verified.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
