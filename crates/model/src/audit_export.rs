//! Export of the audit log: the lines of the file, and the digest over all chain tips. Keeps R6: a file that
//! was edited in any way is refused by [`ExportVerifier`], and a log that was rewritten since by
//! [`PrefixChecker`].
//!
//! # Format
//! JSON lines in UTF-8, each ended by a line feed and in exactly the form that [`ExportLine::to_json`] gives:
//!
//! 1. Each chain is a line of the type `chain` (book, path and user, the number of its entries, its tip),
//!    followed by its entries, oldest first, as lines of the type `entry` with all columns. Chains are
//!    ordered by book, path and user, bytewise.
//! 2. The last line is of the type `end`: the name of the format, the book that the export is limited to,
//!    the numbers of chains and entries, and the digest.
//!
//! # Digest
//! SHA-256 of the ASCII tag `panaversity-audit-export-1`, then for each chain in order its book, path, user,
//! tip and count, and last the book that the export is limited to; each as a column of the
//! [canonical form](crate::audit::canonical_form): the byte 0 for NULL, else the byte 1, the length in bytes
//! as a big-endian u32, and the text. Numbers are decimal.

mod prefix;
#[cfg(test)]
mod tests;
mod verify;

pub use prefix::{EarlierTips, PrefixChecker};
pub use verify::{ExportError, ExportVerifier, MAX_LINE_BYTES};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::audit::canonical_form::add_column;
use crate::audit::{AuditEntry, ChainKey};
use crate::chain::ChainRecord;
use crate::hash::ContentHash;

/// Name of the format, and the tag that its digest begins with.
const FORMAT: &str = "panaversity-audit-export-1";

/// A line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "most lines are entries")]
pub enum ExportLine {
    /// Begins a chain.
    Chain(ChainTip),
    /// An entry of the chain that was begun last.
    Entry(AuditEntry),
    /// Ends the export.
    End(ExportEnd),
}

impl ExportLine {
    /// The line without its line feed.
    pub fn to_json(&self) -> String {
        // Its keys are text and its values text and whole numbers: nothing in it can fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A chain with its length and tip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainTip {
    /// The book, or empty.
    pub book_id: String,
    /// The path, or empty.
    pub path: String,
    /// The owner of the overlay, or `__base__`.
    pub user_id: String,
    /// Number of entries.
    pub count: i64,
    /// Hash of the last entry.
    pub tip: Option<String>,
}

impl ChainTip {
    /// Key of the chain.
    pub fn key(&self) -> ChainKey {
        ChainKey { book: self.book_id.clone(), path: self.path.clone(), user: self.user_id.clone() }
    }
}

impl From<&ChainRecord> for ChainTip {
    fn from(record: &ChainRecord) -> Self {
        let ChainRecord { key, tip, count, .. } = record.clone();
        Self { book_id: key.book, path: key.path, user_id: key.user, count, tip }
    }
}

/// The last line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportEnd {
    /// Name of the format.
    pub format: String,
    /// The book that the export is limited to; `None`: the whole log.
    pub book_id: Option<String>,
    /// Number of chains.
    pub chains: u64,
    /// Number of entries.
    pub entries: u64,
    /// Digest over all tips.
    pub digest: String,
}

/// Computes the last line from the lines before it, in bounded memory.
#[derive(Debug, Clone)]
pub struct TipDigest {
    digest: Sha256,
    chains: u64,
    entries: u64,
}

impl Default for TipDigest {
    fn default() -> Self {
        Self { digest: Sha256::new_with_prefix(FORMAT), chains: 0, entries: 0 }
    }
}

impl TipDigest {
    /// Adds the next line.
    pub fn add(&mut self, line: &ExportLine) {
        match line {
            ExportLine::Chain(chain) => {
                self.chains += 1;
                let count = chain.count.to_string();
                for column in [&chain.book_id, &chain.path, &chain.user_id] {
                    add_column(&mut self.digest, Some(column));
                }
                add_column(&mut self.digest, chain.tip.as_deref());
                add_column(&mut self.digest, Some(&count));
            }
            ExportLine::Entry(_) => self.entries += 1,
            ExportLine::End(_) => {}
        }
    }

    /// The last line of an export that is limited to this book, or to none.
    pub fn end(&self, book: Option<&str>) -> ExportEnd {
        let mut digest = self.digest.clone();
        add_column(&mut digest, book);
        ExportEnd {
            format: FORMAT.to_owned(),
            book_id: book.map(str::to_owned),
            chains: self.chains,
            entries: self.entries,
            digest: ContentHash::from_bytes(digest.finalize().into()).to_string(),
        }
    }
}
