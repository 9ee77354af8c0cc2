//! Exact edits of real files: the example book, and the folder that `PANAVERSITY_BOOK` named when the test
//! was compiled.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use panaversity_model::edit::{Edit, apply};
use proptest::prelude::*;

/// Every text of at most 500,000 bytes below the folders.
fn texts() -> Vec<String> {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut folders: Vec<PathBuf> = [Some(examples), option_env!("PANAVERSITY_BOOK")]
        .into_iter()
        .flatten()
        .map(|folder| Path::new(folder).to_owned())
        .collect();
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|end| end == "md" || end == "mdx") {
                texts.extend(std::fs::read_to_string(&entry).ok().filter(|text| text.len() <= 500_000));
            }
        }
    }
    texts
}

/// The characters from a share of the text on, as many as it takes to occur once.
fn unique_place(text: &str, at: u16, least: usize) -> Option<(usize, usize)> {
    let starts: Vec<usize> = text.char_indices().map(|(start, _)| start).collect();
    let first = usize::from(at) * starts.len() / 65_536;
    let start = *starts.get(first)?;
    let ends = starts[first + 1..].iter().copied().chain([text.len()]);
    let mut ends = ends.skip(least.saturating_sub(1));
    let end = ends.find(|end| {
        let part = &text[start..*end];
        let next = text[start..].chars().next().map_or(1, char::len_utf8);
        text.find(part) == Some(start) && !text[start + next..].contains(part)
    })?;
    Some((start, end))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]
    #[test]
    fn an_edit_of_a_file_changes_its_place_and_no_other_byte(
        at in any::<u16>(), least in 3usize..200, new in "[a-zé \n]{0,40}",
    ) {
        let texts = texts();
        prop_assert!(!texts.is_empty());
        for text in &texts {
            let Some((start, end)) = unique_place(text, at, least) else { continue };
            let old = &text[start..end];
            let splits_an_ending = |at: usize| text[..at].ends_with('\r') && text[at..].starts_with('\n');
            if splits_an_ending(start) || splits_an_ending(end) {
                continue;
            }
            // New lines within a line take the endings of a file that has one kind; not the matter here.
            let new = if old.contains('\n') || !text.contains("\r\n") { new.clone() } else { new.replace('\n', " ") };
            let edit = Edit { old: old.to_owned(), new: new.clone() };
            prop_assert_eq!(apply(text, &[edit]).unwrap(), format!("{}{new}{}", &text[..start], &text[end..]));
            // The file with the other line endings keeps them.
            if text.contains("\r\n") || !old.contains('\n') {
                continue;
            }
            let windows = text.replace('\n', "\r\n");
            let edit = Edit { old: old.to_owned(), new: new.clone() };
            let expected = format!("{}{new}{}", &text[..start], &text[end..]).replace('\n', "\r\n");
            prop_assert_eq!(apply(&windows, &[edit]).unwrap(), expected);
        }
    }
}
