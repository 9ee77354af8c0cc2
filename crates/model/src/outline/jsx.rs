//! Lines of tags, hidden from the parser. `CommonMark` takes a line that is a tag for the beginning of raw
//! HTML, which lasts to the next empty line; in MDX, as Docusaurus reads `.md` too, what follows `<Tabs>` is
//! Markdown. Such a line is replaced by spaces, so that all offsets stay. Comments and elements that hold
//! raw text stay what they are.

use std::borrow::Cow;

/// Elements whose content is no Markdown.
const RAW: [&str; 4] = ["pre", "script", "style", "textarea"];

/// A page whose lines of tags are empty.
pub(super) fn without_tag_lines(text: &str) -> Cow<'_, str> {
    let mut page = Cow::Borrowed(text);
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let tag = line.trim();
        let indent = line.len() - line.trim_start().len();
        if is_tag(tag) {
            // A tag that goes on in the next line loses only its bracket: what follows may be text.
            let hidden = if tag.ends_with('>') { tag.len() } else { usize::from(!tag.contains('>')) };
            let place = start + indent..start + indent + hidden;
            page.to_mut().replace_range(place, &" ".repeat(hidden));
        }
        start += line.len();
    }
    page
}

/// True if a text begins with an opening or closing tag of an element whose content is Markdown.
fn is_tag(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('<') else { return false };
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let name_end =
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(rest.len());
    let name = &rest[..name_end];
    let is_fragment = name.is_empty() && rest.starts_with('>');
    (is_fragment || name.starts_with(|c: char| c.is_ascii_alphabetic()))
        && !RAW.iter().any(|raw| name.eq_ignore_ascii_case(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tags_are_empty_and_every_other_byte_stays() {
        for (page, hidden) in [
            ("<Tabs>\n## A\n", "      \n## A\n"),
            ("  </TabItem>\r\n## A", "            \r\n## A"),
            ("<>\ntext\n</>\n", "  \ntext\n   \n"),
            ("<div\n  id=\"x\">\n# A\n", " div\n  id=\"x\">\n# A\n"),
            ("<é>\n", "<é>\n"),
            ("<Tab label=\"é\">\n# A", "                \n# A"),
            ("<b>bold</b> text\n===\n", "<b>bold</b> text\n===\n"),
            ("<!--\n# A\n-->\n", "<!--\n# A\n-->\n"),
            ("<pre>\n# A\n</pre>\n", "<pre>\n# A\n</pre>\n"),
            ("a < b\n<3\n", "a < b\n<3\n"),
        ] {
            let found = without_tag_lines(page);
            assert_eq!(found.len(), page.len(), "{page:?}");
            assert_eq!(found, hidden, "{page:?}");
        }
    }
}
