//! Comparison of a log with an earlier export of it. Keeps R6 even against the owner of the database, who can
//! rewrite all chains consistently, but not the file that was taken away before.

use std::collections::BTreeMap;

use super::{ChainTip, ExportLine};
use crate::audit::ChainKey;
use crate::chain::ChainError;

/// The chains of an earlier export, in memory that grows with their number.
#[derive(Debug, Clone, Default)]
pub struct EarlierTips {
    tips: BTreeMap<ChainKey, ChainTip>,
}

impl EarlierTips {
    /// Adds a line of the export. Empty chains promise nothing and are left out.
    pub fn add(&mut self, line: &ExportLine) {
        if let ExportLine::Chain(chain) = line
            && chain.count > 0
        {
            self.tips.insert(chain.key(), chain.clone());
        }
    }

    /// Keeps the chains for which `keep` is true.
    pub fn retain(&mut self, keep: impl Fn(&ChainKey) -> bool) {
        self.tips.retain(|key, _| keep(key));
    }

    /// Number of chains.
    pub fn count(&self) -> usize {
        self.tips.len()
    }
}

/// Checks that each earlier chain is a prefix of the later one: at the earlier count, the later chain has the
/// earlier tip. Since each entry contains the hash of the one before it, all entries before are then the same.
#[derive(Debug, Default)]
pub struct PrefixChecker {
    earlier: BTreeMap<ChainKey, ChainTip>,
    /// The current chain's earlier state and the number of its entries so far.
    current: Option<(ChainTip, i64)>,
    breaks: Vec<ChainError>,
}

impl PrefixChecker {
    /// Begins a comparison.
    pub fn new(earlier: EarlierTips) -> Self {
        Self { earlier: earlier.tips, ..Self::default() }
    }

    /// Takes the next line of the later state.
    pub fn add(&mut self, line: &ExportLine) {
        match line {
            ExportLine::Chain(chain) => {
                self.end_chain();
                self.current = self.earlier.remove(&chain.key()).map(|earlier| (earlier, 0));
            }
            ExportLine::Entry(entry) => {
                let Some((earlier, seen)) = &mut self.current else { return };
                *seen += 1;
                if *seen == earlier.count {
                    if earlier.tip.as_ref() != Some(&entry.entry_hash) {
                        let reason =
                            format!("the chain was rewritten: its entry {seen} was another one then");
                        self.breaks.push(ChainError {
                            key: earlier.key(),
                            id: Some(entry.id.clone()),
                            reason,
                        });
                    }
                    self.current = None;
                }
            }
            ExportLine::End(_) => {}
        }
    }

    fn end_chain(&mut self) {
        if let Some((earlier, seen)) = self.current.take() {
            let reason =
                format!("the chain was cut off: it has {seen} entries, then it had {}", earlier.count);
            self.breaks.push(ChainError { key: earlier.key(), id: None, reason });
        }
    }

    /// All chains that are not as they were.
    pub fn finish(mut self) -> Vec<ChainError> {
        self.end_chain();
        let gone = self.earlier.into_iter().map(|(key, earlier)| {
            let reason = format!("the chain is gone: then it had {} entries", earlier.count);
            ChainError { key, id: None, reason }
        });
        self.breaks.into_iter().chain(gone).collect()
    }
}
