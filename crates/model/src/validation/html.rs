//! `href` and `src` attributes of raw HTML and JSX tags, with quoted values. Comments are skipped.

use pulldown_cmark::CowStr;

/// Calls `found` with the offset and the target of each attribute.
pub(super) fn each_target<'a>(markup: &'a str, mut found: impl FnMut(usize, CowStr<'a>)) {
    let mut at = 0;
    while let Some(open) = markup[at..].find('<') {
        at += open + 1;
        let rest = &markup[at..];
        if rest.starts_with("!--") {
            let Some(end) = rest.find("-->") else { return };
            at += end;
        } else if rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            at = attributes(markup, at, &mut found);
        }
    }
}

/// Reads the attributes of the tag whose name begins at `at`; returns where it ends.
fn attributes<'a>(markup: &'a str, mut at: usize, found: &mut impl FnMut(usize, CowStr<'a>)) -> usize {
    let bytes = markup.as_bytes();
    let mut name = at..at;
    while at < bytes.len() {
        match bytes[at] {
            b'>' | b'<' => return at,
            quote @ (b'"' | b'\'') => {
                let Some(length) = markup[at + 1..].find(char::from(quote)) else { return bytes.len() };
                let value = &markup[at + 1..at + 1 + length];
                let is_target =
                    ["href", "src"].iter().any(|known| markup[name.clone()].eq_ignore_ascii_case(known));
                if is_target && bytes[name.end..at].trim_ascii() == b"=" {
                    let target =
                        if value.contains('&') { value.replace("&amp;", "&").into() } else { value.into() };
                    found(name.start, target);
                }
                at += length + 2;
                name = at..at;
            }
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'@') => {
                let start = at;
                while bytes.get(at).is_some_and(|byte| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'@')
                }) {
                    at += 1;
                }
                name = start..at;
            }
            // An attribute whose name is not plain ASCII is none of ours.
            _ => at += 1,
        }
    }
    at
}
