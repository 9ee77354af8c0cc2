//! Notices of changes while a page is open. The script reads the feed of the book from the moment at which the
//! page was made, and says who has changed what; without it the place stays empty.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use maud::{Markup, html};
use panaversity_model::feed::FeedPosition;
use panaversity_model::{BookPath, ContentHash, Timestamp};

use super::links::{BookLinks, with_query};

/// How much earlier than its page the feed of a file is read from: the clock of the database may be behind, and
/// what was read may be older than the page. What is shown is told from later changes by its hash.
const OVERLAP: Duration = Duration::from_secs(5);

/// The place of the notices on a book's page, or on that of one file, whose content has this hash.
pub(super) fn notices(links: &BookLinks, file: Option<(&BookPath, ContentHash)>) -> Markup {
    let now =
        Timestamp::from_micros(0).after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    let since = if file.is_some() { now.before(OVERLAP) } else { now };
    let since = FeedPosition::before(since).to_string();
    let pairs = [("since", Some(since.as_str())), ("user_id", links.user())];
    let feed = with_query(&format!("/books/{}/changes", links.book), &pairs);
    let (path, hash) = file.unzip();
    html! {
        div.live role="status" data-feed=(feed) data-path=[path.map(BookPath::as_str)]
            data-hash=[hash.map(|hash| hash.to_string())] {}
    }
}
