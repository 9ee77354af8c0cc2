//! Top-level fields of a YAML mapping, with the types that Docusaurus' parser (js-yaml: YAML 1.2, core
//! schema with timestamps) gives them.
//!
//! Read from a stream of events with an explicit stack: aliases are not expanded and nesting uses no
//! recursion, so time and memory are linear in the text, whatever it contains.

use std::collections::HashSet;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

/// Characters of a name that a message shows.
const SHOWN: usize = 100;

/// Type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum YamlKind {
    Null,
    Boolean,
    Number,
    Date,
    Text,
    List,
    Mapping,
    /// An alias or a value with a tag: its type is not determined.
    Opaque,
}

impl YamlKind {
    /// The type with its article.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Null => "empty",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Date => "a date",
            Self::Text => "text",
            Self::List => "a list",
            Self::Mapping => "a mapping",
            Self::Opaque => "an alias",
        }
    }
}

/// Value of a top-level field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct YamlField {
    pub(super) name: String,
    /// Line of its key, from 1.
    pub(super) line: usize,
    pub(super) kind: YamlKind,
    /// The text of a scalar.
    pub(super) text: String,
    /// The types that occur in a list.
    pub(super) items: Vec<YamlKind>,
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum YamlDocument {
    Fields(Vec<YamlField>),
    /// It is no mapping.
    Other(YamlKind),
}

/// The reason why a text is no YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct YamlError {
    /// Line, from 1.
    pub(super) line: usize,
    pub(super) why: String,
}

/// A mapping or list that is not closed yet.
struct Open {
    /// Keys so far; `None`: it is a list.
    keys: Option<HashSet<String>>,
    /// True if a mapping's next node is a key.
    at_key: bool,
}

/// Lines of a text, which end at `\n` alone, as elsewhere; the parser counts those that end at `\r` too.
struct Lines {
    /// Positions of the ends of lines, in characters.
    ends: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.chars().enumerate().filter(|(_, char)| *char == '\n').map(|(at, _)| at).collect();
        Self { ends }
    }

    /// Line of a position, from 1.
    fn at(&self, marker: &Marker) -> usize {
        self.ends.partition_point(|end| *end < marker.index()) + 1
    }
}

/// Reader of one document.
struct Reader {
    lines: Lines,
    stack: Vec<Open>,
    root: Option<YamlKind>,
    fields: Vec<YamlField>,
}

/// Reads the first document of a text.
pub(super) fn read(text: &str) -> Result<YamlDocument, YamlError> {
    let mut reader = Reader { lines: Lines::of(text), stack: Vec::new(), root: None, fields: Vec::new() };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError {
            line: reader.lines.at(error.marker()),
            why: error.info().to_owned(),
        })?;
        reader.take(event, span)?;
    }
    Ok(match reader.root {
        None => YamlDocument::Other(YamlKind::Null),
        Some(YamlKind::Mapping) => YamlDocument::Fields(reader.fields),
        Some(other) => YamlDocument::Other(other),
    })
}

