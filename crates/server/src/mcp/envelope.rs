//! Streaming reader of the top level of a JSON-RPC message: its id, its method, and which fields it has.
//! It keeps what it read before a syntax error, so that the answer can have the message's own id, and
//! has no more than one string in memory, however large the message is.
//!
//! Nothing is skipped unread: numbers, escapes and nesting are checked by the same rules as in the
//! parser of the message, so a text accepted here fails there only for its shape.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Value};

/// Longest string of a top-level field that is kept.
const MAX_TEXT_BYTES: usize = 1_000;

/// Top-level fields of a message.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    pub(crate) version: Option<Value>,
    pub(crate) id: Option<Value>,
    pub(crate) method: Option<Value>,
    /// JSON kinds of `params` and its `_meta`, such as `an object`.
    pub(crate) params: Option<&'static str>,
    pub(crate) meta: Option<&'static str>,
    /// True if there is a `result` or an `error`.
    pub(crate) is_answer: bool,
    /// A field that occurs twice.
    pub(crate) twice: Option<&'static str>,
    pub(crate) repaired: Repaired,
}

/// Parts of a message that contain a repaired position.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Repaired {
    /// An argument of a call; `arguments` for a repaired name of one.
    pub(crate) argument: Option<String>,
    /// Any part outside of the arguments, such as `id` or `params.name`.
    pub(crate) elsewhere: Option<String>,
}

impl Envelope {
    /// Reads as far as the text is JSON; also returns the kind of the whole, or the syntax error.
    pub(crate) fn read(text: &[u8]) -> (Self, Result<&'static str, Error>) {
        let parser = serde_json::Deserializer::from_slice(text);
        Self::walked(parser, Finder { at: &Cell::new(0), repairs: &[] })
    }

    /// The same for a text that was repaired at these offsets, in rising order.
    pub(crate) fn locate(text: &[u8], repairs: &[usize]) -> (Self, Result<&'static str, Error>) {
        let at = Cell::new(0);
        let parser = serde_json::Deserializer::from_reader(Counting { rest: text, at: &at });
        Self::walked(parser, Finder { at: &at, repairs })
    }

    fn walked<'de, R: serde_json::de::Read<'de>>(
        mut parser: serde_json::Deserializer<R>,
        finder: Finder,
    ) -> (Self, Result<&'static str, Error>) {
        let mut envelope = Self::default();
        let kind = Walk { part: Part::Message(&mut envelope), finder }.deserialize(&mut parser);
        let whole = kind.and_then(|kind| parser.end().map(|()| kind));
        (envelope, whole)
    }

    /// Selects how a top-level field is read, and notes a duplicate.
    fn part(&mut self, name: &str) -> Part<'_> {
        let (name, kept) = match name {
            "jsonrpc" => ("jsonrpc", &mut self.version),
            "id" => ("id", &mut self.id),
            "method" => ("method", &mut self.method),
            "params" => {
                if self.params.is_some() {
                    self.twice.get_or_insert("params");
                }
                return Part::Params(self);
            }
            other => {
                self.is_answer |= matches!(other, "result" | "error");
                return Part::Other;
            }
        };
        if kept.is_some() {
            self.twice.get_or_insert(name);
        }
        Part::Kept(kept)
    }

    /// Id for the answer; null if there is none, or it is not a valid id.
    pub(crate) fn answerable_id(&self) -> Value {
        let id = self.id.as_ref().filter(|id| id.is_string() || id.is_number());
        let is_known = !self.is_answer && self.repaired.elsewhere.as_deref() != Some("id");
        id.filter(|_| is_known).cloned().unwrap_or_default()
    }

    /// True if no client waits for an answer: the message is an answer itself, or a notification. In an
    /// incomplete message an id might still follow.
    pub(crate) fn wants_no_answer(&self, is_whole: bool) -> bool {
        match &self.method {
            Some(method) => {
                let method = method.as_str().unwrap_or_default();
                self.id.is_none() && (is_whole || method.starts_with("notifications/"))
            }
            None => self.is_answer,
        }
    }
}

/// Reader over a text for the parser, which reads byte by byte; counts the bytes read.
struct Counting<'a> {
    rest: &'a [u8],
    at: &'a Cell<usize>,
}

impl Read for Counting<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.rest.read(into)?;
        self.at.set(self.at.get() + bytes);
        Ok(bytes)
    }
}

/// Finds out if a repaired position lies in the bytes read since a mark. The parser may be a byte ahead,
/// which is never a repaired one: those lie between quotes.
#[derive(Clone, Copy)]
struct Finder<'a> {
    at: &'a Cell<usize>,
    repairs: &'a [usize],
}

