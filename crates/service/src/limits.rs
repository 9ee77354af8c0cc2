//! Limits of a service: those that the operator sets, and every semaphore, in one place. `config check`
//! shows them.

use std::time::Duration;

/// Most concurrent publications.
pub(crate) const PUBLICATIONS_AT_ONCE: usize = 128;
/// Most concurrent publications of large files, each of which has parts of several MiB in memory.
pub(crate) const LARGE_PUBLICATIONS_AT_ONCE: usize = 2;
/// Most concurrent downloads of archives; others wait for a permit.
pub(crate) const ARCHIVES_AT_ONCE: usize = 64;
/// Segments, of about a chunk each, that all downloads of archives together may have in memory beyond the
/// one that each always may.
pub(crate) const SHARED_SEGMENTS: usize = 8;
/// Most files of all cached manifests together; beyond it the cache is emptied.
pub(crate) const CACHED_FILES: usize = 250_000;
/// Books whose schema is kept in memory.
pub(crate) const SCHEMAS: usize = 1_000;
/// Bytes of the texts that searches keep in memory.
pub(crate) const SEARCH_CACHE_BYTES: u64 = 64 << 20;
/// Most searches of texts that have a batch of files in memory beyond the cache; others wait for a permit.
pub(crate) const SEARCHES_AT_ONCE: usize = 4;
/// Most threads on which all searches together look through texts.
pub(crate) const SEARCH_THREADS: usize = 4;
/// Longest time of one search of texts.
pub(crate) const SEARCH_TIME: Duration = Duration::from_secs(10);

/// Longest time for which a reader of the feed waits before it looks by itself.
pub(crate) const FEED_POLL: Duration = Duration::from_secs(2);
/// Shortest time between two readings of one reader of the feed that has seen all there is.
pub(crate) const FEED_PAUSE: Duration = Duration::from_millis(20);

/// Limits set by the operator.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest blob stored in the database, in bytes; 0: none.
    pub inline_bytes: usize,
    /// Largest asset transferred inside a call, in bytes.
    pub direct_bytes: u64,
    /// Largest asset, in bytes.
    pub asset_bytes: u64,
    /// True if overlays are published to the tree.
    pub publish_overlays: bool,
}

/// Times of the background tasks, which no setting sets.
#[derive(Debug, Clone, Copy)]
pub struct TaskTimes {
    /// Delay of the first cleanup of uploads after the start.
    pub first_cleanup: Duration,
    /// Pause of the publisher after a failure of the storage or the database.
    pub publisher_pause: Duration,
}

impl Default for TaskTimes {
    fn default() -> Self {
        Self { first_cleanup: Duration::from_secs(10), publisher_pause: Duration::from_secs(5) }
    }
}

/// Name and value of each limit that no setting sets, as an operator reads them.
pub fn shown(tasks: TaskTimes) -> Vec<(&'static str, String)> {
    let seconds = |limit: Duration| format!("{} s", limit.as_secs());
    let counts = [
        ("publications at once", PUBLICATIONS_AT_ONCE),
        ("publications of large files at once", LARGE_PUBLICATIONS_AT_ONCE),
        ("downloads of archives at once", ARCHIVES_AT_ONCE),
        ("parts of archives in memory beyond one each", SHARED_SEGMENTS),
        ("files whose paths and hashes are kept in memory", CACHED_FILES),
        ("batches of texts searched at once", SEARCHES_AT_ONCE),
        ("threads that search texts", SEARCH_THREADS),
    ];
    let mut shown: Vec<_> = counts.map(|(name, limit)| (name, limit.to_string())).into();
    shown.push(("texts kept in memory for searches", format!("{} MiB", SEARCH_CACHE_BYTES >> 20)));
    shown.push(("search of texts", seconds(SEARCH_TIME)));
    shown.push(("look for changes without a signal", seconds(FEED_POLL)));
    shown.push(("first cleanup of uploads after the start", seconds(tasks.first_cleanup)));
    shown.push(("pause of the publisher after a failure", seconds(tasks.publisher_pause)));
    shown
}
