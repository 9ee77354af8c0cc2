//! Signed links: lines with a path, two values, changes of the link, and any other query. Laws: a link opens
//! with the values that were signed; however it is changed, it opens with those or not at all; a query that
//! was not signed never opens.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use panaversity_server::fuzzing::{open, sign};
use panaversity_server::{LinkKeyRing, PublicUrl, SignedUrlOptions, SignedUrls};

const BASE: &str = "https://books.example.com";

static LINKS: LazyLock<SignedUrls> = LazyLock::new(|| {
    SignedUrls::new(SignedUrlOptions {
        keys: LinkKeyRing::fixed(vec!["the key of the fuzz target".into()]),
        public_url: PublicUrl::parse(BASE),
        cdn: None,
        valid_for: Duration::from_hours(10_000),
    })
});

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(5, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (path, first, second) = (format!("/{}", text()), text(), text());
    let changes = lines.next().unwrap_or_default();
    let other = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();

    assert_eq!(open(&LINKS, &path, &other), None, "it was never signed");
    let url = sign(&LINKS, &path, [&first, &second]).expect("a base for links");
    assert!(url.is_ascii() && url.starts_with(BASE));
    let (_, query) = url.split_once('?').expect("a query");
    let signed = Some([first, second]);
    assert_eq!(open(&LINKS, &path, query), signed);
    assert_eq!(open(&LINKS, &format!("{path}/"), query), None);

    let changed = changed(query, changes, &other);
    let opened = open(&LINKS, &path, &changed);
    assert!(opened.is_none() || opened == signed, "{changed}");
});

/// The query with characters replaced, removed or put in.
fn changed(query: &str, changes: &[u8], other: &str) -> String {
    let mut query: Vec<char> = query.chars().collect();
    for change in changes.chunks_exact(3) {
        let [at, kind, with] = [usize::from(change[0]), usize::from(change[1]), usize::from(change[2])];
        let at = at % query.len();
        match kind % 5 {
            0 => query[at] = char::from(change[2]),
            1 => query.insert(at, char::from(change[2])),
            2 if query.len() > 1 => drop(query.remove(at)),
            3 => query.rotate_left(at),
            _ => query.extend(other.chars().take(with)),
        }
    }
    query.into_iter().collect()
}
