//! Differences of two texts as tables: by lines, and within changed lines by words. Invariant: a table has a
//! bounded number of rows, and a row a bounded number of bytes.

use std::ops::Range;

use maud::{Markup, html};
use panaversity_model::line_diff::{Hunk, Placement, hunks};
use panaversity_model::word_diff::changed_words;

use super::text::cut;

/// Unchanged lines around a change.
const CONTEXT: usize = 3;
/// What a page with differences takes of the memory for large answers.
pub(super) const MOST_BYTES: u64 = 4 << 20;

/// Layout of a table of differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DiffStyle {
    SideBySide,
    Inline,
}

impl DiffStyle {
    pub(super) fn parse(text: Option<&str>) -> Self {
        if text == Some("inline") { Self::Inline } else { Self::SideBySide }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::SideBySide => "side",
            Self::Inline => "inline",
        }
    }
}

/// A line with its number.
type NumberedLine<'a> = (usize, &'a str);

/// Row of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DiffRow<'a> {
    /// Unchanged lines are left out.
    Gap,
    Same(NumberedLine<'a>, NumberedLine<'a>),
    Changed(Option<NumberedLine<'a>>, Option<NumberedLine<'a>>),
}

/// The differences of two texts, up to a number of rows.
pub(super) fn render(before: &str, after: &str, style: DiffStyle, most: usize) -> Markup {
    let rows = rows(before, after);
    let is_cut = rows.len() > most;
    html! {
        @if rows.is_empty() {
            p { "They are the same." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Differences" {
                table class={ "diff " (style.as_str()) } {
                    tbody {
                        @for row in rows.iter().take(most) {
                            @match style {
                                DiffStyle::SideBySide => (side_by_side(row)),
                                DiffStyle::Inline => (inline(row)),
                            }
                        }
                    }
                }
            }
            @if is_cut { p.notice { "There are more differences: the first " (most) " lines are shown." } }
        }
    }
}

fn rows<'a>(before: &'a str, after: &'a str) -> Vec<DiffRow<'a>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let (mut rows, mut at) = (Vec::new(), (0, 0));
    let hunks = hunks(before, after, Placement::Indentation);
    for (n, hunk) in hunks.iter().enumerate() {
        let same = hunk.before.start - at.0;
        let above = same.min(CONTEXT);
        if same > above {
            rows.push(DiffRow::Gap);
        }
        let line = |lines: &[&'a str], n: usize| (n + 1, lines.get(n).copied().unwrap_or_default());
        for back in (1..=above).rev() {
            rows.push(DiffRow::Same(
                line(&old, hunk.before.start - back),
                line(&new, hunk.after.start - back),
            ));
        }
        changed(hunk, &old, &new, &mut rows);
        // The context below, up to that above the next hunk.
        let next = hunks.get(n + 1).map_or(old.len(), |next| next.before.start);
        let below = next.saturating_sub(hunk.before.end).min(CONTEXT);
        for on in 0..below {
            rows.push(DiffRow::Same(line(&old, hunk.before.end + on), line(&new, hunk.after.end + on)));
        }
        at = (hunk.before.end + below, hunk.after.end + below);
    }
    if !hunks.is_empty() && at.0 < old.len() {
        rows.push(DiffRow::Gap);
    }
    rows
}

/// Rows of a hunk: its lines in pairs, then those that have none beside them.
fn changed<'a>(hunk: &Hunk, old: &[&'a str], new: &[&'a str], rows: &mut Vec<DiffRow<'a>>) {
    for n in 0..hunk.before.len().max(hunk.after.len()) {
        let line = |range: &Range<usize>, lines: &[&'a str]| {
            let at = range.start + n;
            (at < range.end).then(|| (at + 1, lines.get(at).copied().unwrap_or_default()))
        };
        rows.push(DiffRow::Changed(line(&hunk.before, old), line(&hunk.after, new)));
    }
}

fn side_by_side(row: &DiffRow<'_>) -> Markup {
    match row {
        DiffRow::Gap => html! { tr.gap { td colspan="4" { "…" } } },
        DiffRow::Same(old, new) => html! {
            tr {
                td.line { (old.0) } td { pre dir="auto" { (cut(old.1)) } }
                td.line { (new.0) } td { pre dir="auto" { (cut(new.1)) } }
            }
        },
        DiffRow::Changed(old, new) => {
            let (removed, added) = marked(*old, *new);
            html! {
                tr {
                    td.line { @if let Some((n, _)) = old { (n) } }
                    td.removed[old.is_some()].none[old.is_none()] { (removed) }
                    td.line { @if let Some((n, _)) = new { (n) } }
                    td.added[new.is_some()].none[new.is_none()] { (added) }
                }
            }
        }
    }
}

