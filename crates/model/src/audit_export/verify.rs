//! Verification of an export line by line, in memory that depends neither on its entries nor on its chains.
//! Keeps R6: each line must be in the form of the export, follow from the lines before it, and fit the
//! counts and the digest at the end.

use std::fmt;

use super::{ChainTip, ExportEnd, ExportLine, TipDigest};
use crate::audit::ChainKey;
use crate::chain::{ChainError, ChainRecord, ChainVerifier};

/// Maximum length of a line in bytes; no entry comes near it.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// The first defect of an export, and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportError {
    /// Number of the line, from 1.
    pub line: u64,
    /// The chain and the entry, where they are known.
    pub chain: Option<Box<ChainError>>,
    /// Description of the defect.
    pub reason: String,
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// Verifies an export, which is fed to it line by line. After an error it is of no use.
#[derive(Debug, Default)]
pub struct ExportVerifier {
    line: u64,
    tips: TipDigest,
    walk: Option<ChainVerifier>,
    end: Option<ExportEnd>,
}

impl ExportVerifier {
    /// Entries checked so far.
    pub fn entries(&self) -> u64 {
        self.tips.entries
    }

    /// Checks the next line, with its line feed, and returns it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&mut self, raw: &[u8]) -> Result<ExportLine, ExportError> {
        self.line += 1;
        if self.end.is_some() {
            return Err(self.wrong("there is something after the last line"));
        }
        if raw.len() > MAX_LINE_BYTES {
            return Err(self.wrong("the line is longer than any line of an export"));
        }
        let Some(raw) = raw.strip_suffix(b"\n") else {
            return Err(self.wrong("the file is cut off within this line"));
        };
        let line = serde_json::from_slice::<ExportLine>(raw);
        let line = line.map_err(|why| self.wrong(format!("it is no line of an audit export: {why}")))?;
        if line.to_json().as_bytes() != raw {
            return Err(self.wrong("the line was edited: `audit export` would spell it otherwise"));
        }
        match &line {
            ExportLine::Chain(tip) => self.begin(tip)?,
            ExportLine::Entry(entry) => {
                let Some(walk) = self.walk.as_mut().filter(|walk| walk.remaining() > 0) else {
                    return Err(self.wrong("the entry is one more than its chain has"));
                };
                if *walk.key() != entry.chain() {
                    return Err(self.wrong("the entry is another chain's"));
                }
                walk.step(entry);
                let found = walk.breaks().first().cloned();
                if let Some(found) = found {
                    return Err(self.broken(found));
                }
            }
            ExportLine::End(_) => self.end_chain()?,
        }
        self.tips.add(&line);
        if let ExportLine::End(end) = &line {
            self.compare(end)?;
            self.end = Some(end.clone());
        }
        Ok(line)
    }

    /// The last line of an export that was checked to its end.
    ///
    /// # Errors
    /// There was no last line.
    pub fn finish(mut self) -> Result<ExportEnd, ExportError> {
        self.line += 1;
        self.end
            .take()
            .ok_or_else(|| self.wrong("the file is cut off: the line that ends an export is missing"))
    }

    fn begin(&mut self, tip: &ChainTip) -> Result<(), ExportError> {
        let key = tip.key();
        let previous = self.walk.as_ref().map(|walk| walk.key().clone());
        self.end_chain()?;
        if previous.is_some_and(|previous| previous >= key) {
            return Err(self.wrong("the chain stands twice, or before one that belongs before it"));
        }
        let record = ChainRecord { key, tip: tip.tip.clone(), count: tip.count, journal: None };
        self.walk = Some(ChainVerifier::new(record));
        Ok(())
    }

    /// Ends the current chain, before the line that follows it.
    fn end_chain(&mut self) -> Result<(), ExportError> {
        let breaks = self.walk.take().map(ChainVerifier::finish_without_journal);
        match breaks.into_iter().flatten().next() {
            None => Ok(()),
            Some(found) => Err(self.broken(found)),
        }
    }

    fn compare(&self, end: &ExportEnd) -> Result<(), ExportError> {
        let expected = self.tips.end(end.book_id.as_deref());
        let reason = if end.format != expected.format {
            format!("the format {} is not known, only {}", end.format, expected.format)
        } else if (end.chains, end.entries) != (expected.chains, expected.entries) {
            format!(
                "it counts {} chains and {} entries, the lines before it are {} and {}",
                end.chains, end.entries, expected.chains, expected.entries
            )
        } else if end.digest != expected.digest {
            "the digest is not that of the chains before it".to_owned()
        } else {
            return Ok(());
        };
        Err(self.wrong(reason))
    }

    fn wrong(&self, reason: impl Into<String>) -> ExportError {
        ExportError { line: self.line, chain: None, reason: reason.into() }
    }

    fn broken(&self, found: ChainError) -> ExportError {
        let ChainKey { book, path, user } = &found.key;
        let reason = format!("{}, in the chain of {book:?}, {path:?}, {user:?}", found.reason);
        ExportError { line: self.line, reason, chain: Some(Box::new(found)) }
    }
}
