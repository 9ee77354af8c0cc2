//! The walk of chains, entry by entry, in bounded memory. Keeps R6.

use panaversity_model::audit::{ChainKey, EntryPosition};
use panaversity_model::audit_export::{ChainTip, ExportLine};
use panaversity_model::chain::{ChainError, ChainVerifier, Checkpoint};
use panaversity_model::fault::FaultKind;
use panaversity_model::ports::AuditLog;
use panaversity_model::{BookId, Fault, Layer};

use super::{ChainReport, MOST_BREAKS};

pub(super) const CHAINS_A_PAGE: usize = 200;
const ENTRIES_A_PAGE: i64 = 500;

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
            Some(record) => drop(walk(log, ChainVerifier::new(record), None, &mut report, see).await?),
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
        for record in page.into_iter().filter(|record| scope.contains(&record.key)) {
            walk(log, ChainVerifier::new(record), None, &mut report, see).await?;
        }
    }
    let gone = log.orphaned_chains(layer, book, MOST_BREAKS).await?.into_iter();
    report.breaks.extend(gone.filter(|key| scope.contains(key)).map(orphaned_chain));
    report.breaks.truncate(MOST_BREAKS);
    Ok(report)
}

/// Walks a chain from a position to the end that its row names, and one entry beyond; returns how far.
/// An entry that can't be read counts as a break.
pub(super) async fn walk<E: From<Fault>>(
    log: &dyn AuditLog,
    mut walk: ChainVerifier,
    from: Option<EntryPosition>,
    report: &mut ChainReport,
    see: &mut impl FnMut(ExportLine) -> Result<(), E>,
) -> Result<Option<Reached>, E> {
    let (key, mut after) = (walk.key().clone(), from);
    report.chains += 1;
    see(ExportLine::Chain(ChainTip::from(walk.record())))?;
    while walk.remaining() > 0 {
        let wanted = usize::try_from(walk.remaining().min(ENTRIES_A_PAGE)).unwrap_or(1);
        let page = log.chain_entries(&key, after.as_ref(), wanted).await;
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
    let beyond = beyond(log, &key, &walk, &reached).await;
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
