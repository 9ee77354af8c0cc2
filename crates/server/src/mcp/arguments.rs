//! Parser of a call's arguments, from loose JSON to typed values. Values are accepted in any spelling
//! with the same meaning, because clients change what a model sent. An argument that doesn't parse is
//! refused by name, in an answer that the agent can act on.
//!
//! 1. `null` counts as not given, and so does `""` for an optional argument. The one exception is
//!    `user_id`: an empty one is refused, so that no write meant for an overlay gets into the base.
//! 2. `""` for a required argument is a value: an empty file is a file.
//! 3. Numbers and booleans may come as text.

use panaversity_model::asset::AssetType;
use panaversity_model::audit::Operation;
use panaversity_model::lines::LineRange;
use panaversity_model::suggestion::nearest_name;
use panaversity_model::{BookId, BookPath, ContentHash, Layer, Refusal, Timestamp, UserId};
use panaversity_service::Call;
use rmcp::model::JsonObject;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use crate::error::Remedy;
use crate::mcp::cursor::{Continued, position};

/// Names of the arguments of a tool or a prompt.
pub(super) struct Signature<'a> {
    /// Names in the schema.
    pub(super) advertised: Vec<&'a str>,
    pub(super) required: Vec<&'a str>,
    /// Former names, still accepted.
    pub(super) earlier: &'a [&'a str],
}

impl Signature<'_> {
    pub(super) fn takes(&self, name: &str) -> bool {
        self.advertised.contains(&name) || self.earlier.contains(&name)
    }

    fn is_optional(&self, name: &str) -> bool {
        self.takes(name) && !self.required.contains(&name)
    }

    /// Correction of a refused argument, which was or was not given.
    pub(super) fn remedy(&self, name: &str, given: bool) -> Remedy {
        match (self.takes(name), given) {
            (true, false) => Remedy::Give,
            (true, true) if !self.is_optional(name) => Remedy::Correct,
            (true, true) => Remedy::LeaveOut,
            (false, true) => Remedy::Rename,
            (false, false) => Remedy::Correct,
        }
    }
}

/// Arguments that are not read yet; reading one removes it.
pub(super) struct Arguments(JsonObject);

impl Arguments {
    /// Unwraps arguments that older clients put into one called `params`, as an object or as its text,
    /// and drops those that count as left out.
    pub(super) fn unwrapped(mut given: JsonObject, signature: &Signature) -> Self {
        if given.len() == 1 && !signature.takes("params") {
            let inner = match given.get_mut("params") {
                Some(Value::Object(inner)) => Some(std::mem::take(inner)),
                Some(Value::String(text)) => serde_json::from_str(text).ok(),
                _ => None,
            };
            given = inner.unwrap_or(given);
        }
        given.retain(|name, value| {
            let is_null = value.is_null() && signature.takes(name);
            let is_empty = *value == "" && signature.is_optional(name) && name != "user_id";
            !(is_null || is_empty)
        });
        Self(given)
    }

    /// Names of the given arguments, apart from those that count as left out.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Removes an argument whose value is not the one that was sent.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Sets book, layer and path of the call, so that its audit entry has them whatever its outcome.
    pub(super) fn note_subject(&self, call: &mut Call) {
        let text = |name| self.0.get(name).and_then(Value::as_str);
        call.book = text("book_id").and_then(|raw| BookId::parse(raw).ok());
        call.layer = Layer::of(text("user_id").and_then(|raw| UserId::parse(raw).ok()));
        // The path of a query is a pattern, and of a wider scope a folder: neither is one file.
        if call.operation != Operation::Query && matches!(text("scope"), None | Some("file")) {
            call.path = text("path").and_then(|raw| BookPath::parse(raw).ok());
            let kind = AssetType::ALL.into_iter().find(|kind| text("asset_type") == Some(kind.as_str()));
            if let (Some(kind), Some(filename)) = (kind, text("filename")) {
                call.path = kind.path_of(filename).ok();
            }
        }
    }

    /// Refuses unknown arguments.
    pub(super) fn refuse_unknown(&self, signature: &Signature) -> Result<(), Refusal> {
        let Some(odd) = self.0.keys().find(|name| !signature.takes(name)) else { return Ok(()) };
        let known = &signature.advertised;
        let meant = nearest_name(odd, known.iter().copied());
        let meant = meant.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        let why = format!("there is no such argument; {meant}Known are {}", known.join(", "));
        // A name may be as long as the body.
        Err(Refusal::argument(&odd.chars().take(100).collect::<String>(), why))
    }

    pub(super) fn book(&mut self) -> Result<Option<BookId>, Refusal> {
        self.text("book_id")?.map(|raw| BookId::parse(&raw)).transpose()
    }

    pub(super) fn path(&mut self) -> Result<Option<BookPath>, Refusal> {
        self.text("path")?.map(|raw| BookPath::parse(&raw)).transpose()
    }

    pub(super) fn asset_type(&mut self) -> Result<Option<AssetType>, Refusal> {
        self.choice("asset_type", &AssetType::ALL.map(|kind| (kind.as_str(), kind)))
    }

    pub(super) fn user(&mut self) -> Result<Option<UserId>, Refusal> {
        let Some(raw) = self.text("user_id")? else { return Ok(None) };
        if raw.is_empty() {
            return Err(Refusal::argument("user_id", "it is empty"));
        }
        UserId::parse(&raw).map(Some)
    }

    pub(super) fn hash(&mut self, name: &'static str) -> Result<Option<ContentHash>, Refusal> {
        self.text(name)?.map(|raw| ContentHash::parse(name, &raw)).transpose()
    }

