//! Lines of a text that resemble one that was looked for in vain.

use std::collections::HashMap;

use super::NearLine;

/// Most lines returned.
const MOST: usize = 3;
/// Characters of a line that are shown and compared.
const SHOWN: usize = 200;
/// Least share of common pairs of letters, as Sørensen and Dice define it, of a line that is near.
const LEAST: f64 = 0.5;

/// Up to three lines of `text` that resemble the longest line of `part` most, nearest first. The time is
/// linear in the length of the text.
pub(super) fn lines(text: &str, part: &str) -> Vec<NearLine> {
    let longest = part.lines().max_by_key(|line| line.trim().len()).unwrap_or_default();
    let wanted = pairs(longest);
    let mut found: Vec<(f64, NearLine)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let score = similarity(&wanted, &pairs(line));
        if score < LEAST || found.len() == MOST && found[MOST - 1].0 >= score {
            continue;
        }
        let at = found.partition_point(|(better, _)| *better >= score);
        let shown = line.chars().take(SHOWN).collect();
        found.insert(at, (score, NearLine { line: index + 1, text: shown }));
        found.truncate(MOST);
    }
    found.into_iter().map(|(_, line)| line).collect()
}

/// Number of occurrences of each pair of neighbouring characters.
fn pairs(line: &str) -> HashMap<(char, char), usize> {
    let line = line.trim();
    let mut pairs = HashMap::new();
    for pair in line.chars().zip(line.chars().skip(1)).take(SHOWN) {
        *pairs.entry(pair).or_default() += 1;
    }
    pairs
}

/// Twice the common pairs by all pairs: from 0 to 1. The one of `strsim` divides by bytes, which no text in
/// other than Latin letters passes.
#[expect(clippy::cast_precision_loss, reason = "at most 400 pairs")]
fn similarity(a: &HashMap<(char, char), usize>, b: &HashMap<(char, char), usize>) -> f64 {
    let all: usize = a.values().chain(b.values()).sum();
    let common: usize = a.iter().map(|(pair, count)| b.get(pair).map_or(0, |other| *count.min(other))).sum();
    if all == 0 { 0.0 } else { 2.0 * common as f64 / all as f64 }
}
