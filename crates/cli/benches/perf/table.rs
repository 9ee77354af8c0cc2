//! The table that the benchmarks print: measurement, yardstick, ratio, required bar.

use std::io::Write;

/// A row.
pub(crate) struct Row {
    work: String,
    ours: String,
    yardstick: String,
    bar: String,
    met: bool,
}

/// All rows so far; each is also printed when it is added.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds a row; `met` is true if it meets its bar.
    pub(crate) fn add(&mut self, work: &str, ours: String, yardstick: String, bar: String, met: bool) {
        say(&format!("{work}: {ours} ({yardstick}); bar {bar}: {}", if met { "met" } else { "MISSED" }));
        self.rows.push(Row { work: work.to_owned(), ours, yardstick, bar, met });
    }

    /// Adds a row whose figure must be at least `factor` times the yardstick.
    pub(crate) fn at_least(&mut self, work: &str, ours: f64, yardstick: (&str, f64), factor: f64) {
        self.add(
            work,
            format!("{ours:.0}/s"),
            format!("{}: {:.0}/s", yardstick.0, yardstick.1),
            format!("{factor} x; reached {:.2} x", ours / yardstick.1),
            ours >= factor * yardstick.1,
        );
    }

    /// Adds a row whose rate must be at least `factor` times the yardstick's: the median of the rounds, each a
    /// rate and the yardstick's rate of the same minute.
    pub(crate) fn ratio(&mut self, work: &str, rounds: &[(f64, f64)], yardstick: &str, factor: f64) {
        let of = |figure: fn(&(f64, f64)) -> f64| median(rounds.iter().map(figure));
        let reached = of(|(ours, theirs)| ours / theirs);
        self.add(
            work,
            format!("{:.0}/s", of(|(ours, _)| *ours)),
            format!("{yardstick}: {:.0}/s", of(|(_, theirs)| *theirs)),
            format!("{factor} x; reached {reached:.2} x"),
            reached >= factor,
        );
    }

    /// Adds a row whose milliseconds must be at most `limit`.
    pub(crate) fn at_most(&mut self, work: &str, milliseconds: f64, yardstick: String, limit: f64) {
        self.add(
            work,
            format!("{milliseconds:.2} ms"),
            yardstick,
            format!("{limit:.2} ms"),
            milliseconds <= limit,
        );
    }

    /// Prints the table as Markdown.
    pub(crate) fn print(&self) {
        say("\n| work | ours | yardstick, same minute | bar | met |\n|---|---|---|---|---|");
        for row in &self.rows {
            let met = if row.met { "yes" } else { "**no**" };
            say(&format!("| {} | {} | {} | {} | {met} |", row.work, row.ours, row.yardstick, row.bar));
        }
    }
}

/// The median.
pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