impl Reader {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let line = self.lines.at(&span.start);
        if let Event::Scalar(_, _, _, Some(tag))
        | Event::SequenceStart(_, Some(tag))
        | Event::MappingStart(_, Some(tag)) = &event
            && tag.handle == "!"
            && !tag.suffix.is_empty()
        {
            let suffix: String = tag.suffix.chars().take(SHOWN).collect();
            return Err(YamlError { line, why: format!("the tag `!{suffix}` is unknown") });
        }
        match event {
            Event::Scalar(text, style, _, tag) => {
                let kind = if tag.is_some() { YamlKind::Opaque } else { kind_of(&text, style) };
                self.node(kind, &text, line)?;
            }
            Event::Alias(_) => self.node(YamlKind::Opaque, "", line)?,
            Event::SequenceStart(..) => {
                self.node(YamlKind::List, "", line)?;
                self.stack.push(Open { keys: None, at_key: false });
            }
            Event::MappingStart(..) => {
                self.node(YamlKind::Mapping, "", line)?;
                self.stack.push(Open { keys: Some(HashSet::new()), at_key: true });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.stack.pop();
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                return Err(YamlError { line, why: "a second document begins".to_owned() });
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the beginning of a node: a key, a value, an item or the root.
    fn node(&mut self, kind: YamlKind, text: &str, line: usize) -> Result<(), YamlError> {
        let depth = self.stack.len();
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(kind);
            return Ok(());
        };
        match &mut open.keys {
            Some(keys) if open.at_key => {
                open.at_key = false;
                let is_scalar = !matches!(kind, YamlKind::List | YamlKind::Mapping | YamlKind::Opaque);
                if is_scalar && text != "<<" && !keys.insert(text.to_owned()) {
                    let name: String = text.chars().take(SHOWN).collect();
                    return Err(YamlError { line, why: format!("the key `{name}` occurs twice") });
                }
                if depth == 1 {
                    let (kind, name) = (YamlKind::Null, text.to_owned());
                    self.fields.push(YamlField { name, line, kind, text: String::new(), items: Vec::new() });
                }
            }
            Some(_) => {
                open.at_key = true;
                if depth == 1
                    && let Some(field) = self.fields.last_mut()
                {
                    (field.kind, field.text) = (kind, text.to_owned());
                }
            }
            None => {
                if depth == 2
                    && let Some(field) = self.fields.last_mut()
                    && !field.items.contains(&kind)
                {
                    field.items.push(kind);
                }
            }
        }
        Ok(())
    }
}

fn kind_of(text: &str, style: ScalarStyle) -> YamlKind {
    if style != ScalarStyle::Plain {
        return YamlKind::Text;
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => YamlKind::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => YamlKind::Boolean,
        _ if is_number(text) => YamlKind::Number,
        _ if is_date(text) => YamlKind::Date,
        _ => YamlKind::Text,
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = unsigned.strip_prefix(prefix) {
            return !digits.is_empty() && digits.chars().all(|digit| digit == '_' || digit.is_digit(radix));
        }
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    // Rust also reads words, such as `inf`, as numbers.
    unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && !unsigned.ends_with('_')
        && unsigned.replace('_', "").parse::<f64>().is_ok()
}

/// True for `2026-01-31`, with or without a time behind it.
fn is_date(text: &str) -> bool {
    let form = |text: &str| {
        text.bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() })
    };
    let (date, rest) = text.split_at_checked(10).unwrap_or(("", text));
    date.len() == 10 && form(date) && (rest.is_empty() || rest.starts_with(['T', 't', ' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(String, YamlKind)> {
        match read(text).unwrap() {
            YamlDocument::Fields(fields) => {
                fields.into_iter().map(|field| (field.name, field.kind)).collect()
            }
            YamlDocument::Other(kind) => panic!("{kind:?}"),
        }
    }

    #[test]
    fn values_have_the_types_that_docusaurus_gives_them() {
        for (value, kind) in [
            ("", YamlKind::Null),
            ("~", YamlKind::Null),
            ("yes", YamlKind::Text),
            ("True", YamlKind::Boolean),
            ("12", YamlKind::Number),
            ("-1.5e3", YamlKind::Number),
            ("0x1F", YamlKind::Number),
            ("inf", YamlKind::Text),
            ("1.2.3", YamlKind::Text),
            ("2026-01-31", YamlKind::Date),
            ("'12'", YamlKind::Text),
            ("[a, 1]", YamlKind::List),
            ("{a: 1}", YamlKind::Mapping),
            ("!!str 1", YamlKind::Opaque),
            ("|\n  long\n  text", YamlKind::Text),
        ] {
            assert_eq!(
                kinds(&format!("key: {value}\nnext: x")),
                [("key".to_owned(), kind), ("next".to_owned(), YamlKind::Text)]
            );
        }
    }

    #[test]
    fn a_field_inside_another_is_no_field_of_the_page() {
        let text = "a:\n  slug: x\n  list: [[1], {b: 2}]\nslug: y\nlist:\n  - one\n  - 2\n  - two\n";
        let YamlDocument::Fields(fields) = read(text).unwrap() else { panic!("no mapping") };
        let names: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.line)).collect();
        assert_eq!(names, [("a", 1), ("slug", 4), ("list", 5)]);
        assert_eq!(fields[2].items, [YamlKind::Text, YamlKind::Number]);
        assert_eq!(fields[1].text, "y");
    }

    #[test]
    fn a_line_ends_at_a_line_feed_alone() {
        assert_eq!(read("ö: 1\r# x\r\nb: c: d\n").unwrap_err().line, 2);
        assert_eq!(read("a:\r\r  - 1\r\nb: 2\nb: 3\n").unwrap_err().line, 3);
        let YamlDocument::Fields(fields) = read("a: 1\r\nb: \"ü\r\r\n  x\"\nc: 3\n").unwrap() else {
            panic!()
        };
        assert_eq!(fields.iter().map(|field| field.line).collect::<Vec<_>>(), [1, 2, 4]);
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_line() {
        assert_eq!(read("a: 1\nb: c: d\n").unwrap_err().line, 2);
        let twice = read("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!((twice.line, twice.why.as_str()), (3, "the key `a` occurs twice"));
        assert!(read("x: {a: 1, a: 2}").is_err());
        assert_eq!(read("x: !env SLUG").unwrap_err().why, "the tag `!env` is unknown");
        assert_eq!(read("just text").unwrap(), YamlDocument::Other(YamlKind::Text));
        assert_eq!(read("- a\n- b").unwrap(), YamlDocument::Other(YamlKind::List));
        assert_eq!(read("# a comment").unwrap(), YamlDocument::Other(YamlKind::Null));
    }

    #[test]
    fn hostile_yaml_ends_soon_and_without_a_deep_stack() {
        const BYTES: usize = 500_000;
        let laughs: Vec<_> =
            (1..5_000).map(|n| format!("k{n}: &a{n} [*a{m}, *a{m}, *a{m}]\n", m = n - 1)).collect();
        let steps: Vec<_> = (0..700).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        for text in [format!("k0: &a0 [x]\n{}", laughs.concat()), steps.concat()] {
            read(&text).unwrap();
        }
        for piece in [
            "[",
            "{",
            "- ",
            "? ",
            "&a ",
            "a: &b *b\n",
            "- - ",
            "{a: [",
            "!a ",
            "'",
            "\"\\",
            "|\n",
            "k: [*k]\n",
        ] {
            let _ = read(&piece.repeat(BYTES / piece.len()));
        }
    }
}
