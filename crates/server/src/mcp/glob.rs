//! Globs over paths: `*` and `?` stay within a folder, `**` does not.

use globset::{GlobBuilder, GlobMatcher};
use panaversity_model::Refusal;
use panaversity_model::path::{MAX_BYTES, Prefix};

/// A parsed glob.
#[derive(Debug, Clone)]
pub struct Glob {
    matcher: GlobMatcher,
    /// Prefix of every matching path.
    pub prefix: Prefix,
}

impl Glob {
    /// Parses the argument of that name. Paths are relative to the book, so a leading `/` or `./` is
    /// ignored.
    pub fn parse(argument: &str, raw: &str) -> Result<Self, Refusal> {
        let mut raw = raw;
        while let Some(rest) = raw.strip_prefix("./").or_else(|| raw.strip_prefix('/')) {
            raw = rest;
        }
        let refused = |why: String| Refusal::argument(argument, why);
        if raw.len() > MAX_BYTES {
            return Err(refused("a pattern has at most 255 bytes".to_owned()));
        }
        let literal = raw.find(['*', '?', '[', '{', '\\']).map_or(raw, |at| &raw[..at]);
        let prefix = Prefix::parse(literal).filter(|_| !raw.contains(char::is_control));
        let prefix = prefix.ok_or_else(|| refused("no path has control characters".to_owned()))?;
        let glob = GlobBuilder::new(&within_folders(raw)).literal_separator(true).build();
        let glob = glob.map_err(|why| refused(format!("it is no glob: {}", why.kind())))?;
        Ok(Self { matcher: glob.compile_matcher(), prefix })
    }

    /// True if a path as stored matches.
    pub fn accepts_text(&self, path: &str) -> bool {
        self.matcher.is_match(path)
    }
}

