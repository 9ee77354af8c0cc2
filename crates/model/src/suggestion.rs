//! Name suggestions: near paths for a missing file, near names for an unknown one.

use crate::path::BookPath;

/// Maximum number of suggestions for a missing path.
pub const MOST: usize = 5;

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

    #[test]
    fn the_rest_of_a_name_as_long_as_a_body_is_not_looked_at() {
        let known = || ["read_content", "write_content"];
        assert_eq!(nearest_name("raed_content", known()), Some("read_content"));
        assert_eq!(nearest_name(&format!("{}read_content", "ü".repeat(100)), known()), None);
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
