//! Slugs of headings as github-slugger makes them, which Docusaurus uses: lower case; only letters, marks,
//! decimal digits, connectors such as `_`, hyphens and spaces are kept; a space becomes `-`; a slug that is
//! taken gets `-1`, `-2`, ... appended. Letters that Unicode gained after version 13 are kept here, while
//! github-slugger drops them.

use std::collections::HashMap;

use unicode_general_category::{GeneralCategory, get_general_category};

/// Slugs of one page.
#[derive(Debug, Default)]
pub(super) struct Slugger {
    /// Number last appended to each slug that is taken.
    taken: HashMap<String, usize>,
}

impl Slugger {
    /// The slug of a heading, unlike those before.
    pub(super) fn slug(&mut self, text: &str) -> String {
        let plain = plain_slug(text);
        let Some(mut number) = self.taken.get(&plain).copied() else {
            self.taken.insert(plain.clone(), 0);
            return plain;
        };
        let slug = loop {
            number += 1;
            let slug = format!("{plain}-{number}");
            if !self.taken.contains_key(&slug) {
                break slug;
            }
        };
        self.taken.insert(plain, number);
        self.taken.insert(slug.clone(), 0);
        slug
    }
}

/// The slug of a heading, regardless of others.
pub(super) fn plain_slug(text: &str) -> String {
    let kept = text.to_lowercase();
    kept.chars().filter(|c| is_kept(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn is_kept(c: char) -> bool {
    use GeneralCategory::{ConnectorPunctuation, DecimalNumber, EnclosingMark, NonspacingMark, SpacingMark};
    matches!(c, ' ' | '-')
        || c.is_alphabetic()
        || matches!(
            get_general_category(c),
            DecimalNumber | ConnectorPunctuation | NonspacingMark | SpacingMark | EnclosingMark
        )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Slugs by github-slugger 1.5.0; see `scripts/heading-slugs.mjs`.
    const VECTORS: &str = include_str!("fixtures/github_slugger.json");

    #[test]
    fn slugs_are_those_of_github_slugger() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let pages = vectors["pages"].as_array().unwrap();
        assert!(pages.len() > 5);
        for page in pages {
            let mut slugger = Slugger::default();
            for pair in page.as_array().unwrap() {
                let (text, slug) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
                assert_eq!(slugger.slug(text), slug, "{text:?}");
            }
        }
    }

    #[test]
    fn every_character_is_kept_or_dropped_as_by_github_slugger() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let mut kept = vec![false; 0x11_0000];
        for range in vectors["kept"].as_array().unwrap() {
            let bound = |at: usize| usize::try_from(range[at].as_u64().unwrap()).unwrap();
            kept[bound(0)..=bound(1)].fill(true);
        }
        let newer = |c: char| {
            vectors["unassigned"].as_array().unwrap().iter().any(|range| {
                (range[0].as_u64().unwrap()..=range[1].as_u64().unwrap()).contains(&u64::from(u32::from(c)))
            })
        };
        for c in '\0'..=char::MAX {
            let is_kept_there = kept[c as usize];
            assert!(is_kept(c) == is_kept_there || (is_kept(c) && newer(c)), "{c:?}");
        }
    }

    #[test]
    fn slugs_of_many_like_headings_take_linear_time() {
        let mut slugger = Slugger::default();
        for n in 1..=50_000 {
            slugger.slug(&format!("a {n}"));
        }
        assert_eq!(slugger.slug("a"), "a");
        for n in 0..50_000 {
            assert_eq!(slugger.slug("a"), format!("a-{}", n + 50_001));
        }
    }
}
