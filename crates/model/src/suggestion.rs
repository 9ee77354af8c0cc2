//! Name suggestions: an admitted path for one that the schema refuses, near paths for a missing file.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::book::Schema;
use crate::grammar::is_numbered;
use crate::path::BookPath;

/// Maximum number of suggestions for a missing path.
pub const MOST: usize = 5;

/// A path close to `path` that the schema admits, if an obvious one exists.
pub fn admitted_name(schema: Schema, path: &BookPath) -> Option<String> {
    if schema != Schema::Strict || path.is_asset() {
        return None;
    }
    let mut rest: Vec<&str> = path.segments().filter(|s| *s != "content").collect();
    let name = rest.pop()?;
    let folder =
        |at: usize, default: &str| rest.get(at).map_or_else(|| format!("01-{default}"), |s| numbered(s));
    let (part, chapter) = (folder(0, "Part"), folder(1, "Chapter"));
    let (stem, extension) = name.rsplit_once('.')?;
    let end = match extension.to_ascii_lowercase().as_str() {
        "md" => ".md",
        "mdx" => ".mdx",
        _ => return None,
    };
    let (stem, end) = match stem.strip_suffix(".summary") {
        Some(lesson) => (lesson, format!(".summary{end}")),
        None => (stem, end.to_owned()),
    };
    let candidate = BookPath::parse(&format!("content/{part}/{chapter}/{}{end}", numbered(stem))).ok()?;
    (candidate != *path && schema.admit(&candidate).is_ok()).then(|| candidate.as_str().to_owned())
}

/// The segment in the form `NN-Name`.
fn numbered(segment: &str) -> String {
    if is_numbered(segment) {
        return segment.to_owned();
    }
    let digits: String = segment.chars().take_while(char::is_ascii_digit).take(2).collect();
    // NFKD without combining marks: letters lose their accents, full-width forms become plain ones.
    let letters = segment[digits.len()..].nfkd().filter(|c| !is_combining_mark(*c));
    let plain: String =
        letters.map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let name = plain.trim_matches(['-', '_']);
    let name = if name.is_empty() { "name" } else { name };
    format!("{digits:0>2}-{name}").replacen("00-", "01-", usize::from(digits.is_empty()))
}

/// Up to [`MOST`] readable paths nearest to a missing one, best first.
pub fn nearest(missing: &BookPath, readable: impl IntoIterator<Item = BookPath>) -> Vec<String> {
    let wanted = missing.as_str().to_lowercase();
    let mut scored: Vec<(f64, String)> = readable
        .into_iter()
        .map(|path| {
            (
                strsim::normalized_damerau_levenshtein(&wanted, &path.as_str().to_lowercase()),
                path.as_str().to_owned(),
            )
        })
        .filter(|(score, _)| *score > 0.5)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    scored.into_iter().take(MOST).map(|(_, path)| path).collect()
}

/// The known name nearest to a mistyped one, if it is similar enough. Only the first 100 characters of
/// `given` are compared, because it may be as long as a request body.
pub fn nearest_name<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = beginning(given);
    known
        .into_iter()
        .map(|name| (likeness(given, name), name))
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// Up to [`MOST`] known names nearest to one that is unknown, best first. Only the first 100 characters of
/// each are compared.
pub fn nearest_names<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let given = beginning(given);
    let scored = known.into_iter().map(|name| (likeness(given, beginning(name)), name));
    let mut near: Vec<_> = scored.filter(|(score, _)| *score > 0.7).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(MOST).map(|(_, name)| name.to_owned()).collect()
}

/// The first 100 characters.
fn beginning(name: &str) -> &str {
    const LOOKED_AT: usize = 100;
    name.char_indices().nth(LOOKED_AT).map_or(name, |(end, _)| &name[..end])
}

/// Similarity of two names, from 0 to 1. If one contains the other, as `file_path` contains `path`, they
/// count as similar whatever the prefix.
fn likeness(given: &str, name: &str) -> f64 {
    const SHORTEST: usize = 4;
    let holds = |long: &str, short: &str| short.len() >= SHORTEST && long.contains(short);
    let least = if holds(given, name) || holds(name, given) { 0.75 } else { 0.0 };
    strsim::jaro_winkler(given, name).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn suggested(path: &str) -> Option<String> {
        admitted_name(Schema::Strict, &BookPath::parse(path).unwrap())
    }

    #[test]
    fn a_name_that_does_not_fit_gets_one_that_does() {
        assert_eq!(
            suggested("content/05-Python/32-gil/07_chapter_30_quiz.md").as_deref(),
            Some("content/05-Python/32-gil/07-chapter_30_quiz.md")
        );
        assert_eq!(
            suggested("content/thesis.md").as_deref(),
            Some("content/01-Part/01-Chapter/01-thesis.md")
        );
        assert_eq!(
            suggested("content/1. Intro/Set up/3 install.summary.mdx").as_deref(),
            Some("content/01-Intro/01-Set-up/03-install.summary.mdx")
        );
        assert_eq!(
            suggested("content/01-Einführung/02-Über mich/１-été.md").as_deref(),
            Some("content/01-Einfuhrung/02-Uber-mich/01-1-ete.md")
        );
        assert_eq!(
            suggested("content/01-Part/02-Chapter/03-x.MD").as_deref(),
            Some("content/01-Part/02-Chapter/03-x.md")
        );
        for no_page in ["notes.txt", "p.png", "README"] {
            assert_eq!(suggested(&format!("content/01-Part/02-Chapter/{no_page}")), None);
        }
    }

    #[test]
    fn the_rest_of_a_name_as_long_as_a_body_is_not_looked_at() {
        let known = || ["read_content", "write_content"];
        assert_eq!(nearest_name("raed_content", known()), Some("read_content"));
        assert_eq!(nearest_name(&format!("{}read_content", "ü".repeat(100)), known()), None);
    }

    proptest! {
        #[test]
        fn r1_every_suggested_name_is_admitted(raw in "content/[ -~é]{1,20}(/[ -~]{1,12}){0,3}\\.(md|mdx|png)") {
            if let Ok(path) = BookPath::parse(&raw) && let Some(name) = admitted_name(Schema::Strict, &path) {
                prop_assert!(Schema::Strict.admit(&BookPath::parse(&name).unwrap()).is_ok());
            }
        }
    }

    #[test]
    fn the_nearest_paths_come_first_and_far_ones_not_at_all() {
        let path = |s: &str| BookPath::parse(s).unwrap();
        let found = nearest(
            &path("content/01-A/01-B/01-instal.md"),
            [
                path("content/01-A/01-B/01-install.md"),
                path("content/01-A/01-B/02-install.md"),
                path("static/img/x.png"),
            ],
        );
        assert_eq!(found, ["content/01-A/01-B/01-install.md", "content/01-A/01-B/02-install.md"]);
        assert_eq!(nearest_name("book", ["book_id", "path"]), Some("book_id"));
        assert_eq!(nearest_name("file_path", ["book_id", "path"]), Some("path"));
        assert_eq!(nearest_name("zzz", ["book_id", "path"]), None);
    }
}