/// Changes negated classes, such as `[!0-9]`, so that they do not match `/` either.
fn within_folders(raw: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(raw.len()), raw.chars().peekable());
    let mut in_class = false;
    while let Some(next) = rest.next() {
        out.push(next);
        match next {
            '\\' if !in_class => out.extend(rest.next()),
            '[' if !in_class => {
                in_class = true;
                let negated = rest.next_if(|c| matches!(c, '!' | '^'));
                out.extend(negated);
                // As the first character of a class both are literals.
                out.extend(rest.next_if(|c| matches!(c, ']' | '-')));
                // A range of its own, so that it does not combine with its neighbours.
                out.push_str(if negated.is_some() { "/-/" } else { "" });
            }
            ']' => in_class = false,
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Glob::parse("pattern", pattern).unwrap().accepts_text(path)
    }

    #[test]
    fn a_pattern_means_what_people_expect() {
        for (pattern, path, expected) in [
            ("content/*.md", "content/a.md", true),
            ("content/*.md", "content/a/b.md", false),
            ("content/**/*.md", "content/a/b/c.md", true),
            ("content/**/*.md", "content/c.md", true),
            ("**/*.md", "content/a/b.md", true),
            ("content/**", "content/a/b.md", true),
            ("**", "static/img/a b.png", true),
            ("*", "content/a.md", false),
            ("content/0?-*/README.md", "content/01-Part/README.md", true),
            ("content/?/a.md", "content///a.md", false),
            ("content/[0-9][0-9]-*/*", "content/01-Part/x.md", true),
            ("content[!x]a.md", "content/a.md", false),
            ("content[^x]a.md", "content/a.md", false),
            ("a[!]x]b", "a/b", false),
            ("a[!]x]b", "a]b", false),
            ("a[!]x]b", "acb", true),
            ("a[!-x]b", "a-b", false),
            ("a[!-x]b", "ayb", true),
            ("static/{img,images}/*.png", "static/images/x.png", true),
            ("static/\\*.png", "static/*.png", true),
            ("content/a.md", "content/a.md", true),
            ("/content/*", "content/a.md", true),
            ("./content/*", "content/a.md", true),
            (".//./content/*", "content/a.md", true),
            ("/**/*.md", "content/a/b.md", true),
            ("/*", "content/a.md", false),
            ("./static/.nojekyll", "static/.nojekyll", true),
            ("content/./a.md", "content/a.md", false),
            ("../content/a.md", "content/a.md", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        for bad in ["a[b", "{a", "a\0b", "*\n", &"x".repeat(256)] {
            assert!(Glob::parse("pattern", bad).is_err(), "{bad:?}");
        }
    }

    /// Reference implementation of globs of literals, `?`, `*` and `**` folders.
    fn means(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern, path) {
            ([], []) => true,
            (["**"], path) => !path.is_empty(),
            (["**", rest @ ..], path) => (0..=path.len()).any(|n| means(rest, &path[n..])),
            ([first, pattern @ ..], [name, path @ ..]) => {
                fits(first.as_bytes(), name.as_bytes()) && means(pattern, path)
            }
            _ => false,
        }
    }

    fn fits(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], name) => (0..=name.len()).any(|n| fits(rest, &name[n..])),
            ([b'?', pattern @ ..], [_, name @ ..]) => fits(pattern, name),
            ([a, pattern @ ..], [b, name @ ..]) => a == b && fits(pattern, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_star_never_crosses_a_folder_and_two_do(
            pattern in "([ab?*]{1,3}|\\*\\*)(/([ab?*]{1,3}|\\*\\*)){0,3}",
            path in "[ab]{1,3}(/[ab]{1,3}){0,4}",
        ) {
            let segments: Vec<&str> = pattern.split('/').collect();
            prop_assume!(segments.iter().all(|s| *s == "**" || !s.contains("**")));
            let names: Vec<&str> = path.split('/').collect();
            prop_assert_eq!(matches(&pattern, &path), means(&segments, &names));
        }

        #[test]
        fn what_matches_begins_with_the_prefix(
            pattern in "[ab/*?\\[!\\]{},\\\\-]{1,8}",
            path in "[ab\\]/-]{1,8}",
        ) {
            if let Ok(pattern) = Glob::parse("pattern", &pattern)
                && pattern.accepts_text(&path)
            {
                let (from, to) = pattern.prefix.range();
                prop_assert!(path.as_str() >= from && to.is_none_or(|to| path < to));
            }
        }

        #[test]
        fn what_matches_has_the_folders_of_the_pattern(
            segments in prop::collection::vec(
                "(\\*{1,3}|\\?|[a-c-]|\\[[a-c]{1,2}\\]|\\[[!^][a-c\\]]{1,2}\\]|\\\\[*?\\[]|\\{[ab]?,[bc*?]\\}){1,4}",
                1..4,
            ),
            path in "[abc*?/-]{1,9}",
        ) {
            prop_assume!(!segments.iter().any(|segment| segment == "**"));
            if let Ok(glob) = Glob::parse("pattern", &segments.join("/"))
                && glob.accepts_text(&path)
            {
                prop_assert_eq!(path.split('/').count(), segments.len());
            }
        }

        #[test]
        fn any_pattern_is_a_glob_or_refused_in_a_few_words(
            any in ".{0,300}",
            bomb in "[a-c*?/{},\\[\\]!^\\\\-]{0,255}",
            part in prop::sample::select(vec!["{a,b}", "*a", "{", "}", "**/", "[a-z]", "[!a-z]", "{**/,*}", "[\u{0}-\u{10ffff}]", "\\"]),
            times in 1..100_usize,
            path in ".{0,255}",
        ) {
            for pattern in [any, bomb, part.repeat(times), format!("{}x{}", "{".repeat(times), "}".repeat(times))] {
                match Glob::parse("pattern", &pattern) {
                    Ok(glob) => {
                        prop_assert!(glob.prefix.range().0.len() <= pattern.len());
                        let _ = (glob.accepts_text(&path), glob.accepts_text(&"a/".repeat(127)));
                    }
                    Err(refusal) => prop_assert!(refusal.to_string().len() <= 200, "{refusal}"),
                }
            }
        }
    }
}
