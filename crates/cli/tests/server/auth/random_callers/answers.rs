//! Everything that an answer shows: its status, headers and body, and all that a client can decode from
//! them, in base64, as a ZIP, or behind a link.

use std::collections::BTreeSet;
use std::io::{Cursor, Read};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use super::library::{Library, Marker, MarkerKind, Owner};
use super::visibility::Caller;
use crate::harness::{Reply, TestClient};

/// Most links of one answer that are followed.
const MOST_LINKS: usize = 6;

/// All that an answer shows, as text.
pub(super) fn shown(reply: &Reply) -> String {
    let mut text = format!("{} {:?}\n", reply.status, reply.headers);
    if reply.status == 200 && reply.body.starts_with(b"PK") {
        unzip_to(&mut text, &reply.body);
    } else if let Ok(json) = serde_json::from_slice::<Value>(&reply.body) {
        text += &shown_json(&json);
    } else {
        text += &reply.text();
        text += &without_tags(&reply.text());
    }
    text
}

/// What a browser shows of HTML: tags, as of the parts of a difference, divide no word there.
fn without_tags(html: &str) -> String {
    html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect()
}

/// All that JSON shows: itself, and what is base64 in it.
pub(super) fn shown_json(json: &Value) -> String {
    let mut text = json.to_string();
    decode_to(&mut text, json);
    text
}

fn decode_to(text: &mut String, json: &Value) {
    match json {
        Value::String(encoded) => {
            // A cursor is `{call}.{position}`.
            let encoded = encoded.rsplit('.').next().unwrap_or_default();
            for decoded in [BASE64_STANDARD.decode(encoded), BASE64_URL_SAFE_NO_PAD.decode(encoded)] {
                text.push('\n');
                text.push_str(&String::from_utf8_lossy(&decoded.unwrap_or_default()));
            }
        }
        Value::Array(all) => all.iter().for_each(|one| decode_to(text, one)),
        Value::Object(fields) => fields.values().for_each(|one| decode_to(text, one)),
        _ => {}
    }
}

fn unzip_to(text: &mut String, bytes: &[u8]) {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("a ZIP");
    for number in 0..archive.len() {
        let (mut file, mut bytes) = (archive.by_index(number).unwrap(), Vec::new());
        file.read_to_end(&mut bytes).expect("what its checksum says");
        for part in [file.name().unwrap(), String::from_utf8_lossy(&bytes)] {
            text.push('\n');
            text.push_str(&part);
        }
    }
}

/// The links in an answer.
fn links(found: &mut BTreeSet<String>, origin: &str, json: &Value) {
    match json {
        Value::String(link) if link.starts_with(origin) => drop(found.insert(link.clone())),
        Value::Array(all) => all.iter().for_each(|one| links(found, origin, one)),
        Value::Object(fields) => fields.values().for_each(|one| links(found, origin, one)),
        _ => {}
    }
}

/// Opens the links of an answer, and uploads `body` to one that takes it; returns the path of each with
/// its answer.
pub(super) async fn follow(
    client: &TestClient,
    answer: &Value,
    body: Option<Vec<u8>>,
) -> Vec<(String, Reply)> {
    let mut found = BTreeSet::new();
    links(&mut found, client.url(), answer);
    let mut replies = Vec::new();
    for link in found.into_iter().take(MOST_LINKS) {
        let path = link[client.url().len()..].to_owned();
        let reply = match &body {
            Some(body) if path.starts_with("/uploads/") => client.send("PUT", &path, &[], body.clone()).await,
            _ => client.send("GET", &path, &[], "").await,
        };
        replies.push((path, reply));
    }
    replies
}

/// The context in which an answer was given: what it may show beside that which its caller may see.
pub(super) struct Context<'a> {
    pub(super) caller: &'a Caller,
    /// All that the caller sent.
    pub(super) sent: &'a str,
    /// The path of the URL.
    pub(super) url: &'a str,
    /// The book that a signed link opens to its holder.
    pub(super) link_of: Option<&'a str>,
}

impl Context<'_> {
    /// A marker that the text contains and must not.
    pub(super) fn leak<'l>(&self, library: &'l Library, shown: &str) -> Option<&'l Marker> {
        library.markers.iter().find(|marker| shown.contains(&marker.text) && !self.permits(library, marker))
    }

    fn permits(&self, library: &Library, marker: &Marker) -> bool {
        let published = marker.published_at.as_deref().is_some_and(|at| self.url.starts_with(at));
        let linked = self.link_of.is_some_and(|book| marker.owner == Owner::Base(book.to_owned()));
        // Metrics name existing books, and nothing else.
        if self.url == "/metrics" {
            return marker.kind == MarkerKind::BookId;
        }
        published || linked || self.caller.sees(library, marker) || self.sent.contains(&marker.text)
    }
}
