//! `list_history` and `blame_content`: the kept versions of a file, and which of them last wrote each of its
//! lines. Both follow the file through moves, to the path from which it came.

use std::ops::Range;

use panaversity_model::audit::EntryFilter;
use panaversity_model::blame::{Blame, Run};
use panaversity_model::file::may_be_text;
use panaversity_model::lines::{LineIndex, LineRange};
use panaversity_model::publication::FileKey;
use panaversity_model::version::FileVersion;
use panaversity_model::{BookPath, ContentHash, Error, Fault, Layer, Refusal};

use crate::authorize::ReadAccess;
use crate::call::Call;
use crate::off_thread::off_thread;
use crate::service::Service;

/// Most versions on a page.
pub const PAGE_VERSIONS: usize = 100;
/// Most versions that are compared to find who wrote a line.
const COMPARED: usize = 1_000;
/// Versions that are read at once.
const READ_AT_ONCE: usize = 16;

/// Position at which a history goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPosition {
    /// Path at which the older versions are.
    pub path: BookPath,
    /// They are older than this version.
    pub before: i64,
}

/// A page of a history.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The layer whose versions these are: the one in which the caller sees the file.
    pub layer: Layer,
    /// The versions, newest first.
    pub versions: Vec<FileVersion>,
    /// Position of the next page.
    pub next: Option<HistoryPosition>,
}

/// Lines in a row that one version wrote last.
#[derive(Debug, Clone)]
pub struct BlamedRun {
    /// The lines, counted from 0.
    pub lines: Range<usize>,
    /// The version that wrote them.
    pub version: FileVersion,
    /// Whether an older version, which is no longer kept, may have written them.
    pub older: bool,
}

/// Who wrote the lines of a file.
#[derive(Debug, Clone)]
pub struct Blamed {
    /// The runs, in the order of the lines.
    pub runs: Vec<BlamedRun>,
    /// Hash of the file.
    pub hash: ContentHash,
    /// Number of its lines.
    pub total_lines: usize,
}

impl Call {
    /// Lists the kept versions of a file, also of a deleted one.
    pub async fn list_history(
        &self,
        access: &ReadAccess,
        path: &BookPath,
        after: Option<HistoryPosition>,
    ) -> Result<HistoryPage, Error> {
        let layer = self.layer_of(access, path).await?;
        let start = after.unwrap_or(HistoryPosition { path: path.clone(), before: i64::MAX });
        let key = FileKey { layer: layer.clone(), ..access.file(&start.path) };
        let (versions, next) = self.service.history(&key, start.before, PAGE_VERSIONS).await?;
        if versions.is_empty() && next.is_none() && start.before == i64::MAX {
            return Err(self.missing(access, path, None).await?.into());
        }
        Ok(HistoryPage { layer, versions, next })
    }

    /// Finds the versions that last wrote the lines of a file; of all lines, or of these.
    pub async fn blame_content(
        &self,
        access: &ReadAccess,
        path: &BookPath,
        lines: Option<LineRange>,
    ) -> Result<Blamed, Error> {
        let layer = self.layer_of(access, path).await?;
        let key = FileKey { layer, ..access.file(path) };
        let (mut versions, _) = self.service.history(&key, i64::MAX, COMPARED).await?;
        // Beyond a deletion the file was another one.
        versions.truncate(versions.iter().position(|version| version.hash.is_none()).unwrap_or(COMPARED));
        let Some(hash) = versions.first().and_then(|version| version.hash) else {
            return Err(self.missing(access, path, None).await?.into());
        };
        let Some(text) = self.service.texts(&versions[..1]).await?.pop() else {
            return Err(Refusal::argument("path", "the file is no text, so it has no lines").into());
        };
        let total_lines = LineIndex::of(&text).total();
        let asked = match lines {
            Some(lines) => lines.of(&text).map(|asked| asked.first_line - 1..asked.last_line)?,
            None => 0..total_lines,
        };
        let (blame, oldest) = self.service.compare_versions(text, asked, &versions).await?;
        let older = match oldest {
            Some(at) if at + 1 < versions.len() || versions.len() == COMPARED => true,
            Some(at) => self.service.had_content_before(&key, &versions[at]).await?,
            None => false,
        };
        let run = |run: Run| {
            let version = versions.get(run.version)?.clone();
            Some(BlamedRun { lines: run.lines, version, older: older && Some(run.version) == oldest })
        };
        Ok(Blamed { runs: blame.runs().into_iter().filter_map(run).collect(), hash, total_lines })
    }

