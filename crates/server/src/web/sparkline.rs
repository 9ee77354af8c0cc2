//! Small graphs, as inline SVG without styles of its own.

use std::fmt::Write;

use maud::{Markup, html};
use panaversity_model::Timestamp;
use panaversity_model::browsing::DayCount;

/// Days that a graph of changes shows.
pub(super) const DAYS: i64 = 30;
const DAY_MICROS: i64 = 86_400_000_000;
const HEIGHT: u64 = 20;

/// The first moment that a graph of changes shows.
pub(super) fn begin(now: Timestamp) -> Timestamp {
    Timestamp::from_micros((now.micros().div_euclid(DAY_MICROS) - DAYS + 1) * DAY_MICROS)
}

/// Changes per day, up to today.
pub(super) fn of_changes(days: &[DayCount], now: Timestamp) -> Markup {
    let today = now.micros().div_euclid(DAY_MICROS);
    let on = |day: i64| days.iter().find(|count| count.day == day).map_or(0, |count| count.changes);
    let counts: Vec<u64> = (today - DAYS + 1..=today).map(on).collect();
    let total: u64 = counts.iter().sum();
    bars(&counts, &format!("{total} changes in {DAYS} days, {} today", on(today)))
}

/// Observations by bucket, from the fastest to the slowest.
pub(super) fn of_buckets(counts: &[u64]) -> Markup {
    let total: u64 = counts.iter().sum();
    bars(counts, &format!("{total} observations, from fast to slow"))
}

/// A bar for each value; `label` is what a screen reader says.
fn bars(values: &[u64], label: &str) -> Markup {
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let mut path = String::new();
    for (n, value) in values.iter().enumerate().filter(|(_, value)| **value > 0) {
        // A bar of one unit is seen, however high the others are.
        let height = (value * HEIGHT / most).max(1);
        // Writing to a string does not fail.
        let _ = write!(path, "M{} {}v-{height}h3v{height}z", n * 4, HEIGHT + 1);
    }
    let view = format!("0 0 {} {}", values.len() * 4, HEIGHT + 2);
    let base = format!("M0 {}h{}", HEIGHT + 1, values.len() * 4);
    html! {
        svg.spark viewBox=(view) role="img" aria-label=(label) {
            path.base d=(base) {}
            path.bars d=(path) {}
        }
    }
}

/// A part of a whole, as a bar.
pub(super) fn part(used: u64, whole: u64, label: &str) -> Markup {
    let width = (used.min(whole) * 100).checked_div(whole).unwrap_or(0);
    html! {
        svg.meter viewBox="0 0 100 8" role="img" aria-label=(label) {
            rect.base width="100" height="8" {}
            rect.bars width=(width) height="8" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_with_changes_has_a_bar_and_the_sum_is_said() {
        let now = Timestamp::parse("2026-11-30T12:00:00Z").unwrap();
        let today = now.micros() / DAY_MICROS;
        let days =
            [(today - 40, 9), (today - 29, 1), (today, 3)].map(|(day, changes)| DayCount { day, changes });
        let graph = of_changes(&days, now).into_string();
        assert!(graph.contains("4 changes in 30 days, 3 today"), "{graph}");
        assert!(graph.contains("M0 21v-6h3v6zM116 21v-20h3v20z"), "{graph}");
        assert_eq!(begin(now).to_string(), "2026-11-01T00:00:00.000000Z");
    }

    #[test]
    fn a_part_of_nothing_is_nothing() {
        assert!(part(3, 0, "x").into_string().contains("width=\"0\""));
        assert!(part(30, 20, "x").into_string().contains("class=\"bars\" width=\"100\""));
    }
}
