//! Checks that parts add up to the announced size: a shorter or longer file is never published.

use futures::TryStreamExt;
use panaversity_model::Fault;
use panaversity_model::ports::ByteStream;

/// Parts with the number of bytes still expected.
pub(crate) struct ExactLength {
    parts: ByteStream,
    due: u64,
    told: u64,
}

impl ExactLength {
    /// Expects these parts to have `told` bytes in total.
    pub(crate) fn new(told: u64, parts: ByteStream) -> Self {
        Self { parts, due: told, told }
    }

    /// The next part; `None`: the end, with the announced size.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let wrong = |how| Fault::corrupt(format!("a file of {} bytes came with {how} bytes", self.told));
        let Some(part) = self.parts.try_next().await? else {
            return if self.due == 0 { Ok(None) } else { Err(wrong("fewer")) };
        };
        self.due = self.due.checked_sub(part.len() as u64).ok_or_else(|| wrong("more"))?;
        Ok(Some(part))
    }
}
