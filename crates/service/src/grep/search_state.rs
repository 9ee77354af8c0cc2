//! State shared by all searches of texts: the cache, and the permits for batches and threads.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::text_cache::TextCache;
use crate::limits::{SEARCH_THREADS, SEARCHES_AT_ONCE};

/// State shared by all searches of texts.
pub(crate) struct SearchState {
    pub(super) texts: TextCache,
    pub(super) batches: Semaphore,
    pub(super) threads: Arc<Semaphore>,
}

impl Default for SearchState {
    fn default() -> Self {
        Self {
            texts: TextCache::default(),
            batches: Semaphore::new(SEARCHES_AT_ONCE),
            threads: Arc::new(Semaphore::new(SEARCH_THREADS)),
        }
    }
}
