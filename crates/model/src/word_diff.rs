//! Differences of two lines by words: what a reader has to look at in a changed line. A word is a run of
//! letters and digits; a run of white space, and every other character, counts as one too.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput};

/// Byte ranges of what was removed from one text and added in the other, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WordChanges {
    /// Ranges of the text before.
    pub removed: Vec<Range<usize>>,
    /// Ranges of the text after.
    pub added: Vec<Range<usize>>,
}

/// Finds the words in which two texts differ.
pub fn changed_words(before: &str, after: &str) -> WordChanges {
    let (old, new) = (words(before), words(after));
    let mut input = InternedInput::default();
    input.update_before(old.iter().map(|word| &before[word.clone()]));
    input.update_after(new.iter().map(|word| &after[word.clone()]));
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    diff.postprocess_no_heuristic(&input);
    let mut changes = WordChanges::default();
    for hunk in diff.hunks() {
        changes.removed.extend(extent(&old, hunk.before));
        changes.added.extend(extent(&new, hunk.after));
    }
    changes
}

/// Byte range of these words; `None`: there are none.
fn extent(words: &[Range<usize>], range: Range<u32>) -> Option<Range<usize>> {
    let words = &words[range.start as usize..range.end as usize];
    Some(words.first()?.start..words.last()?.end)
}

fn words(text: &str) -> Vec<Range<usize>> {
    #[derive(PartialEq, Clone, Copy)]
    enum WordKind {
        Word,
        Space,
        Other,
    }
    let kind = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => WordKind::Word,
        c if c.is_whitespace() => WordKind::Space,
        _ => WordKind::Other,
    };
    let mut words: Vec<(WordKind, Range<usize>)> = Vec::new();
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        match words.last_mut() {
            Some((last, range)) if *last == kind(c) && *last != WordKind::Other => range.end = end,
            _ => words.push((kind(c), at..end)),
        }
    }
    words.into_iter().map(|(_, range)| range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_words_that_differ_are_named() {
        let changes = changed_words("A robin builds its nest.", "A robin built two nests.");
        let of = |text: &'static str, ranges: &[Range<usize>]| {
            ranges.iter().map(|range| &text[range.clone()]).collect::<Vec<_>>()
        };
        assert_eq!(of("A robin builds its nest.", &changes.removed), ["builds", "its", "nest"]);
        assert_eq!(of("A robin built two nests.", &changes.added), ["built", "two", "nests"]);
        assert_eq!(changed_words("same ü", "same ü"), WordChanges::default());
        assert_eq!(changed_words("", "new").added.first(), Some(&(0..3)));
    }

    fn without(text: &str, ranges: &[Range<usize>]) -> String {
        let (mut rest, mut at) = (String::new(), 0);
        for range in ranges {
            rest.push_str(&text[at..range.start]);
            at = range.end;
        }
        rest + &text[at..]
    }

    proptest! {
        #[test]
        fn what_is_left_of_both_texts_is_the_same(before in "[ab .ü]{0,20}", after in "[ab .ü]{0,20}") {
            let changes = changed_words(&before, &after);
            prop_assert_eq!(without(&before, &changes.removed), without(&after, &changes.added));
        }
    }
}
