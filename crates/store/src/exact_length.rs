//! Parts that must add up to the size that was told: what is shorter or longer is never published.

use panaversity_model::Fault;
use panaversity_model::ports::Parts;

/// Parts, and how many bytes are still due.
pub(crate) struct ExactLength {
    parts: Parts,
    due: u64,
    told: u64,
}

impl ExactLength {
    /// These parts, of so many bytes in all.
    pub(crate) fn new(told: u64, parts: Parts) -> Self {
        Self { parts, due: told, told }
    }

    /// The next part; `None`: that was all, and it was as much as was told.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let wrong = |how| Fault::corrupt(format!("a file of {} bytes came with {how} bytes", self.told));
        let Some(part) = self.parts.next().await? else {
            return if self.due == 0 { Ok(None) } else { Err(wrong("fewer")) };
        };
        self.due = self.due.checked_sub(part.len() as u64).ok_or_else(|| wrong("more"))?;
        Ok(Some(part))
    }
}
