//! Cache of the texts that searches have read, by the hash of their bytes. Keeps R2: only checked bytes
//! enter it, and an entry never changes.

use std::sync::Arc;

use panaversity_model::ContentHash;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::limits::SEARCH_CACHE_BYTES;

/// Size of a text, by which the cache estimates how many it will have.
const USUAL_TEXT_BYTES: u64 = 4 << 10;
/// Memory of an entry beside its text.
const ENTRY_BYTES: u64 = 128;

/// A text as it is searched: UTF-8 without a byte order mark, whose lines end in `\n` alone.
/// `None`: the bytes are not text.
pub(super) type SearchableText = Option<Arc<str>>;

#[derive(Clone)]
struct ByBytes;

impl Weighter<ContentHash, SearchableText> for ByBytes {
    fn weight(&self, _: &ContentHash, text: &SearchableText) -> u64 {
        ENTRY_BYTES + text.as_ref().map_or(0, |text| text.len() as u64)
    }
}

/// Texts in memory, bounded by their bytes.
pub(crate) struct TextCache(Cache<ContentHash, SearchableText, ByBytes>);

impl Default for TextCache {
    fn default() -> Self {
        Self::of(SEARCH_CACHE_BYTES)
    }
}

impl TextCache {
    fn of(bytes: u64) -> Self {
        let usual = usize::try_from(bytes / USUAL_TEXT_BYTES).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(usual, bytes, ByBytes))
    }

    /// The cached text of a blob.
    pub(super) fn get(&self, hash: ContentHash) -> Option<SearchableText> {
        self.0.get(&hash)
    }

    /// Caches the text of a blob.
    pub(super) fn put(&self, hash: ContentHash, text: SearchableText) {
        self.0.insert(hash, text);
    }
}

/// The form in which the bytes of a file are searched.
pub(super) fn searchable(bytes: Vec<u8>) -> SearchableText {
    let text = String::from_utf8(bytes).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Some(if text.contains("\r\n") { text.replace("\r\n", "\n").into() } else { text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_searched_without_its_byte_order_mark_and_the_returns_of_its_line_ends() {
        let form = |bytes: &[u8]| searchable(bytes.to_vec());
        assert_eq!(form(b"a\r\nb\r\r\nc\rd\n").as_deref(), Some("a\nb\r\nc\rd\n"));
        assert_eq!(form("\u{feff}a\n\u{feff}".as_bytes()).as_deref(), Some("a\n\u{feff}"));
        assert_eq!(form(b"").as_deref(), Some(""));
        assert_eq!(form(b"\x89PNG\xff"), None);
    }

    #[test]
    fn the_cache_holds_no_more_bytes_than_it_may() {
        let cache = TextCache::of(1 << 20);
        for n in 0..2_000_u32 {
            cache.put(ContentHash::of(&n.to_le_bytes()), searchable(vec![b'x'; 4_000]));
            assert!(cache.0.weight() <= 1 << 20);
        }
        assert!(cache.0.len() > 100, "{}", cache.0.len());
        let last = ContentHash::of(&1_999_u32.to_le_bytes());
        assert_eq!(cache.get(last).flatten().map(|text| text.len()), Some(4_000));
    }
}
