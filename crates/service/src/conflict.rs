//! Conflicts that help: who changed the file, when, and how it differs from the version that the caller has
//! read.

use std::fmt::Write;

use panaversity_model::conflict::{ConflictDetails, LastChange};
use panaversity_model::file::{Found, may_be_text};
use panaversity_model::line_diff;
use panaversity_model::merge::ConflictRegion;
use panaversity_model::publication::FileKey;
use panaversity_model::{BookPath, ContentHash, Fault, Refusal};

use crate::authorize::WriteAccess;
use crate::call::Call;
use crate::off_thread::off_thread;
use crate::service::Service;

/// Most bytes of a diff in an answer; a longer one is cut after a line.
const DIFF_BYTES: usize = 16 * 1024;

impl Call {
    /// Adds to a conflict about the content of a file what happened to it since the version that the
    /// caller expected. Any other refusal stays as it is.
    pub(crate) async fn explained(
        &self,
        access: &WriteAccess,
        path: &BookPath,
        expected: Option<ContentHash>,
        refusal: Refusal,
    ) -> Result<Refusal, Fault> {
        let Refusal::Conflict { why, current: Some(current), details } = refusal else { return Ok(refusal) };
        let mut details = details.unwrap_or_default();
        let key = access.file(path);
        let newest = self.service.inner.journal.versions(&key, None, 1).await?;
        let newest = newest.into_iter().find(|version| version.hash == Some(current));
        details.changed = newest.map(|version| LastChange {
            agent: version.agent,
            at: version.at,
            message: version.message,
        });
        details.diff = match expected {
            Some(expected) => self.service.diff_of_versions(&key, expected, current).await?,
            None => None,
        };
        Ok(Refusal::Conflict { why, current: Some(current), details: Some(details) })
    }
}

impl Service {
    /// Unified diff of two versions of a file; `None`: one of them is not kept in this layer, or no text.
    async fn diff_of_versions(
        &self,
        key: &FileKey,
        before: ContentHash,
        after: ContentHash,
    ) -> Result<Option<String>, Fault> {
        let (before, after) = (self.version_text(key, before).await?, self.version_text(key, after).await?);
        match (before, after) {
            (Some(before), Some(after)) => self.unified_diff(before, after).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Text of a kept version of a file in its layer, if it is one.
    pub(crate) async fn version_text(
        &self,
        key: &FileKey,
        hash: ContentHash,
    ) -> Result<Option<String>, Fault> {
        let view = key.layer.view();
        let found = self.inner.journal.find_version(&key.book, &key.path, &view, hash).await?;
        match found.filter(|found| found.record.layer == key.layer) {
            Some(found) => self.text_of(&found).await,
            None => Ok(None),
        }
    }

    /// Text of a found file; `None`: it is no text, or its bytes were purged.
    pub(crate) async fn text_of(&self, found: &Found) -> Result<Option<String>, Fault> {
        if !may_be_text(&found.record.path, found.record.size) {
            return Ok(None);
        }
        let bytes = self.bytes_of(&found.blob).await.map_err(|fault| fault.about(&found.record.path))?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Unified diff of two texts, cut after 16 KiB.
    pub(crate) async fn unified_diff(&self, before: String, after: String) -> Result<String, Fault> {
        off_thread(move || cut(line_diff::unified(&before, &after))).await
    }
}

/// A conflict about these regions of a file.
pub(crate) fn merge_conflict(why: &str, current: ContentHash, regions: Vec<ConflictRegion>) -> Refusal {
    let details = ConflictDetails { regions, ..ConflictDetails::default() };
    Refusal::Conflict { why: why.to_owned(), current: Some(current), details: Some(Box::new(details)) }
}

/// The diff, cut after a line, with a remark that other readers of diffs skip.
fn cut(mut diff: String) -> String {
    if diff.len() > DIFF_BYTES {
        let fits = diff.as_bytes()[..DIFF_BYTES].iter().rposition(|byte| *byte == b'\n');
        let rest = diff.split_off(fits.map_or(0, |end| end + 1));
        // Writing to a `String` does not fail.
        let _ = writeln!(diff, "\\ {} more bytes of the diff are left out", rest.len());
    }
    diff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_diff_is_cut_after_a_line() {
        let line = format!("+{}\n", "é".repeat(100));
        let diff = cut(line.repeat(200));
        assert!(diff.len() <= DIFF_BYTES + 60, "{}", diff.len());
        assert!(diff.lines().rev().skip(1).all(|kept| kept == line.trim_end()), "{diff}");
        assert_eq!(cut(line.clone()), line);
        assert_eq!(cut("é".repeat(DIFF_BYTES)).lines().count(), 1);
    }
}
