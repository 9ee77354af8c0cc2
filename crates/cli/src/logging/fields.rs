//! Serializer of the fields of one event, in their order. Escaping guarantees that a value can
//! neither end the line nor be read as another field.

use std::fmt::{self, Write};

use tracing::Event;
use tracing::field::{Field, Visit};

use super::Form;

/// Names reserved by the line itself; a field with such a name gets an underscore appended.
const TAKEN: [&str; 4] = ["timestamp", "level", "logger", "message"];

/// The message, and the other fields serialized for appending to the line.
pub(super) struct Fields {
    form: Form,
    pub(super) message: String,
    pub(super) rest: String,
}

impl Fields {
    /// Serializes the fields of an event.
    pub(super) fn of(form: Form, event: &Event<'_>) -> Self {
        let mut fields = Self { form, message: String::new(), rest: String::new() };
        event.record(&mut fields);
        fields
    }

    /// Appends a field whose value needs no quotes in either format.
    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        // Writing to a string cannot fail.
        let _ = write!(self.rest, "{value}");
    }

    fn text(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
            return;
        }
        self.name(field);
        match self.form {
            Form::Json => self.rest.push_str(&json_text(value)),
            Form::Text if is_a_word(value) => self.rest.push_str(value),
            Form::Text => {
                let _ = write!(self.rest, "{value:?}");
            }
        }
    }

    fn name(&mut self, field: &Field) {
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        let more = if TAKEN.contains(&name) { "_" } else { "" };
        let _ = match self.form {
            Form::Json => write!(self.rest, ",\"{name}{more}\":"),
            Form::Text => write!(self.rest, " {name}{more}="),
        };
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON cannot represent infinity or NaN as numbers.
        if value.is_finite() { self.bare(field, value) } else { self.text(field, &value.to_string()) }
    }
}

/// A JSON string literal of the text.
pub(super) fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The text with control characters escaped.
pub(super) fn plain(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

fn is_a_word(text: &str) -> bool {
    let splits = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\');
    !text.is_empty() && !text.contains(splits)
}