    /// The layer in which a view shows the file; for a deleted one its own layer.
    async fn layer_of(&self, access: &ReadAccess, path: &BookPath) -> Result<Layer, Error> {
        let found = self.service.inner.journal.find(access.book(), path, &access.view()).await?;
        Ok(found.map_or_else(|| access.layer().clone(), |found| found.record.layer))
    }
}

impl Service {
    /// Up to `limit` versions of a file before a version, newest first, and where the older ones are. At a
    /// move they go on at the path from which the file was moved.
    async fn history(
        &self,
        key: &FileKey,
        before: i64,
        limit: usize,
    ) -> Result<(Vec<FileVersion>, Option<HistoryPosition>), Fault> {
        let (mut key, mut before) = (key.clone(), before);
        let mut versions: Vec<FileVersion> = Vec::new();
        while versions.len() < limit {
            // One more tells whether there are older ones.
            let wanted = limit - versions.len();
            let mut page = self.inner.journal.versions(&key, Some(before), wanted + 1).await?;
            let moved = page.iter().position(|version| version.moved_from.is_some());
            let complete = moved.is_none() && page.len() <= wanted;
            page.truncate(moved.map_or(wanted, |at| at + 1).min(wanted));
            let last =
                page.last().map(|version| (version.version, version.moved_from.clone(), version.change));
            versions.extend(page);
            let Some((version, moved_from, change)) = last.filter(|_| !complete) else {
                return Ok((versions, None));
            };
            before = version;
            if let Some(path) = moved_from {
                key.path = path;
                // The deletion at the old path is part of the move.
                let newest = self.inner.journal.versions(&key, Some(before), 1).await?;
                let deletion = newest.first().filter(|old| old.change == change && old.hash.is_none());
                before = deletion.map_or(before, |deletion| deletion.version);
            }
        }
        Ok((versions, Some(HistoryPosition { path: key.path, before })))
    }

    /// Compares the versions of a file, newest first, until every line has one. Also returns the number of
    /// the version that got the lines which no comparison attributed, if there are any.
    async fn compare_versions(
        &self,
        newest: String,
        asked: Range<usize>,
        versions: &[FileVersion],
    ) -> Result<(Blame, Option<usize>), Fault> {
        let mut blame = Blame::of(newest, asked);
        let mut compared = 1;
        while compared < versions.len() && !blame.is_complete() {
            let next = &versions[compared..(compared + READ_AT_ONCE).min(versions.len())];
            let texts = self.texts(next).await?;
            let is_cut = texts.len() < next.len();
            compared += texts.len();
            let step = move || {
                for text in texts {
                    blame.compare(text);
                }
                blame
            };
            blame = off_thread(step).await?;
            if is_cut {
                break;
            }
        }
        let oldest = (!blame.is_complete()).then_some(compared - 1);
        blame.end();
        Ok((blame, oldest))
    }

    /// Texts of versions, in their order, up to the first that is no text or whose bytes are gone.
    async fn texts(&self, versions: &[FileVersion]) -> Result<Vec<String>, Fault> {
        let hashes: Vec<ContentHash> = versions.iter().filter_map(|version| version.hash).collect();
        let blobs = self.inner.journal.blobs(&hashes).await?;
        let mut texts = Vec::with_capacity(versions.len());
        for version in versions {
            let stored = blobs.iter().find(|stored| Some(stored.blob.hash) == version.hash);
            let bytes = match stored {
                Some(stored) if may_be_text(&version.path, version.size) => {
                    self.bytes_of(stored).await.map_err(|fault| fault.about(&version.path))?
                }
                _ => None,
            };
            let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) else { break };
            texts.push(text);
        }
        Ok(texts)
    }

    /// Whether the oldest kept version replaced another one, as the audit log says.
    async fn had_content_before(&self, key: &FileKey, oldest: &FileVersion) -> Result<bool, Fault> {
        let filter = EntryFilter {
            book: Some(key.book.clone()),
            path_from: Some(oldest.path.as_str().to_owned()),
            // No path has a control character, so only this one is below it.
            path_to: Some(format!("{}\u{1}", oldest.path.as_str())),
            layer: Some(key.layer.clone()),
            from: Some(oldest.at),
            to: Some(oldest.at),
            ..EntryFilter::default()
        };
        let entries = self.inner.journal.entries(&filter, None, 1).await?;
        Ok(entries.iter().any(|entry| entry.old_content_hash.is_some()))
    }
}
