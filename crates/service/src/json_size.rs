//! Size of answers as JSON, by which pages of content are bounded: a control character takes six bytes
//! there. Keeps an answer below the contract's 1 MB, unless a single file is larger. An answer is sent
//! as structured content and as text; one copy of it is counted.

use panaversity_model::audit::AuditEntry;
use panaversity_model::outline::Heading;

/// Most bytes of JSON on a page.
pub const PAGE_BYTES: u64 = 800_000;
/// Bytes of a file in an answer apart from its path and text: keys, hashes, times.
const FILE_BYTES: u64 = 300;
/// Bytes of a heading in an answer apart from its title and slug: keys and numbers.
const HEADING_BYTES: u64 = 100;
/// Bytes of an audit entry apart from its free text: keys, ids, four hashes, names of bounded length.
const ENTRY_BYTES: u64 = 1_000;

/// Bytes of a text between its quotes, with only the escapes that JSON requires.
pub(crate) fn of_text(text: &str) -> u64 {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

/// Bytes of a file in a list, with its text if the answer includes it.
pub(crate) fn of_file(path: &str, text: Option<&str>) -> u64 {
    FILE_BYTES + of_text(path) + text.map_or(0, of_text)
}

/// Bytes of an entry of the audit log.
pub(crate) fn of_entry(entry: &AuditEntry) -> u64 {
    let free = [&entry.agent_id, &entry.path].into_iter().chain(&entry.error_message);
    ENTRY_BYTES + free.map(|text| of_text(text)).sum::<u64>()
}

/// Bytes of a heading in an outline.
pub(crate) fn of_heading(heading: &Heading) -> u64 {
    HEADING_BYTES + of_text(&heading.title) + of_text(&heading.slug)
}

/// Number of these entries that fit a page: at least one, if there is one.
pub(crate) fn page_length(sizes: impl Iterator<Item = u64>) -> usize {
    let (mut bytes, mut count) = (0, 0);
    for size in sizes {
        bytes += size;
        if bytes > PAGE_BYTES && count > 0 {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_as_long_as_it_is_in_json() {
        let odd: String =
            (0..0x100).filter_map(char::from_u32).chain("\u{2028}\u{1f469}\u{fffd}".chars()).collect();
        for text in ["", "plain", "line\nline\r\n\t\"quoted\" \\", "\u{1}\u{1f}\u{7f}", odd.as_str()] {
            assert_eq!(of_text(text), serde_json::to_string(text).unwrap().len() as u64 - 2, "{text:?}");
        }
    }

    #[test]
    fn a_page_takes_one_entry_however_large_and_others_while_they_fit() {
        let length = |sizes: &[u64]| page_length(sizes.iter().copied());
        assert_eq!(length(&[]), 0);
        assert_eq!(length(&[PAGE_BYTES * 9, 1]), 1);
        assert_eq!(length(&[1, PAGE_BYTES * 9]), 1);
        assert_eq!(length(&[PAGE_BYTES - 1, 1, 1]), 2);
    }
}
