//! Values as people read them: sizes, times, hashes, counts, links to agents.

use maud::{Markup, html};
use panaversity_model::{ContentHash, Timestamp};

use super::links;

/// A size in bytes, with a unit.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    // A page shows two digits, so the precision of a float is enough.
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    let (mut value, mut unit) = (bytes as f64 / 1_000.0, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// A count with its noun; `many` ends in the plural.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// A time, in UTC to the minute.
pub(super) fn time(at: Timestamp) -> Markup {
    let text = at.to_string();
    let (day, clock) = (text.get(..10).unwrap_or_default(), text.get(11..16).unwrap_or_default());
    html! { time datetime=(text) { (day) " " (clock) } }
}

/// The beginning of a hash.
pub(super) fn hash(hash: ContentHash) -> Markup {
    let hash = hash.to_string();
    html! { code title=(hash) { (hash[..10]) } }
}

/// An agent, with a link to what it did.
pub(super) fn agent(name: &str) -> Markup {
    html! { a href=(links::agent(name)) { bdi { (name) } } }
}

/// The message of a change set, or that it has none.
pub(super) fn message(message: Option<&str>) -> Markup {
    if let Some(message) = message.filter(|message| !message.trim().is_empty()) {
        html! { span dir="auto" { (message) } }
    } else {
        html! { span.quiet { "no message" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_digits_and_a_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 KB"),
            (9_960, "10 KB"),
            (999_499, "999 KB"),
            (999_500, "1.0 MB"),
            (12_000_000, "12 MB"),
            (5_000_000_000_000_000, "5000 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times_are_shown_to_the_minute() {
        let at = Timestamp::parse("2026-11-30T06:20:41.5Z").unwrap();
        assert_eq!(
            time(at).into_string(),
            "<time datetime=\"2026-11-30T06:20:41.500000Z\">2026-11-30 06:20</time>"
        );
    }
}