impl Finder<'_> {
    fn found_since(self, mark: usize) -> bool {
        let first = self.repairs.partition_point(|repair| *repair < mark);
        self.repairs.get(first).is_some_and(|repair| *repair < self.at.get())
    }
}

/// Role of the value to be read.
enum Part<'a> {
    Message(&'a mut Envelope),
    Params(&'a mut Envelope),
    Arguments(&'a mut Option<String>),
    /// A field that is kept if it is small.
    Kept(&'a mut Option<Value>),
    Other,
}

/// Visitor that reads a value to its end and returns its kind.
struct Walk<'a, 'f> {
    part: Part<'a>,
    finder: Finder<'f>,
}

impl Walk<'_, '_> {
    /// Notes a value that is no string, list or object.
    fn plain(self, value: Value, kind: &'static str) -> &'static str {
        if let Part::Kept(kept) = self.part {
            *kept = Some(value);
        }
        kind
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<&'static str, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = &'static str;

    fn expecting(&self, into: &mut fmt::Formatter) -> fmt::Result {
        into.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<&'static str, E> {
        Ok(self.plain(Value::Null, "null"))
    }

    fn visit_bool<E>(self, value: bool) -> Result<&'static str, E> {
        Ok(self.plain(value.into(), "a boolean"))
    }

    fn visit_u64<E>(self, value: u64) -> Result<&'static str, E> {
        Ok(self.plain(value.into(), "a number"))
    }

    fn visit_i64<E>(self, value: i64) -> Result<&'static str, E> {
        Ok(self.plain(value.into(), "a number"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<&'static str, E> {
        Ok(self.plain(value.into(), "a number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<&'static str, E> {
        if let Part::Kept(kept) = self.part {
            // A longer string counts as present, without its value.
            *kept = Some(if text.len() > MAX_TEXT_BYTES { Value::Null } else { text.into() });
        }
        Ok("text")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<&'static str, A::Error> {
        if let Part::Kept(kept) = self.part {
            *kept = Some(Value::Null);
        }
        while items.next_element_seed(Walk { part: Part::Other, finder: self.finder })?.is_some() {}
        Ok("a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<&'static str, A::Error> {
        let finder = self.finder;
        match self.part {
            Part::Message(envelope) => read_message(envelope, finder, fields)?,
            Part::Params(envelope) => read_params(envelope, finder, fields)?,
            Part::Arguments(argument) => read_arguments(argument, finder, fields)?,
            Part::Kept(kept) => {
                *kept = Some(Value::Null);
                read_other(finder, fields)?;
            }
            Part::Other => read_other(finder, fields)?,
        }
        Ok("an object")
    }
}

/// A field of an object, read to its end.
struct Field {
    name: String,
    /// Kind of its value.
    kind: &'static str,
    is_name_repaired: bool,
    is_value_repaired: bool,
}

/// Reads the next field; `part` selects by its name how the value is read.
fn next_field<'de, 'p, A: MapAccess<'de>>(
    fields: &mut A,
    finder: Finder,
    part: impl FnOnce(&str) -> Part<'p>,
) -> Result<Option<Field>, A::Error> {
    let start = finder.at.get();
    let Some(name) = fields.next_key::<String>()? else { return Ok(None) };
    let is_name_repaired = finder.found_since(start);
    let start = finder.at.get();
    let kind = fields.next_value_seed(Walk { part: part(&name), finder })?;
    let is_value_repaired = finder.found_since(start);
    Ok(Some(Field { name, kind, is_name_repaired, is_value_repaired }))
}

fn read_message<'de, A: MapAccess<'de>>(
    envelope: &mut Envelope,
    finder: Finder,
    mut fields: A,
) -> Result<(), A::Error> {
    while let Some(field) = next_field(&mut fields, finder, |name| envelope.part(name))? {
        if field.name == "params" {
            envelope.params = Some(field.kind);
        }
        let place = match field {
            Field { is_name_repaired: true, .. } => "a name".to_owned(),
            Field { is_value_repaired: true, name, .. } if name != "params" => name,
            _ => continue,
        };
        envelope.repaired.elsewhere.get_or_insert(place);
    }
    Ok(())
}

fn read_params<'de, A: MapAccess<'de>>(
    envelope: &mut Envelope,
    finder: Finder,
    mut fields: A,
) -> Result<(), A::Error> {
    let Repaired { argument, elsewhere } = &mut envelope.repaired;
    while let Some(field) = next_field(&mut fields, finder, |name| match name {
        "arguments" => Part::Arguments(argument),
        _ => Part::Other,
    })? {
        if field.name == "_meta" {
            envelope.meta = Some(field.kind);
        }
        let has_names = field.name == "arguments" && field.kind == "an object";
        let place = match field {
            Field { is_name_repaired: true, .. } => "params".to_owned(),
            Field { is_value_repaired: true, name, .. } if !has_names => format!("params.{name}"),
            _ => continue,
        };
        elsewhere.get_or_insert(place);
    }
    Ok(())
}

fn read_arguments<'de, A: MapAccess<'de>>(
    argument: &mut Option<String>,
    finder: Finder,
    mut fields: A,
) -> Result<(), A::Error> {
    loop {
        let mut inner = None;
        let Some(field) = next_field(&mut fields, finder, |name| match name {
            // Older clients wrap the arguments.
            "params" => Part::Arguments(&mut inner),
            _ => Part::Other,
        })?
        else {
            return Ok(());
        };
        if field.is_name_repaired {
            argument.get_or_insert("arguments".to_owned());
        } else if field.is_value_repaired {
            argument.get_or_insert(inner.unwrap_or(field.name));
        }
    }
}

fn read_other<'de, A: MapAccess<'de>>(finder: Finder, mut fields: A) -> Result<(), A::Error> {
    while next_field(&mut fields, finder, |_| Part::Other)?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_id_before_the_fault_is_known_and_one_after_it_is_not() {
        for (text, id) in [
            (r#"{"id":7,"method":"x","params":{"a":NaN}}"#, json!(7)),
            (r#"{"jsonrpc":"2.0","id":"a","params":{"id":8,"#, json!("a")),
            (r#"{"id":7} trailing"#, json!(7)),
            (r#"{"method":"x","params":{"a":NaN},"id":7}"#, Value::Null),
            (r#"{"params":{"id":7},"method":"x""#, Value::Null),
            (r#"{"id":7,"error":{"code":1,}}"#, Value::Null),
            (r#"{"id":{"a":1},"method":}"#, Value::Null),
            (r#"{"id":1e999,"method":"x"}"#, Value::Null),
        ] {
            let (envelope, read) = Envelope::read(text.as_bytes());
            assert!(read.is_err(), "{text}");
            assert_eq!(envelope.answerable_id(), id, "{text}");
        }
    }

    #[test]
    fn what_it_takes_is_what_the_parser_of_messages_takes() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for text in [
            r#""\ud83d""#,
            r#""\ude00\ud83d""#,
            "1e999",
            "[01]",
            "{\"a\":\"\u{1}\"}",
            "[1,]",
            deep.as_str(),
            "{}x",
        ] {
            assert!(Envelope::read(text.as_bytes()).1.is_err(), "{text}");
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
        }
        for text in [r#""\ud83d\ude00""#, "-1.5e10", r#"{"a":[null,true,{"b":{}}]}"#, "7"] {
            assert!(Envelope::read(text.as_bytes()).1.is_ok(), "{text}");
        }
    }

    #[test]
    fn a_repaired_place_is_known_by_the_argument_that_holds_it() {
        for (text, argument, elsewhere) in [
            (r#"{"params":{"name":"x","arguments":{"a":"1","b":"@","c":"3"}}}"#, Some("b"), None),
            (r#"{"params":{"arguments":{"a":"@"}},"id":1}"#, Some("a"), None),
            (r#"{"params":{"arguments":{"a":[{"x":"1@"}] ,"b":1}}}"#, Some("a"), None),
            (r#"{"params":{"arguments":{"a@":1}}}"#, Some("arguments"), None),
            (r#"{"params":{"arguments":{"params":{"b":"@"}}}}"#, Some("b"), None),
            (r#"{"params":{"arguments":{"params":"@"}}}"#, Some("params"), None),
            (r#"{"params":{"arguments":"@"}}"#, None, Some("params.arguments")),
            (r#"{"params":{"name":"@","arguments":{"a":"b"}}}"#, None, Some("params.name")),
            (r#"{"params":{"_meta":{"a":"@"},"arguments":{"a":"@"}}}"#, Some("a"), Some("params._meta")),
            (r#"{"id":"@","method":"x"}"#, None, Some("id")),
            (r#"{"me@hod":"x","id":1}"#, None, Some("a name")),
        ] {
            let repairs: Vec<_> = text.match_indices('@').map(|(at, _)| at).collect();
            let (envelope, read) = Envelope::locate(text.as_bytes(), &repairs);
            assert!(read.is_ok());
            let found =
                Repaired { argument: argument.map(str::to_owned), elsewhere: elsewhere.map(str::to_owned) };
            assert_eq!(envelope.repaired, found, "{text}");
        }
    }
}
