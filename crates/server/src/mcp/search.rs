//! `glob_search` and `grep_search`. Keeps R5: they match only paths, and texts of files, in the caller's
//! view.

use std::sync::Arc;

use panaversity_model::path::Prefix;
use panaversity_model::{BookId, BookPath, Layer, Refusal};
use panaversity_service::Call;
use panaversity_service::authorize::SearchAccess;
use panaversity_service::glob::BookFile;
use panaversity_service::grep::{GrepEnd, GrepMatch, GrepQuery, MOST_CONTEXT, MOST_MATCHES, PathFilter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::AppState;
use crate::mcp::arguments::{Arguments, needed};
use crate::mcp::cursor::{bad_cursor, cursor};
use crate::mcp::glob::Glob;
use crate::mcp::tool_output::ToolResult;

/// Cursor of a search over all books.
#[derive(Serialize, Deserialize)]
pub(super) struct SearchCursor {
    book: String,
    path: String,
}

impl From<&BookFile> for SearchCursor {
    fn from((book, path): &BookFile) -> Self {
        Self { book: book.as_str().to_owned(), path: path.as_str().to_owned() }
    }
}

impl SearchCursor {
    pub(super) fn place(&self) -> Result<BookFile, Refusal> {
        let place = BookId::parse(&self.book).and_then(|book| Ok((book, BookPath::parse(&self.path)?)));
        place.map_err(|_| bad_cursor())
    }
}

/// Matches of `grep_search` without `max_results`.
pub(super) const MATCHES_AN_ANSWER: usize = 100;

/// Where to search, as a call says.
struct Searched {
    book: Option<BookId>,
    layer: Layer,
}

impl Searched {
    /// Reads these arguments, of which either one book or all must be given.
    fn read(arguments: &mut Arguments) -> Result<Self, Refusal> {
        let (book, all_books) = (arguments.book()?, arguments.flag("all_books")?);
        let layer = Layer::of(arguments.user()?);
        if book.is_some() == all_books {
            let why = "give either book_id, or all_books=true to search every book";
            return Err(Refusal::argument(if all_books { "all_books" } else { "book_id" }, why));
        }
        Ok(Self { book, layer })
    }

    /// The caller's access, and whether it is to all books.
    fn access(self, call: &mut Call) -> Result<(SearchAccess, bool), Refusal> {
        let all_books = self.book.is_none();
        Ok((call.may_search(self.book, self.layer)?, all_books))
    }
}

pub(super) async fn glob(_: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let pattern = Glob::parse("pattern", &needed("pattern", arguments.text("pattern")?)?)?;
    let place = Searched::read(&mut arguments)?;
    let after = arguments.cursor::<SearchCursor>()?.map(|after| after.place()).transpose()?;
    let (access, all_books) = place.access(call)?;
    let prefix = pattern.prefix.clone();
    let page = call.glob_search(&access, &prefix, after, move |path| pattern.accepts_text(path)).await?;
    let name = |(book, path): &BookFile| {
        if all_books { format!("{}/{path}", book.as_str()) } else { path.as_str().to_owned() }
    };
    let mut body = json!({ "matches": page.matches.iter().map(name).collect::<Vec<_>>() });
    if let Some(next) = &page.next {
        body["next_cursor"] = cursor(&SearchCursor::from(next));
    }
    Ok(body.into())
}

pub(super) async fn grep(_: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let pattern = needed("pattern", arguments.text("pattern")?)?;
    let place = Searched::read(&mut arguments)?;
    let glob = arguments.text("path_glob")?.map(|raw| Glob::parse("path_glob", &raw)).transpose()?;
    let query = GrepQuery {
        pattern,
        ignore_case: arguments.flag("ignore_case")?,
        prefix: glob.as_ref().map_or_else(Prefix::everything, |glob| glob.prefix.clone()),
        accepts: accepting(glob),
        context_lines: arguments.count("context_lines", 0, MOST_CONTEXT)?.unwrap_or(0),
        max_results: arguments.count("max_results", 1, MOST_MATCHES)?.unwrap_or(MATCHES_AN_ANSWER),
    };
    let (access, _) = place.access(call)?;
    let found = call.grep_search(&access, query).await?;
    let mut body = json!({
        "matches": found.matches.iter().map(rendered).collect::<Vec<_>>(),
        "truncated": found.ended_by.is_some(),
        "files_searched": found.files_searched,
    });
    if let Some(end) = found.ended_by {
        body["truncated_by"] = name_of(end).into();
    }
    if !found.unreadable.is_empty() {
        let name = |(book, path): &BookFile| json!({ "book_id": book.as_str(), "path": path.as_str() });
        body["unreadable"] = found.unreadable.iter().map(name).collect();
    }
    Ok(body.into())
}

fn accepting(glob: Option<Glob>) -> PathFilter {
    match glob {
        Some(glob) => Arc::new(move |path| glob.accepts_text(path)),
        None => Arc::new(|_| true),
    }
}

fn rendered(found: &GrepMatch) -> Value {
    let line = &found.line;
    let mut body = json!({
        "book_id": found.book.as_str(), "path": found.path.as_str(),
        "line_number": line.number, "matched_line": line.line,
    });
    for (name, lines) in [("before", &line.before), ("after", &line.after)] {
        if !lines.is_empty() {
            body[name] = json!(lines);
        }
    }
    if line.is_cut {
        body["cut"] = true.into();
    }
    body
}

fn name_of(end: GrepEnd) -> &'static str {
    match end {
        GrepEnd::Matches => "max_results",
        GrepEnd::Size => "size",
        GrepEnd::Time => "time",
        GrepEnd::Unreadable => "unreadable",
    }
}
