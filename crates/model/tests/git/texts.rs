//! Random texts and edits of them.

use proptest::prelude::*;

/// Texts of few different lines, so that they repeat.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec!["one\n", "two\n", "three\n", "  four\n", "\n", "    five\n", "}\n"]);
    (prop::collection::vec(line, 0..40), prop::bool::ANY).prop_map(|(lines, ended)| {
        let text = lines.concat();
        if ended { text } else { text.trim_end_matches('\n').to_owned() }
    })
}

/// An edit of a text: lines replaced by others, from a position that is a share of its length.
pub(crate) type TextEdit = (u8, usize, Vec<&'static str>);

/// Edits with new lines, some of which other texts have too.
pub(crate) fn any_edit() -> impl Strategy<Value = TextEdit> {
    let line = prop::sample::select(vec!["one\n", "two\n", "\n", "new\n", "  newer\n", "}\n"]);
    (any::<u8>(), 0usize..4, prop::collection::vec(line, 0..4))
}

/// The text after an edit.
pub(crate) fn edited(text: &str, (at, removed, added): &TextEdit) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let at = usize::from(*at) * lines.len() / 256;
    let end = (at + removed).min(lines.len());
    lines.splice(at..end, added.iter().copied());
    lines.concat()
}

/// Pages as people write them: lines of their own, and blank ones, list marks and braces that repeat.
pub(crate) fn any_page() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec!["text", "blank", "item", "code", "brace"]);
    (prop::collection::vec(kind, 0..40), prop::bool::ANY).prop_map(|(kinds, ended)| {
        let lines = kinds.iter().enumerate().map(|(n, kind)| page_line(kind, &n.to_string()));
        let text = lines.collect::<Vec<_>>().concat();
        if ended { text } else { text.trim_end_matches('\n').to_owned() }
    })
}

/// An edit of a page: lines replaced by new ones of these kinds.
pub(crate) type PageEdit = (u8, usize, Vec<&'static str>);

pub(crate) fn any_page_edit() -> impl Strategy<Value = PageEdit> {
    let kind = prop::sample::select(vec!["text", "text", "blank", "item", "code"]);
    (any::<u8>(), 0usize..4, prop::collection::vec(kind, 0..4))
}

/// The page after an edit; `round` makes its lines differ from those of others.
pub(crate) fn edited_page(text: &str, round: usize, (at, removed, added): &PageEdit) -> String {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let at = usize::from(*at) * lines.len() / 256;
    let end = (at + removed).min(lines.len());
    let added = added.iter().enumerate().map(|(n, kind)| page_line(kind, &format!("{round}.{n}")));
    lines.splice(at..end, added);
    lines.concat()
}

fn page_line(kind: &str, name: &str) -> String {
    match kind {
        "blank" => "\n".to_owned(),
        "item" => format!("  - item {name}\n"),
        "code" => format!("    code {name}\n"),
        "brace" => "}\n".to_owned(),
        _ => format!("Text {name}.\n"),
    }
}
