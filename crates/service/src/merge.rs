//! `write_content` with `on_conflict: merge`: the changes of others since the version that the caller has
//! read are taken into the caller's text.
//!
//! # Protocol
//! 1. If the file is not as the caller expects, and the expected version is kept, its text, the current and
//!    the new one are merged line by line. Regions that both have changed are a `CONFLICT`.
//! 2. If the file is an overlay's and its base has changed since it was written, the change of the base is
//!    merged into the result in the same way.
//! 3. The result is committed with the hash of the current text as precondition, after 2 with that of the
//!    base too, and both parents in the audit entry.
//! 4. If the file, or the base, has changed again meanwhile, begin again.

use panaversity_model::change::{Applied, Change};
use panaversity_model::fault::FaultKind;
use panaversity_model::file::{BaseChange, OverlaidFile, check_text_size};
use panaversity_model::merge::{ConflictRegion, Merge, merge};
use panaversity_model::publication::FileKey;
use panaversity_model::{BookPath, ContentHash, Error, Fault, Layer, Refusal};

use crate::authorize::WriteAccess;
use crate::call::Call;
use crate::commit::{NewContent, only};
use crate::conflict::merge_conflict;
use crate::edit::is_stale;
use crate::off_thread::off_thread;
use crate::write::{Write, check_text_path};

/// Most attempts to merge with a text that others change meanwhile; in each at least one of them succeeds.
const MERGED_AGAIN: usize = 200;

const NOT_KEPT: &str = "The file has changed, and the version you named in expected_hash is not kept, so \
    nothing can be merged";
const SAME_LINES: &str =
    "Both you and others have changed the same lines since the version you named in expected_hash";
const BASE_NOT_KEPT: &str = "The base has changed since the overlay was written, and its version of that \
    time is not kept, so nothing can be merged";
const BASE_SAME_LINES: &str =
    "Both you and the base have changed the same lines since the overlay was written";

impl Call {
    /// Writes a text file as [`write_content`](Self::write_content), merged with the changes of others.
    pub async fn write_merged(&mut self, write: Write<String>) -> Result<Applied, Error> {
        let Write { access, path, content, expected } = write;
        check_text_size(&content)?;
        check_text_path(&path)?;
        for _ in 0..MERGED_AGAIN {
            let change = match expected {
                Some(expected) => self.merged_change(&access, &path, &content, expected).await?,
                None => self.plain_change(&path, &content, None),
            };
            match self.change_set(&access, vec![change], None).await? {
                Ok(set) => return Ok(only(set.files)?),
                Err((_, refusal)) if expected.is_some() && is_stale(&refusal) => {
                    if matches!(refusal, Refusal::NotFound { .. }) {
                        return Err(refusal.into());
                    }
                }
                Err((_, refusal)) => {
                    return Err(self.explained(&access, &path, expected, refusal).await?.into());
                }
            }
        }
        Err(Fault::new(FaultKind::Timeout, "the file changed again and again while it was merged").into())
    }

    /// Steps 1 and 2: the change to commit.
    async fn merged_change(
        &self,
        access: &WriteAccess,
        path: &BookPath,
        content: &str,
        expected: ContentHash,
    ) -> Result<Change<NewContent>, Error> {
        let journal = &self.service.inner.journal;
        let overlaid = journal.find_overlaid(access.book(), path, &access.view()).await?;
        let overlaid = overlaid.filter(|file| file.found.record.layer == *access.layer());
        let Some(OverlaidFile { found, base_change }) = overlaid else {
            return Ok(self.plain_change(path, content, Some(expected)));
        };
        let key = access.file(path);
        let (current, mut text, mut parent) = (found.record.hash, content.to_owned(), None);
        if current != expected && current != ContentHash::of(content.as_bytes()) {
            let base = self.service.version_text(&key, expected).await?;
            let (Some(base), Some(now)) = (base, self.service.text_of(&found).await?) else {
                return Err(merge_conflict(NOT_KEPT, current, Vec::new()).into());
            };
            text = match merged(base, now, text).await? {
                Ok(text) => text,
                Err(regions) => {
                    let refusal = merge_conflict(SAME_LINES, current, regions);
                    return Err(self.explained(access, path, Some(expected), refusal).await?.into());
                }
            };
            parent = Some(expected);
        }
        let below = match base_change {
            Some(BaseChange { then, now: Some(now) }) => {
                text = self.merged_with_base(&key, then, now, current, text).await?;
                Some(now)
            }
            _ => None,
        };
        check_text_size(&text)?;
        let mut change = self.plain_change(path, &text, Some(current));
        change.base = below;
        change.parents = below.or(parent).map(|parent| [parent, current]);
        Ok(change)
    }

    /// Step 2.
    async fn merged_with_base(
        &self,
        key: &FileKey,
        then: Option<ContentHash>,
        now: ContentHash,
        current: ContentHash,
        text: String,
    ) -> Result<String, Error> {
        let key = FileKey { layer: Layer::Base, ..key.clone() };
        let then = match then {
            Some(then) => self.service.version_text(&key, then).await?,
            None => None,
        };
        let (Some(then), Some(now)) = (then, self.service.version_text(&key, now).await?) else {
            return Err(merge_conflict(BASE_NOT_KEPT, current, Vec::new()).into());
        };
        let merged = merged(then, now, text).await?;
        Ok(merged.map_err(|regions| merge_conflict(BASE_SAME_LINES, current, regions))?)
    }

    fn plain_change(&self, path: &BookPath, text: &str, expected: Option<ContentHash>) -> Change<NewContent> {
        let content = NewContent::of(text.as_bytes().to_vec());
        Change::new(self.operation, path.clone(), content, expected)
    }
}

/// A merge on a thread of its own: the text, or the regions in conflict.
async fn merged(
    base: String,
    current: String,
    new: String,
) -> Result<Result<String, Vec<ConflictRegion>>, Fault> {
    Ok(match off_thread(move || merge(&base, &current, &new)).await? {
        Merge::Clean(text) => Ok(text),
        Merge::Conflicts(regions) => Err(regions),
    })
}
