//! `glob_search`. Keeps R5: it matches only paths in the caller's view.

use panaversity_model::{BookId, BookPath, Layer, Refusal};
use panaversity_service::Call;
use panaversity_service::glob::BookFile;
use serde::{Deserialize, Serialize};
use serde_json::json;

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

pub(super) async fn glob(_: &AppState, call: &mut Call, mut arguments: Arguments) -> ToolResult {
    let pattern = Glob::parse("pattern", &needed("pattern", arguments.text("pattern")?)?)?;
    let (book, all_books) = (arguments.book()?, arguments.flag("all_books")?);
    let layer = Layer::of(arguments.user()?);
    let after = arguments.cursor::<SearchCursor>()?.map(|after| after.place()).transpose()?;
    if book.is_some() == all_books {
        let why = "give either book_id, or all_books=true to search every book";
        return Err(Refusal::argument(if all_books { "all_books" } else { "book_id" }, why).into());
    }
    let access = call.may_search(book, layer)?;
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
