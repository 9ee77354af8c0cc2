//! Arguments `outline`, `section` and `lines` of `read_content`, which exclude each other, and the fields of
//! their answers. Pages of an outline are of the version of the first page.

use panaversity_model::file::BaseChange;
use panaversity_model::lines::Excerpt;
use panaversity_model::outline::{Heading, SectionName};
use panaversity_model::{ContentHash, Refusal};
use panaversity_service::read::{OutlinePage, ReadPart};
use rmcp::model::JsonObject;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::mcp::arguments::Arguments;
use crate::mcp::cursor::{bad_cursor, cursor};

/// Start of a page of an outline.
#[derive(Serialize, Deserialize)]
struct OutlinePosition {
    hash: String,
    from: usize,
}

/// The part that a call asks for.
pub(super) fn asked(arguments: &mut Arguments) -> Result<ReadPart, Refusal> {
    let outline = arguments.flag("outline")?.then_some(ReadPart::Outline(0));
    let section = arguments.text("section")?.map(|raw| SectionName::parse(&raw)).transpose()?;
    let lines = arguments.lines()?;
    let mut given =
        [outline, section.map(ReadPart::Section), lines.map(ReadPart::Lines)].into_iter().flatten();
    match (given.next(), given.next()) {
        (None, _) => Ok(ReadPart::Whole),
        (Some(part), None) => Ok(part),
        (Some(part), Some(other)) => {
            let why = format!("leave it out together with {}: they exclude each other", part.argument());
            Err(Refusal::argument(other.argument(), why))
        }
    }
}

/// Moves an outline to the page of the call's cursor; returns the version to which the cursor belongs.
pub(super) fn go_on(part: &mut ReadPart, arguments: &mut Arguments) -> Result<Option<ContentHash>, Refusal> {
    let ReadPart::Outline(from) = part else {
        if arguments.text("cursor")?.is_some() {
            let why = "only wider scopes and outlines have pages: leave it out for one file";
            return Err(Refusal::argument("cursor", why));
        }
        return Ok(None);
    };
    let Some(position) = arguments.cursor::<OutlinePosition>()? else { return Ok(None) };
    *from = position.from;
    ContentHash::from_hex(&position.hash).map(Some).ok_or_else(bad_cursor)
}

/// Adds an excerpt to an answer.
pub(super) fn put_excerpt(fields: &mut JsonObject, excerpt: Excerpt) {
    let Excerpt { text, first_line, last_line, total_lines } = excerpt;
    fields.insert("content".to_owned(), text.into());
    for (name, line) in [("first_line", first_line), ("last_line", last_line), ("total_lines", total_lines)] {
        fields.insert(name.to_owned(), line.into());
    }
}

/// Adds headings of the version with this hash to an answer.
pub(super) fn put_outline(fields: &mut JsonObject, outline: OutlinePage, hash: ContentHash) {
    let headings = outline.headings.into_iter().map(heading).collect();
    fields.insert("headings".to_owned(), Value::Array(headings));
    fields.insert("total_lines".to_owned(), outline.total_lines.into());
    if let Some(from) = outline.next {
        let position = OutlinePosition { hash: hash.to_string(), from };
        fields.insert("next_cursor".to_owned(), cursor(&position));
    }
}

fn heading(heading: Heading) -> Value {
    let Heading { level, title, slug, first_line, last_line, bytes } = heading;
    json!({
        "level": level, "title": title, "slug": slug, "first_line": first_line, "last_line": last_line,
        "bytes": bytes,
    })
}

/// Adds to an answer that the base has changed below the overlay's file.
pub(super) fn put_base_change(body: &mut Value, change: BaseChange) {
    body["base_changed"] = true.into();
    for (name, hash) in [("base_hash_then", change.then), ("base_hash_now", change.now)] {
        if let Some(hash) = hash {
            body[name] = hash.to_string().into();
        }
    }
}
