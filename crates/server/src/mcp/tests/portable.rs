//! The input schemas use only keywords that both `OpenAI`'s strict function calling and Gemini's
//! `FunctionDeclaration.parameters` accept. A provider that finds another keyword refuses the whole list
//! of tools, and its users see none of them.

use serde_json::{Map, Value, json};

use crate::mcp::tools;

/// The common subset, with the types that a keyword applies to. Sources, as of November 2026: `OpenAI`,
/// "Structured outputs", section "Supported schemas" (no `default`, `minLength`, `maxLength`,
/// `uniqueItems`, `allOf`, `oneOf`, `not`); Gemini, reference of `Schema` ("a select subset of an
/// `OpenAPI` 3.0 schema object": one type each, `enum` of strings, no `const`, `$ref`,
/// `additionalProperties`, `exclusiveMinimum`, `multipleOf`). `title` is accepted by both but useless to
/// a model; for `format` they accept different values.
const KEYWORDS: [(&str, &[&str]); 11] = [
    ("type", &["object", "array", "string", "integer", "number", "boolean"]),
    ("description", &["object", "array", "string", "integer", "number", "boolean"]),
    ("properties", &["object"]),
    ("required", &["object"]),
    ("items", &["array"]),
    ("minItems", &["array"]),
    ("maxItems", &["array"]),
    ("enum", &["string"]),
    ("pattern", &["string"]),
    ("minimum", &["integer", "number"]),
    ("maximum", &["integer", "number"]),
];

/// Deepest nesting that both accept.
const DEEPEST: usize = 5;

/// Python's keywords: an argument with such a name can't be a parameter of a generated function.
const RESERVED: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
    "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Parts of the schema that one of the two does not accept.
fn faults(schema: &Value, place: &str, depth: usize) -> Vec<String> {
    let fault = |what: &str| vec![format!("{place}: {what}")];
    let Some(fields) = schema.as_object() else { return fault("no object") };
    let Some(kind) = fields.get("type").and_then(Value::as_str) else { return fault("not one type") };
    if depth > DEEPEST {
        return fault("too deep");
    }
    let mut found: Vec<_> = fields.keys().filter_map(|name| keyword_faults(name, kind, place)).collect();
    found.extend(match kind {
        "object" => object_faults(fields, place, depth),
        "array" => fields
            .get("items")
            .map_or_else(|| fault("no items"), |items| faults(items, &format!("{place}[]"), depth + 1)),
        "string" => word_faults(fields, place),
        _ => Vec::new(),
    });
    found
}

fn keyword_faults(name: &str, kind: &str, place: &str) -> Option<String> {
    let kinds = KEYWORDS.iter().find(|(keyword, _)| *keyword == name).map(|(_, kinds)| kinds);
    (!kinds.is_some_and(|kinds| kinds.contains(&kind))).then(|| format!("{place}: {name} on {kind}"))
}

fn object_faults(fields: &Map<String, Value>, place: &str, depth: usize) -> Vec<String> {
    let none = Map::new();
    let properties = fields.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let mut found = Vec::new();
    for (name, schema) in properties {
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !plain || RESERVED.contains(&name.as_str()) {
            found.push(format!("{place}: no name for a parameter: {name}"));
        }
        found.extend(faults(schema, &format!("{place}.{name}"), depth + 1));
    }
    let required = fields.get("required").and_then(Value::as_array).into_iter().flatten();
    let missing = required.filter(|name| !name.as_str().is_some_and(|name| properties.contains_key(name)));
    found.extend(missing.map(|name| format!("{place}: required, but no property: {name}")));
    found
}

fn word_faults(fields: &Map<String, Value>, place: &str) -> Vec<String> {
    let words = fields.get("enum").and_then(Value::as_array);
    let bad = words.is_some_and(|words| {
        words.is_empty() || words.iter().any(|word| word.as_str().is_none_or(str::is_empty))
    });
    // Neither pattern engine supports look-around or back-references.
    let pattern = fields.get("pattern").and_then(Value::as_str).unwrap_or_default();
    let looks = pattern.contains("(?") || pattern.contains("\\1");
    let both = [(bad, "enum is no list of words"), (looks, "pattern looks around")];
    both.into_iter().filter(|(is, _)| *is).map(|(_, what)| format!("{place}: {what}")).collect()
}

#[test]
fn the_input_schemas_are_such_as_every_provider_takes() {
    let found: Vec<_> = tools::ADVERTISED
        .iter()
        .flat_map(|tool| faults(&Value::Object((*tool.input_schema).clone()), &tool.name, 1))
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_check_finds_what_a_provider_refuses() {
    let of = |property: Value| json!({ "type": "object", "properties": { "x": property } });
    for bad in [
        json!({ "type": "object", "properties": {}, "additionalProperties": false }),
        json!({ "type": "object", "properties": {}, "$schema": "https://json-schema.org/draft/2020-12/schema" }),
        json!({ "type": "object", "properties": {}, "required": ["x"] }),
        json!({ "type": "object", "properties": { "from": { "type": "string" } } }),
        json!({ "type": "object", "properties": { "with space": { "type": "string" } } }),
        of(json!({})),
        of(json!({ "enum": ["a"] })),
        of(json!({ "type": ["string", "null"] })),
        of(json!({ "type": "string", "maxLength": 5 })),
        of(json!({ "type": "string", "default": "a" })),
        of(json!({ "type": "string", "const": "a" })),
        of(json!({ "type": "string", "format": "uri" })),
        of(json!({ "type": "string", "enum": [""] })),
        of(json!({ "type": "integer", "enum": [1] })),
        of(json!({ "type": "string", "pattern": "^(?!x)" })),
        of(json!({ "type": "integer", "exclusiveMinimum": 0 })),
        of(json!({ "type": "array" })),
        of(json!({ "type": "array", "items": { "type": "string", "minLength": 1 } })),
        of(json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] })),
        of(json!({ "$ref": "#/$defs/x" })),
        of(of(of(of(of(json!({ "type": "string" })))))),
    ] {
        assert_ne!(faults(&bad, "tool", 1), Vec::<String>::new(), "{bad}");
    }
    let edits =
        json!({ "type": "array", "minItems": 1, "items": of(json!({ "type": "string", "pattern": "^a$" })) });
    assert_eq!(faults(&of(edits), "tool", 1), Vec::<String>::new());
}
