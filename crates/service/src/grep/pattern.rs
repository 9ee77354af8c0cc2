//! Patterns of `grep_search`: regular expressions that are tried on each line, in time linear in the text.
//! Expressions that compile to much are refused, because the time per byte grows with them.

use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use panaversity_model::Refusal;

/// Most bytes of a pattern as given.
pub const MAX_PATTERN_BYTES: usize = 1_000;
/// Most bytes of a compiled pattern.
const COMPILED_BYTES: usize = 1 << 20;
/// Most bytes of a thread's cache of states while it matches.
const STATE_BYTES: usize = 4 << 20;

const TOO_LARGE: &str = "it stands for too much: repeat less, or write [0-9] and [a-z] for \\d and \\w, which \
                         mean all digits and letters of Unicode";

/// A compiled pattern. `^` and `$` match at the ends of a line, and no match crosses one.
#[derive(Debug, Clone)]
pub struct Pattern {
    pub(super) matcher: RegexMatcher,
}

impl Pattern {
    /// Compiles the `pattern` argument.
    pub fn parse(raw: &str, ignore_case: bool) -> Result<Self, Refusal> {
        let refused = |why: String| Refusal::argument("pattern", why);
        if raw.is_empty() {
            return Err(refused("it is empty, and would match every line".to_owned()));
        }
        if raw.len() > MAX_PATTERN_BYTES {
            return Err(refused(format!("a pattern has at most {MAX_PATTERN_BYTES} bytes")));
        }
        // Parsed once more for its error, which has the position in the pattern as it was given.
        let parsed = regex_syntax::ParserBuilder::new().utf8(false).build().parse(raw);
        parsed.map_err(|error| refused(syntax_error(raw, &error)))?;
        let built = RegexMatcherBuilder::new()
            .case_insensitive(ignore_case)
            .multi_line(true)
            .line_terminator(Some(b'\n'))
            .size_limit(COMPILED_BYTES)
            .dfa_size_limit(STATE_BYTES)
            .build(raw);
        let matcher = built.map_err(|error| {
            let why = match error.kind() {
                grep_regex::ErrorKind::NotAllowed(_) => {
                    "it names a line end, but each line is searched by itself".to_owned()
                }
                _ if error.to_string().contains("size limit") => TOO_LARGE.to_owned(),
                _ => format!("it is no regular expression: {error}"),
            };
            refused(why)
        })?;
        Ok(Self { matcher })
    }
}

/// Description of a syntax error, with the number of the character at which it lies.
fn syntax_error(raw: &str, error: &regex_syntax::Error) -> String {
    let (why, at) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start.offset),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span().start.offset),
        other => return format!("it is no regular expression: {other}"),
    };
    let character = raw.get(..at).map_or(0, |before| before.chars().count()) + 1;
    format!("it is no regular expression: {why}, at character {character}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(raw: &str) -> String {
        Pattern::parse(raw, false).unwrap_err().to_string()
    }

    #[test]
    fn a_pattern_that_is_none_is_refused_with_the_place_of_the_error() {
        for (raw, why) in [
            ("", "empty"),
            ("äö(", "unclosed group, at character 3"),
            ("a)", "unopened group, at character 2"),
            ("a)|(b", "unopened group, at character 2"),
            ("[z-a]", "at character 2"),
            ("*a", "at character 1"),
            (r"(a)\1", "backreferences are not supported, at character 4"),
            ("(?=a)", "look-around, including look-ahead and look-behind, is not supported, at character 1"),
            (r"\p{Klingon}", "Unicode property not found, at character 1"),
            ("a\nb", "line end"),
            (r"a\nb", "line end"),
            ("(?x) a # without an end", "no regular expression"),
        ] {
            assert!(refusal(raw).contains(why), "{raw}: {}", refusal(raw));
        }
        assert!(refusal(&"x".repeat(1_001)).contains("at most 1000 bytes"));
    }

    #[test]
    fn what_compiles_to_much_is_refused() {
        for bomb in [
            "((a{1000}){1000}){1000}",
            r"\pL{1000}",
            r"(\w{50}){50}",
            r"(?i)(ẞ|\pL){800}",
            "(x{1000}|y){1000}",
        ] {
            assert!(refusal(bomb).contains("too much"), "{bomb}: {}", refusal(bomb));
        }
        for usual in [
            r"\w{1,20}",
            r"\bimport\s+\w+",
            r"https?://[^\s)]+",
            r"(a+)+$",
            r"^#{1,6}\s.{0,200}$",
            r"[ \t]+$",
        ] {
            assert!(Pattern::parse(usual, true).is_ok(), "{usual}: {}", refusal(usual));
        }
        let nested = format!("{}a{}", "(".repeat(400), ")".repeat(400));
        assert!(refusal(&nested).contains("nest"), "{}", refusal(&nested));
    }
}
