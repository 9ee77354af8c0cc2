//! The walk of chains, entry by entry, in bounded memory. Keeps R6.

use std::collections::VecDeque;

use panaversity_model::audit::{AuditEntry, ChainKey, EntryPosition};
use panaversity_model::audit_export::{ChainTip, ExportLine};
use panaversity_model::chain::{ChainError, ChainRecord, ChainVerifier, Checkpoint};
use panaversity_model::fault::FaultKind;
use panaversity_model::ports::AuditLog;
use panaversity_model::{BookId, Fault, Layer};

use super::{ChainReport, MOST_BREAKS};

pub(super) const CHAINS_A_PAGE: usize = 1_000;
/// Most entries in memory: of several short chains, or of a part of a longer one.
const ENTRIES_A_PAGE: i64 = 1_000;

/// The chains that a verification or an export covers; every given field must match.
#[derive(Debug, Clone, Default)]
pub struct ChainScope {
    /// The book.
    pub book: Option<BookId>,
    /// The path as stored.
    pub path: Option<String>,
    /// The layer; `None` for all (operators only).
    pub layer: Option<Layer>,
}

impl ChainScope {
    /// True for a chain in the scope.
    pub fn contains(&self, key: &ChainKey) -> bool {
        self.book.as_ref().is_none_or(|book| book.as_str() == key.book)
            && self.path.as_ref().is_none_or(|path| *path == key.path)
            && self.layer.as_ref().is_none_or(|layer| layer.as_str() == key.user)
    }

    /// The one chain that it names.
    fn single(&self) -> Option<ChainKey> {
        let (book, path, layer) = (self.book.as_ref()?, self.path.as_ref()?, self.layer.as_ref()?);
        Some(ChainKey { book: book.as_str().into(), path: path.clone(), user: layer.as_str().into() })
    }
}

/// Position up to which a chain was walked.
pub(super) struct Reached {
    pub(super) trail: Checkpoint,
    pub(super) after: Option<EntryPosition>,
}