fn inline(row: &DiffRow<'_>) -> Markup {
    match row {
        DiffRow::Gap => html! { tr.gap { td colspan="3" { "…" } } },
        DiffRow::Same(old, new) => html! {
            tr { td.line { (old.0) } td.line { (new.0) } td { pre dir="auto" { (cut(old.1)) } } }
        },
        DiffRow::Changed(old, new) => {
            let (removed, added) = marked(*old, *new);
            html! {
                @if let Some((n, _)) = old { tr { td.line { (n) } td.line {} td.removed { (removed) } } }
                @if let Some((n, _)) = new { tr { td.line {} td.line { (n) } td.added { (added) } } }
            }
        }
    }
}

/// A removed and an added line with the words marked in which they differ; a line alone is marked as a whole.
fn marked(old: Option<NumberedLine<'_>>, new: Option<NumberedLine<'_>>) -> (Markup, Markup) {
    let (before, after) = (old.map(|(_, line)| cut(line)), new.map(|(_, line)| cut(line)));
    let words = match (before, after) {
        (Some(before), Some(after)) => changed_words(before, after),
        _ => panaversity_model::word_diff::WordChanges {
            removed: before.map(|line| 0..line.len()).into_iter().collect(),
            added: after.map(|line| 0..line.len()).into_iter().collect(),
        },
    };
    let removed = pieces(before.unwrap_or_default(), &words.removed);
    let added = pieces(after.unwrap_or_default(), &words.added);
    let removed = html! {
        @if before.is_some() {
            pre dir="auto" {
                @for (piece, is_marked) in removed { @if is_marked { del { (piece) } } @else { (piece) } }
            }
        }
    };
    let added = html! {
        @if after.is_some() {
            pre dir="auto" {
                @for (piece, is_marked) in added { @if is_marked { ins { (piece) } } @else { (piece) } }
            }
        }
    };
    (removed, added)
}

/// A line cut at the bounds of its changed words; true for those.
fn pieces<'a>(line: &'a str, changed: &[Range<usize>]) -> Vec<(&'a str, bool)> {
    let (mut pieces, mut at) = (Vec::new(), 0);
    for range in changed {
        pieces.push((&line[at..range.start], false));
        pieces.push((&line[range.clone()], true));
        at = range.end;
    }
    pieces.push((&line[at..], false));
    pieces.retain(|(piece, _)| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_stand_beside_each_other_with_their_context() {
        let before = "1\n2\n3\n4\n5\nold word\n7\n";
        let after = "1\n2\n3\n4\n5\nnew word\nmore\n7\n";
        let rows = rows(before, after);
        assert_eq!(rows[0], DiffRow::Gap);
        assert_eq!(rows[1], DiffRow::Same((3, "3"), (3, "3")));
        assert_eq!(rows[4], DiffRow::Changed(Some((6, "old word")), Some((6, "new word"))));
        assert_eq!(rows[5], DiffRow::Changed(None, Some((7, "more"))));
        assert_eq!(rows[6], DiffRow::Same((7, "7"), (8, "7")));
        assert_eq!(rows.len(), 7);
    }

    #[test]
    fn words_are_marked_and_text_is_escaped() {
        let html = render("a <b> c\n", "a <i> c\n", DiffStyle::Inline, 100).into_string();
        assert!(html.contains("a &lt;<del>b</del>&gt; c"), "{html}");
        assert!(html.contains("a &lt;<ins>i</ins>&gt; c"), "{html}");
        assert!(
            render("same", "same", DiffStyle::SideBySide, 10).into_string().contains("They are the same")
        );
    }

    #[test]
    fn a_large_difference_is_cut() {
        let (before, after): (String, String) =
            (0..50_000).map(|n| (format!("old {n}\n"), format!("new {n}\n"))).unzip();
        let html = render(&before, &after, DiffStyle::SideBySide, 1_000).into_string();
        assert!(html.len() < 400_000 && html.contains("the first 1000 lines"), "{}", html.len());
    }
}
