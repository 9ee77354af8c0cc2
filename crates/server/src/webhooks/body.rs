//! Body of a delivery: the change set as the feed tells it, and its book. Invariant: it is bounded, however many
//! files the set has; one that leaves files out says how many, and where the whole set is read.

use axum::body::Bytes;
use panaversity_model::BookId;
use panaversity_model::feed::{FeedItem, FeedPosition};

use crate::http::rendered;

/// The body, with up to `most_files` files. `since` is the position before the set.
pub(super) fn of(book: &BookId, since: FeedPosition, item: &FeedItem, most_files: usize) -> Bytes {
    let shown = item.files.get(..most_files).unwrap_or(&item.files);
    let mut body = rendered::change_with(item, shown);
    body["book_id"] = book.as_str().into();
    if shown.len() < item.files.len() {
        body["files_omitted"] = (item.files.len() - shown.len()).into();
        body["since"] = since.to_string().into();
    }
    body.to_string().into()
}

#[cfg(test)]
mod tests {
    use panaversity_model::feed::FeedFile;
    use panaversity_model::ids::ChangeId;
    use panaversity_model::{BookPath, ContentHash, Layer, Timestamp};
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn file(n: usize) -> FeedFile {
        FeedFile {
            path: BookPath::parse(&format!("content/{n:02}-Part/README.md")).unwrap(),
            operation: "WRITE".to_owned(),
            old: None,
            new: Some(ContentHash::of(b"x")),
            moved_from: None,
        }
    }

    #[test]
    fn a_body_names_its_book_and_if_files_are_left_out_where_the_whole_set_is_read() {
        let position =
            FeedPosition { at: Timestamp::from_micros(5), change: ChangeId::new(Uuid::from_u128(7)) };
        let item = FeedItem {
            position,
            layer: Layer::Base,
            agent: "writer-7".to_owned(),
            message: None,
            files: (0..5).map(file).collect(),
        };
        let book = BookId::parse("ai-python").unwrap();
        let parsed = |most| -> Value {
            serde_json::from_slice(&of(&book, FeedPosition::start(), &item, most)).unwrap()
        };
        let whole = parsed(5);
        assert_eq!((&whole["book_id"], whole["files"].as_array().unwrap().len()), (&json!("ai-python"), 5));
        assert_eq!((whole.get("files_omitted"), whole.get("since")), (None, None));
        let cut = parsed(2);
        assert_eq!((&cut["files_omitted"], cut["files"].as_array().unwrap().len()), (&json!(3), 2));
        assert_eq!(cut["since"], FeedPosition::start().to_string());
        assert_eq!((&cut["operations"], &cut["cursor"]), (&whole["operations"], &whole["cursor"]));
    }
}
