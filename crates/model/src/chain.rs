//! Verification of a chain of audit entries. Keeps R6: an edited, deleted, inserted, reordered or
//! truncated row is detected.
//!
//! # Checks
//! 1. Each entry's hash against its columns (edited).
//! 2. Each entry's `prev_hash` against the entry before it in time (deleted, inserted, reordered).
//! 3. The entry at the chain's count against the chain's tip; count and tip are stored in the
//!    `chains` row in the same transaction as the entry (truncated). Entries beyond the tip are the
//!    caller's to judge, because they may have been appended since the row was read.
//! 4. Each change's `old_content_hash` against the last change's new one, and the last one against
//!    the journal (a file changed without an audit entry).

use crate::audit::{AuditEntry, ChainKey};

/// A `chains` row and the journal's content hash of its file, read in one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainRecord {
    /// Key of the chain.
    pub key: ChainKey,
    /// Hash of its last entry.
    pub tip: Option<String>,
    /// Number of its entries.
    pub count: i64,
    /// Content hash of the file according to the journal.
    pub journal: Option<String>,
}

/// A defect found in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainError {
    /// The chain.
    pub key: ChainKey,
    /// Id of the entry where the defect shows, if it can be attributed to one.
    pub id: Option<String>,
    /// Description of the defect.
    pub reason: String,
}

/// Position and state of an interrupted walk, enough to resume it later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    seen: i64,
    last: Option<String>,
    holds: Option<String>,
}

impl Checkpoint {
    /// Number of entries seen.
    pub fn seen(&self) -> i64 {
        self.seen
    }
}

/// Verifies one chain entry by entry in time order, without keeping the entries in memory.
#[derive(Debug)]
pub struct ChainVerifier {
    record: ChainRecord,
    trail: Checkpoint,
    breaks: Vec<ChainError>,
}

impl ChainVerifier {
    /// Starts at the chain's first entry.
    pub fn new(record: ChainRecord) -> Self {
        Self::resume(record, Checkpoint::default())
    }

    /// Resumes an earlier walk of the same chain.
    pub fn resume(record: ChainRecord, trail: Checkpoint) -> Self {
        Self { record, trail, breaks: Vec::new() }
    }

    /// Current position, to resume from.
    pub fn trail(&self) -> Checkpoint {
        self.trail.clone()
    }

    /// Key of the chain.
    pub fn key(&self) -> &ChainKey {
        &self.record.key
    }

    /// The chain's row.
    pub fn record(&self) -> &ChainRecord {
        &self.record
    }

    /// Number of entries still expected according to the chain's row; later ones were added since.
    pub fn remaining(&self) -> i64 {
        self.record.count - self.trail.seen
    }

    /// Checks the next entry.
    pub fn step(&mut self, entry: &AuditEntry) {
        if self.remaining() <= 0 {
            return;
        }
        self.trail.seen += 1;
        if entry.computed_hash() != entry.entry_hash {
            self.report(Some(entry), "the entry was edited: its hash does not match its columns");
        }
        if entry.prev_hash != self.trail.last {
            self.report(
                Some(entry),
                "the entry does not follow the one before it: a row was deleted, inserted or reordered",
            );
        }
        if entry.is_change() {
            if entry.old_content_hash != self.trail.holds {
                self.report(Some(entry), "the file held something else than the last recorded change left");
            }
            self.trail.holds.clone_from(&entry.new_content_hash);
        }
        self.trail.last = Some(entry.entry_hash.clone());
    }

    /// Defects found so far.
    pub fn breaks(&self) -> &[ChainError] {
        &self.breaks
    }

    /// Compares the end of the chain with its row and the journal; returns all defects found.
    pub fn finish(mut self) -> Vec<ChainError> {
        if self.trail.holds != self.record.journal {
            self.report(None, "the journal says something else than the last recorded change");
        }
        self.finish_without_journal()
    }

    /// Same as [`finish`](Self::finish) where the journal is not at hand, as in an export.
    pub fn finish_without_journal(mut self) -> Vec<ChainError> {
        if self.remaining() > 0 {
            let missing = self.remaining();
            self.report(None, &format!("{missing} of {} entries are missing", self.record.count));
        } else if self.trail.last != self.record.tip {
            self.report(None, "the last entry is not the chain's tip: rows were cut off or replaced");
        }
        self.breaks
    }

    fn report(&mut self, entry: Option<&AuditEntry>, reason: &str) {
        self.breaks.push(ChainError {
            key: self.record.key.clone(),
            id: entry.map(|entry| entry.id.clone()),
            reason: reason.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tests::draft;
    use crate::hash::ContentHash;
    use crate::timestamp::Timestamp;
    use proptest::prelude::*;

    fn chain(length: u8) -> (Vec<AuditEntry>, ChainRecord) {
        let (mut entries, mut prev, mut holds) = (Vec::<AuditEntry>::new(), None::<String>, None);
        for n in 0..length {
            let mut draft = draft(u128::from(n) + 1);
            draft.old = holds;
            draft.new = Some(ContentHash::of(&[n]));
            holds = draft.new;
            entries.push(draft.seal(Timestamp::from_micros(i64::from(n)), prev.as_deref()));
            prev = entries.last().map(|e| e.entry_hash.clone());
        }
        let record = ChainRecord {
            key: draft(1).chain(),
            tip: prev,
            count: i64::from(length),
            journal: holds.map(|h| h.to_string()),
        };
        (entries, record)
    }

    fn breaks(entries: &[AuditEntry], record: &ChainRecord) -> Vec<ChainError> {
        let mut walk = ChainVerifier::new(record.clone());
        for entry in entries {
            walk.step(entry);
        }
        walk.finish()
    }

    proptest! {
        #[test]
        fn r6_an_untouched_chain_has_no_breaks(length in 0u8..20) {
            let (entries, record) = chain(length);
            prop_assert_eq!(breaks(&entries, &record), vec![]);
        }

        #[test]
        fn r6_any_tampering_with_rows_is_found(length in 2u8..12, at: prop::sample::Index, kind in 0..6) {
            let (mut entries, record) = chain(length);
            let at = at.index(entries.len());
            match kind {
                0 => entries[at].agent_id = "somebody-else".into(),
                1 => { entries.remove(at); }
                2 => {
                    let mut forged = entries[at].clone();
                    forged.id = "forged".into();
                    forged.entry_hash = forged.computed_hash();
                    entries.insert(at, forged);
                }
                3 => { let other = (at + 1) % entries.len(); entries.swap(at, other); }
                4 => entries.truncate(at),
                _ => {
                    // Edited, and every later row made consistent again: only the tip reveals it.
                    entries[at].agent_id = "somebody-else".into();
                    for n in at..entries.len() {
                        entries[n].prev_hash = n.checked_sub(1).map(|n| entries[n].entry_hash.clone());
                        entries[n].entry_hash = entries[n].computed_hash();
                    }
                }
            }
            prop_assert!(!breaks(&entries, &record).is_empty());
        }
    }

    #[test]
    fn r6_a_file_changed_behind_the_log_s_back_is_found() {
        let (entries, mut record) = chain(3);
        record.journal = Some("something else".into());
        assert!(breaks(&entries, &record)[0].reason.contains("journal"));
    }

    #[test]
    fn entries_added_while_walking_are_no_break() {
        let (entries, _) = chain(5);
        let (_, earlier) = chain(3);
        assert_eq!(breaks(&entries, &earlier), vec![]);
    }
}
