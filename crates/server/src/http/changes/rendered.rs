//! Change sets as JSON, in pages, in events and to webhooks alike. Invariant: names and meaning are those of
//! `list_history`.

use panaversity_model::feed::{FeedFile, FeedItem, FeedPage};
use panaversity_model::{BookId, Layer};
use serde_json::{Value, json};

/// A page of the feed.
pub(super) fn page(book: &BookId, page: &FeedPage) -> Value {
    json!({
        "book_id": book.as_str(),
        "changes": page.items.iter().map(change).collect::<Vec<_>>(),
        "next": page.next.to_string(),
        "has_more": page.has_more,
    })
}

/// One change set.
pub(super) fn change(item: &FeedItem) -> Value {
    change_with(item, &item.files)
}

/// One change set, with these of its files.
pub(crate) fn change_with(item: &FeedItem, files: &[FeedFile]) -> Value {
    let mut body = json!({
        "cursor": item.position.to_string(),
        "change_id": item.position.change.to_string(),
        "at": item.position.at.to_string(),
        "agent_id": item.agent,
        "operations": item.operations(),
        "namespace": item.layer.kind(),
        "files": files.iter().map(file).collect::<Vec<_>>(),
    });
    if let Layer::Overlay(user) = &item.layer {
        body["user_id"] = user.as_str().into();
    }
    if let Some(message) = &item.message {
        body["message"] = message.as_str().into();
    }
    body
}

fn file(file: &FeedFile) -> Value {
    let mut body = json!({
        "path": file.path.as_str(),
        "operation": file.operation,
        "old_hash": file.old.map(|hash| hash.to_string()),
        "new_hash": file.new.map(|hash| hash.to_string()),
    });
    if let Some(from) = &file.moved_from {
        body["moved_from"] = from.as_str().into();
    }
    body
}