    /// A range of lines; one line may come as a number.
    pub(super) fn lines(&mut self) -> Result<Option<LineRange>, Refusal> {
        let number = self.0.get("lines").filter(|given| given.is_number()).and_then(whole_number);
        if let Some(line) = number {
            self.0.insert("lines".to_owned(), line.to_string().into());
        }
        self.text("lines")?.map(|raw| LineRange::parse(&raw)).transpose()
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Refusal::argument(name, format!("it must be text, not {}", kind(&other)))),
        }
    }

    pub(super) fn moment(&mut self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        let why = "it must be a time in RFC 3339, such as 2026-11-30T12:00:00Z";
        let parse = |raw: String| Timestamp::parse(&raw).ok_or_else(|| Refusal::argument(name, why));
        self.text(name)?.map(parse).transpose()
    }

    pub(super) fn count(&mut self, name: &str, least: usize, most: usize) -> Result<Option<usize>, Refusal> {
        let Some(given) = self.0.remove(name).filter(|given| !given.is_null()) else { return Ok(None) };
        let number = whole_number(&given).and_then(|number| usize::try_from(number).ok());
        let number = number.filter(|number| (least..=most).contains(number));
        number.map(Some).ok_or_else(|| {
            Refusal::argument(name, format!("it must be a whole number from {least} to {most}"))
        })
    }

    /// A boolean; false if left out.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        self.flag_or(name, false)
    }

    /// A boolean; `default` if left out.
    pub(super) fn flag_or(&mut self, name: &str, default: bool) -> Result<bool, Refusal> {
        let given = self.0.remove(name).unwrap_or_default();
        match &given {
            Value::Null => Ok(default),
            Value::Bool(flag) => Ok(*flag),
            Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Ok(true),
            Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Ok(false),
            other => Err(Refusal::argument(name, format!("it must be true or false, not {}", kind(other)))),
        }
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &str,
        words: &[(&'static str, T)],
    ) -> Result<Option<T>, Refusal> {
        let Some(given) = self.text(name)? else { return Ok(None) };
        if let Some((_, chosen)) = words.iter().find(|(word, _)| *word == given) {
            return Ok(Some(*chosen));
        }
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        Err(Refusal::argument(name, format!("it must be one of {}", all.join(", "))))
    }

    /// A list of objects, also as the JSON text of one. Each is read by `read` as arguments of its own, of
    /// which only those of these names are known.
    pub(super) fn objects<T>(
        &mut self,
        name: &str,
        known: &[&str],
        mut read: impl FnMut(&mut Self) -> Result<T, Refusal>,
    ) -> Result<Option<Vec<T>>, Refusal> {
        let Some(mut given) = self.0.remove(name).filter(|given| !given.is_null()) else { return Ok(None) };
        if let Value::String(text) = &given {
            given = serde_json::from_str(text).unwrap_or(given);
        }
        let Value::Array(items) = given else {
            return Err(Refusal::argument(name, format!("it must be a list, not {}", kind(&given))));
        };
        let one = |(index, item): (usize, Value)| {
            let Value::Object(fields) = item else {
                let why = format!("it must be an object, not {}", kind(&item));
                return Err(Refusal::argument(&format!("{name}[{index}]"), why));
            };
            let mut fields = Self(fields);
            fields.0.retain(|_, value| !value.is_null());
            let result = read(&mut fields).and_then(|item| fields.refuse_others(known).map(|()| item));
            result.map_err(|refusal| within(refusal, &format!("{name}[{index}]")))
        };
        items.into_iter().enumerate().map(one).collect::<Result<Vec<T>, Refusal>>().map(Some)
    }

    fn refuse_others(&self, known: &[&str]) -> Result<(), Refusal> {
        let Some(odd) = self.0.keys().find(|name| !known.contains(&name.as_str())) else { return Ok(()) };
        let why = format!("there is no such field; known are {}", known.join(", "));
        Err(Refusal::argument(&odd.chars().take(100).collect::<String>(), why))
    }

    /// Identity of this call for its cursors; a cursor among its arguments must be one of its own.
    pub(super) fn continued(&mut self, tool: &str) -> Result<Continued, Refusal> {
        let call = Continued::of(tool, &self.0);
        if let Some(Value::String(cursor)) = self.0.get_mut("cursor") {
            *cursor = call.open(cursor)?;
        }
        Ok(call)
    }

    /// Position of the next page, as [`cursor`](crate::mcp::cursor::cursor) encoded it.
    pub(super) fn cursor<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Refusal> {
        self.text("cursor")?.map(|raw| position(&raw)).transpose()
    }
}

/// A refusal of a field, as one of the argument that has it.
fn within(refusal: Refusal, place: &str) -> Refusal {
    match refusal {
        Refusal::InvalidArgument { argument, why } if argument.starts_with('[') => {
            Refusal::InvalidArgument { argument: format!("{place}{argument}"), why }
        }
        Refusal::InvalidArgument { argument, why } => {
            Refusal::InvalidArgument { argument: format!("{place}.{argument}"), why }
        }
        Refusal::InvalidPath { path, why } => {
            Refusal::InvalidPath { path, why: format!("{why} (in {place})") }
        }
        other => other,
    }
}

/// Unwraps a required argument.
pub(super) fn needed<T>(name: &str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::argument(name, "it is required"))
}

/// A whole number, also as text or with a fraction of zero.
fn whole_number(value: &Value) -> Option<u64> {
    /// Beyond it a float does not determine the number that was meant.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::String(text) => {
            whole_number(&Value::Number(serde_json::from_str::<Number>(text.trim()).ok()?))
        }
        Value::Number(number) => number.as_u64().or_else(|| {
            let number = number.as_f64().filter(|number| (0.0..=EXACT).contains(number))?;
            // A float without a fraction prints without one.
            number.to_string().parse().ok()
        }),
        _ => None,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
