//! Canonical form of an audit entry, over which its hash is computed. Keeps R6.
//!
//! # Format
//! `entry_hash` is the SHA-256 of the ASCII tag `panaversity-audit-1` followed by the columns id,
//! timestamp, `agent_id`, operation, `book_id`, path, `user_id`, status, `error_code`,
//! `error_message`, `execution_time_ms`, `request_id`, `change_id`, `old_content_hash`,
//! `new_content_hash`, `prev_hash`, in this order. A NULL column is the byte 0; any other is the
//! byte 1, the length of its text in bytes as a big-endian u32, and the text in UTF-8. Numbers
//! are decimal; the timestamp is RFC 3339 in UTC with six decimals and `Z`. The form is therefore the
//! same on both databases, and unique per row.

use sha2::{Digest, Sha256};

use super::AuditEntry;
use crate::hash::ContentHash;

impl AuditEntry {
    /// Hash computed from its columns, which `entry_hash` should equal.
    pub fn computed_hash(&self) -> String {
        let timestamp = self.timestamp.to_string();
        let elapsed = self.execution_time_ms.to_string();
        let columns: [Option<&str>; 16] = [
            Some(&self.id),
            Some(&timestamp),
            Some(&self.agent_id),
            Some(&self.operation),
            Some(&self.book_id),
            Some(&self.path),
            Some(&self.user_id),
            Some(&self.status),
            self.error_code.as_deref(),
            self.error_message.as_deref(),
            Some(&elapsed),
            Some(&self.request_id),
            self.change_id.as_deref(),
            self.old_content_hash.as_deref(),
            self.new_content_hash.as_deref(),
            self.prev_hash.as_deref(),
        ];
        let mut digest = Sha256::new_with_prefix("panaversity-audit-1");
        for column in columns {
            add_column(&mut digest, column);
        }
        ContentHash::from_bytes(digest.finalize().into()).to_string()
    }
}

/// Adds a column in its canonical form.
pub(crate) fn add_column(digest: &mut Sha256, column: Option<&str>) {
    match column {
        None => digest.update([0]),
        Some(text) => {
            digest.update([1]);
            digest.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            digest.update(text.as_bytes());
        }
    }
}
