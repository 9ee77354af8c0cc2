//! Notices of changes while a page is open. The script reads the feed of the book from the moment at which the
//! page was made, and says who has changed what; without it the place stays empty.

use std::time::Duration;

use maud::{Markup, html};
use panaversity_model::Layer;
use panaversity_model::feed::FeedPosition;
use panaversity_model::file::FileRecord;

use super::links::{BookLinks, with_query};
use crate::clock;

/// How much earlier than its page the feed of a file is read from: the clock of the database may be behind, and
/// what was read may be older than the page. What is shown is told from later changes by its hash.
const OVERLAP: Duration = Duration::from_secs(5);

/// The place of the notices on a book's page, or on that of one file. A file of an overlay hides the base's.
pub(super) fn notices(links: &BookLinks, file: Option<&FileRecord>) -> Markup {
    let now = clock::now();
    let since = if file.is_some() { now.before(OVERLAP) } else { now };
    let since = FeedPosition::before(since).to_string();
    let pairs = [("since", Some(since.as_str())), ("user_id", links.user())];
    let feed = with_query(&format!("/books/{}/changes", links.book), &pairs);
    let overlay = file.map(|file| &file.layer).filter(|layer| **layer != Layer::Base);
    html! {
        div.live role="status" data-feed=(feed) data-path=[file.map(|file| file.path.as_str())]
            data-hash=[file.map(|file| file.hash.to_string())] data-namespace=[overlay.map(Layer::kind)] {}
    }
}
