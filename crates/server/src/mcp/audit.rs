//! `query_audit_log` and `verify_audit_chain`. Keeps R5: without `user_id` they see the base,
//! with it that user's entries and nobody else's.

use globset::{GlobBuilder, GlobMatcher};
use panaversity_model::audit::{Entry, EntryFilter, EntryPosition, Operation};
use panaversity_model::chain::Break;
use panaversity_model::{BookPath, Layer, Refusal, Timestamp};
use panaversity_service::Call;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::mcp::arguments::{Arguments, bad_cursor, cursor};
use crate::mcp::calls::Ending;

/// Entries on a page, and the most one may ask for.
pub(super) const ENTRIES_A_PAGE: usize = 100;
pub(super) const MOST_ENTRIES: usize = 1_000;

const STATUSES: [(&str, &str); 3] = [("success", "success"), ("refused", "refused"), ("failed", "failed")];

/// A query's cursor.
#[derive(Serialize, Deserialize)]
struct After {
    at: i64,
    id: String,
}

pub(super) async fn query(app: &App, _: &mut Call, mut arguments: Arguments) -> Ending {
    let book = arguments.book()?;
    let layer = Some(Layer::of(arguments.user()?));
    let glob = arguments.text("path")?.map(|raw| Pattern::parse(&raw)).transpose()?;
    let agent = arguments.text("agent_id")?;
    if agent.as_ref().is_some_and(|agent| agent.contains(char::is_control)) {
        return Err(Refusal::argument("agent_id", "no agent's name has control characters").into());
    }
    let operations = Operation::ALL.map(|operation| (operation.as_str(), operation.as_str()));
    let operation = arguments.choice("operation", &operations)?.map(str::to_owned);
    let status = arguments.choice("status", &STATUSES)?.map(str::to_owned);
    let (from, to) = (arguments.moment("from")?, arguments.moment("to")?);
    let after = arguments.cursor::<After>()?;
    if after.as_ref().is_some_and(|after| after.id.contains(char::is_control)) {
        return Err(bad_cursor().into());
    }
    let after =
        after.map(|after| EntryPosition { timestamp: Timestamp::from_micros(after.at), id: after.id });
    let limit = arguments.count("limit", MOST_ENTRIES)?.unwrap_or(ENTRIES_A_PAGE);
    let (path_from, path_to) = glob.as_ref().map_or((None, None), Pattern::range);
    let filter = EntryFilter { book, path_from, path_to, agent, operation, status, layer, from, to };
    let keep = |entry: &Entry| glob.as_ref().is_none_or(|glob| glob.matcher.is_match(&entry.path));
    let page = app.service.query_audit_log(&filter, after, limit, keep).await?;
    let mut body = json!({ "entries": page.entries.into_iter().map(rendered).collect::<Vec<_>>() });
    if let Some(next) = page.next {
        body["next_cursor"] = cursor(&After { at: next.timestamp.micros(), id: next.id });
    }
    Ok(body.into())
}

/// A glob over paths.
struct Pattern {
    matcher: GlobMatcher,
    /// What every path that matches begins with.
    prefix: String,
}

impl Pattern {
    fn parse(raw: &str) -> Result<Self, Refusal> {
        let refused = |why: String| Refusal::argument("path", why);
        if raw.len() > panaversity_model::path::MAX_BYTES {
            return Err(refused("a pattern has at most 255 bytes".to_owned()));
        }
        if raw.contains(char::is_control) {
            return Err(refused("no path has control characters".to_owned()));
        }
        let glob = GlobBuilder::new(raw).literal_separator(true).build();
        let glob = glob.map_err(|why| refused(format!("it is no glob: {}", why.kind())))?;
        let literal = raw.find(['*', '?', '[', '{', '\\']).map_or(raw, |at| &raw[..at]);
        Ok(Self { matcher: glob.compile_matcher(), prefix: literal.to_owned() })
    }

    /// The bounds, bytewise, of all paths with the prefix.
    fn range(&self) -> (Option<String>, Option<String>) {
        let from = Some(self.prefix.clone()).filter(|prefix| !prefix.is_empty());
        (from, successor(&self.prefix))
    }
}

/// The first text, bytewise, after all that begin with `prefix`: UTF-8 keeps the order of its
/// characters, so the last one that has a next is replaced by it.
fn successor(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // A range of characters steps over the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

/// An entry with every column that is not null.
fn rendered(entry: Entry) -> Value {
    let columns = [
        ("id", Some(entry.id)),
        ("timestamp", Some(entry.timestamp.to_string())),
        ("agent_id", Some(entry.agent_id)),
        ("operation", Some(entry.operation)),
        ("book_id", Some(entry.book_id)),
        ("path", Some(entry.path)),
        ("user_id", Some(entry.user_id)),
        ("status", Some(entry.status)),
        ("error_code", entry.error_code),
        ("error_message", entry.error_message),
        ("request_id", Some(entry.request_id)),
        ("change_id", entry.change_id),
        ("old_content_hash", entry.old_content_hash),
        ("new_content_hash", entry.new_content_hash),
        ("prev_hash", entry.prev_hash),
        ("entry_hash", Some(entry.entry_hash)),
    ];
    let given = columns.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::from(text?))));
    let mut fields: Map<_, _> = given.collect();
    fields.insert("execution_time_ms".to_owned(), entry.execution_time_ms.into());
    Value::Object(fields)
}

pub(super) async fn verify(app: &App, _: &mut Call, mut arguments: Arguments) -> Ending {
    let book = arguments.book()?;
    let path = arguments.path()?;
    let layer = Layer::of(arguments.user()?);
    if path.is_some() && book.is_none() {
        return Err(Refusal::argument("book_id", "it is required together with path").into());
    }
    if let Some(book) = &book {
        app.service.require_book(book).await?;
    }
    let path = path.as_ref().map(BookPath::as_str);
    let report = app.service.verify_audit_chain(&layer, book.as_ref(), path).await?;
    let body = json!({
        "valid": report.breaks.is_empty(),
        "entries_checked": report.entries_checked,
        "breaks": report.breaks.iter().map(broken).collect::<Vec<_>>(),
    });
    Ok(body.into())
}

fn broken(found: &Break) -> Value {
    let mut body = json!({ "path": found.key.path, "reason": found.reason });
    if let Some(id) = &found.id {
        body["id"] = id.as_str().into();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pattern_looks_only_where_it_can_match() {
        let range = |raw| Pattern::parse(raw).unwrap().range();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(range("content/01-*/x.md"), (text("content/01-"), text("content/01.")));
        assert_eq!(range("**/x.md"), (None, None));
        assert!(Pattern::parse("a[b").is_err() && Pattern::parse(&"x".repeat(256)).is_err());
        let matches = |raw, path| Pattern::parse(raw).unwrap().matcher.is_match(path);
        assert!(matches("content/**/*.md", "content/a/b/c.md") && !matches("content/*.md", "content/a/b.md"));
    }

    proptest! {
        #[test]
        fn the_range_holds_what_has_the_prefix(prefix in "[a\u{7f}\u{d7ff}\u{10ffff}]{0,3}", other in "[ab\u{80}\u{e000}\u{10ffff}]{0,4}") {
            let begins = other.starts_with(&prefix);
            let within = other >= prefix && successor(&prefix).is_none_or(|end| other < end);
            prop_assert_eq!(begins, within);
        }
    }
}