/// Walks all chains of the scope in order of their keys, each up to the tip that its row has when it is
/// read, and shows each chain and each of its entries to `see`, before they are known to be whole.
pub(crate) async fn verify<E: From<Fault>>(
    log: &dyn AuditLog,
    scope: &ChainScope,
    see: &mut impl FnMut(ExportLine) -> Result<(), E>,
) -> Result<ChainReport, E> {
    let mut report = ChainReport::default();
    if let Some(key) = scope.single() {
        match log.chain(&key).await? {
            Some(record) => drop(walk(log, ChainWalk::new(record), &mut report, see).await?),
            None if !log.chain_entries(&key, None, 1).await?.is_empty() => {
                report.breaks.push(orphaned_chain(key));
            }
            None => {}
        }
        return Ok(report);
    }
    let (book, layer, mut after) = (scope.book.as_ref(), scope.layer.as_ref(), None);
    loop {
        let page = log.chains(layer, book, after.as_ref(), CHAINS_A_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        let mut left: VecDeque<_> = page.into_iter().filter(|record| scope.contains(&record.key)).collect();
        while !left.is_empty() {
            for chain in next_chains(log, &mut left).await? {
                walk(log, chain, &mut report, see).await?;
            }
        }
    }
    let gone = log.orphaned_chains(layer, book, MOST_BREAKS).await?.into_iter();
    report.breaks.extend(gone.filter(|key| scope.contains(key)).map(orphaned_chain));
    report.breaks.truncate(MOST_BREAKS);
    Ok(report)
}

/// A chain that is to be walked.
pub(super) struct ChainWalk {
    verifier: ChainVerifier,
    from: Option<EntryPosition>,
    /// Its entries, if all of them are read already, and there are no more than its row says.
    entries: Option<Vec<AuditEntry>>,
}

impl ChainWalk {
    /// From the chain's first entry.
    pub(super) fn new(record: ChainRecord) -> Self {
        Self { verifier: ChainVerifier::new(record), from: None, entries: None }
    }

    /// From where an earlier walk ended.
    pub(super) fn resume(record: ChainRecord, from: Reached) -> Self {
        Self { verifier: ChainVerifier::resume(record, from.trail), from: from.after, entries: None }
    }

    pub(super) fn key(&self) -> &ChainKey {
        self.verifier.key()
    }
}

/// Removes the first chains and reads their entries in one statement, as far as they fit in memory. A chain with
/// more entries, or with some that its row does not count, or that cannot be read, is left to be read by itself.
pub(super) async fn next_chains(
    log: &dyn AuditLog,
    left: &mut VecDeque<ChainRecord>,
) -> Result<Vec<ChainWalk>, Fault> {
    let (mut records, mut expected) = (Vec::new(), 0);
    while let Some(record) = left.pop_front() {
        expected += record.count;
        if expected > ENTRIES_A_PAGE && !records.is_empty() {
            expected -= record.count;
            left.push_front(record);
            break;
        }
        records.push(record);
    }
    let limit = usize::try_from(expected).unwrap_or(0) + 1;
    let mut found = Vec::new();
    if records.len() > 1 {
        let keys: Vec<_> = records.iter().map(|record| &record.key).collect();
        found = match log.entries_of_chains(&keys, limit).await {
            Err(fault) if fault.kind == FaultKind::Corrupt => Vec::new(),
            found => found?,
        };
    }
    let are_all = !found.is_empty() && found.len() < limit;
    let mut found = found.into_iter().peekable();
    let chains = records.into_iter().map(|record| {
        let entries: Vec<_> =
            std::iter::from_fn(|| found.next_if(|entry| entry.chain() == record.key)).collect();
        let is_counted = i64::try_from(entries.len()).is_ok_and(|number| number <= record.count);
        ChainWalk { entries: Some(entries).filter(|_| are_all && is_counted), ..ChainWalk::new(record) }
    });
    Ok(chains.collect())
}

/// Walks a chain to the end that its row names, and one entry beyond; returns how far. An entry that can't be
/// read counts as a break.
pub(super) async fn walk<E: From<Fault>>(
    log: &dyn AuditLog,
    chain: ChainWalk,
    report: &mut ChainReport,
    see: &mut impl FnMut(ExportLine) -> Result<(), E>,
) -> Result<Option<Reached>, E> {
    let ChainWalk { verifier: mut walk, from: mut after, mut entries } = chain;
    let (key, is_all_read) = (walk.key().clone(), entries.is_some());
    report.chains += 1;
    see(ExportLine::Chain(ChainTip::from(walk.record())))?;
    while walk.remaining() > 0 {
        let wanted = usize::try_from(walk.remaining().min(ENTRIES_A_PAGE)).unwrap_or(1);
        let page = match entries.take() {
            Some(entries) => Ok(entries),
            None if is_all_read => break,
            None => log.chain_entries(&key, after.as_ref(), wanted).await,
        };
        let Some(page) = readable(page, &key, report)? else { return Ok(None) };
        let Some(last) = page.last() else { break };
        after = Some(EntryPosition { timestamp: last.timestamp, id: last.id.clone() });
        report.entries_checked += page.len() as u64;
        for entry in page {
            walk.step(&entry);
            see(ExportLine::Entry(entry))?;
        }
    }
    let room = MOST_BREAKS.saturating_sub(report.breaks.len());
    let reached = Reached { trail: walk.trail(), after };
    let beyond = if is_all_read { Ok(None) } else { beyond(log, &key, &walk, &reached).await };
    let Some(beyond) = readable(beyond, &key, report)? else { return Ok(None) };
    report.breaks.extend(beyond.into_iter().chain(walk.finish()).take(room));
    Ok(Some(reached))
}

/// A result of reading a chain; `None`: a row of it can't be read, which is a break of the chain.
fn readable<T>(
    result: Result<T, Fault>,
    key: &ChainKey,
    report: &mut ChainReport,
) -> Result<Option<T>, Fault> {
    match result {
        Err(fault) if fault.kind == FaultKind::Corrupt => {
            let reason = "an entry cannot be read".to_owned();
            report.breaks.push(ChainError { key: key.clone(), id: None, reason });
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// Checks for an entry beyond the tip. Either it was appended since the row was read, and then the row
/// counts it by now, or it was inserted bypassing the log.
async fn beyond(
    log: &dyn AuditLog,
    key: &ChainKey,
    walk: &ChainVerifier,
    reached: &Reached,
) -> Result<Option<ChainError>, Fault> {
    let extra = log.chain_entries(key, reached.after.as_ref(), 1).await?;
    let Some(extra) = extra.into_iter().next() else { return Ok(None) };
    let grown = log.chain(key).await?.is_some_and(|record| record.count > walk.record().count);
    let reason = "the entry stands beyond the chain's tip: it was added behind the log's back".to_owned();
    Ok((!grown).then(|| ChainError { key: key.clone(), id: Some(extra.id), reason }))
}

pub(super) fn orphaned_chain(key: ChainKey) -> ChainError {
    ChainError { key, id: None, reason: "its chain's row is gone".to_owned() }
}
