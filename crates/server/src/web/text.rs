//! Windows of texts: some lines of a file with their numbers. Invariant: a window has a bounded number of
//! lines and bytes, however long the text and its lines are.

use maud::{Markup, html};

/// Most lines of a window.
pub(super) const WINDOW_LINES: usize = 1_000;
/// Most bytes of a window, and of one of its lines.
const WINDOW_BYTES: usize = 100_000;
const LINE_BYTES: usize = 2_000;

/// Lines of a text from one on, counted from 1.
pub(super) struct TextWindow<'a> {
    pub(super) lines: Vec<(usize, &'a str)>,
    pub(super) first: usize,
    /// Line at which the next window starts.
    pub(super) next: Option<usize>,
    pub(super) total: usize,
}

/// The window of a text from a line on.
pub(super) fn window(text: &str, from: usize) -> TextWindow<'_> {
    let total = text.lines().count();
    let first = from.clamp(1, total.max(1));
    let (mut lines, mut bytes) = (Vec::new(), 0);
    for (n, line) in text.lines().enumerate().skip(first - 1) {
        let shown = cut(line);
        bytes += shown.len() + 1;
        if lines.len() == WINDOW_LINES || (bytes > WINDOW_BYTES && !lines.is_empty()) {
            return TextWindow { lines, first, next: Some(n + 1), total };
        }
        lines.push((n + 1, shown));
    }
    TextWindow { lines, first, next: None, total }
}

/// The beginning of a line, as much as is shown.
pub(super) fn cut(line: &str) -> &str {
    &line[..line.floor_char_boundary(LINE_BYTES)]
}

/// A window with its notice; `url` gives the window from a line on.
pub(super) fn render(window: &TextWindow<'_>, url: impl Fn(usize) -> String) -> Markup {
    let last = window.lines.last().map_or(0, |(n, _)| *n);
    let is_part = window.first > 1 || window.next.is_some();
    html! {
        @if is_part {
            p.notice { "Lines " (window.first) " to " (last) " of " (window.total) "." }
        }
        div.scroll tabindex="0" role="region" aria-label="Text" {
            table.text {
                tbody {
                    @for (n, line) in &window.lines {
                        tr id={ "L" (n) } {
                            td.line { (n) }
                            td { pre dir="auto" { (line) @if line.len() >= LINE_BYTES - 3 { " …" } } }
                        }
                    }
                }
            }
        }
        ul.actions {
            @if window.first > 1 {
                li { a href=(url(window.first.saturating_sub(WINDOW_LINES).max(1))) { "Lines before" } }
            }
            @if let Some(next) = window.next { li { a href=(url(next)) { "Lines after" } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_join_to_the_whole_text() {
        let text = (1..=2_500).map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat();
        let (mut from, mut seen) = (1, Vec::new());
        loop {
            let window = window(&text, from);
            assert_eq!(window.total, 2_500);
            seen.extend(window.lines.iter().map(|(n, line)| format!("{n} {line}")));
            match window.next {
                Some(next) => from = next,
                None => break,
            }
        }
        assert_eq!(seen.len(), 2_500);
        assert!(seen.iter().enumerate().all(|(n, line)| *line == format!("{0} line {0}", n + 1)));
    }

    #[test]
    fn a_window_is_bounded_whatever_the_text() {
        for text in [
            "x".repeat(500_000),
            "ü\n".repeat(250_000),
            format!("{}\n", "é".repeat(9_000)).repeat(20),
            String::new(),
        ] {
            let window = window(&text, 1);
            let bytes: usize = window.lines.iter().map(|(_, line)| line.len()).sum();
            assert!(bytes <= WINDOW_BYTES + LINE_BYTES && window.lines.len() <= WINDOW_LINES);
        }
        assert_eq!(window("a\nb", 99).first, 2);
    }
}
