//! JavaScript expressions of MDX: `{...}` outside code. Their braces are matched in one pass; strings and
//! comments inside may hold braces. In `.md`, which may be plain Markdown, an expression ends within its
//! paragraph, so that a lone brace hides no more than that.

use super::Ranges;

/// Outermost expressions of a page, in order.
pub(crate) fn ranges(text: &str, code: &Ranges, is_mdx: bool) -> Ranges {
    let bytes = text.as_bytes();
    let (mut found, mut open, mut at) = (Ranges::default(), Vec::new(), 0);
    while at < bytes.len() {
        if let Some(code) = code.around(at) {
            at = code.end.max(at + 1);
            continue;
        }
        match bytes[at] {
            b'{' => open.push(at),
            b'}' => {
                if let Some(start) = open.pop() {
                    while found.last().is_some_and(|inner| inner.start > start) {
                        found.pop();
                    }
                    found.push(start..at + 1);
                }
            }
            b'\n' if !is_mdx && bytes.get(at + 1) == Some(&b'\n') => open.clear(),
            quote @ (b'"' | b'\'' | b'`') if !open.is_empty() => {
                at = end_of_string(bytes, at, quote);
                continue;
            }
            b'/' if !open.is_empty() && bytes.get(at + 1) == Some(&b'*') => {
                let end = text[at + 2..].find("*/");
                // A comment without an end closes nothing: the rest is no expression.
                let Some(end) = end else { return found };
                at += 2 + end + 2;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// End of the string that begins at `at`; a string in quotes ends with its line.
fn end_of_string(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' => end += 1,
            b'\n' if quote != b'`' => return end,
            byte if byte == quote => return end + 1,
            _ => {}
        }
        end += 1;
    }
    // Not closed: it is no string.
    at + 1
}
