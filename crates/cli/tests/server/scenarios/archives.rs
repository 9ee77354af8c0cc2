//! `get_book_archive` and the links it returns, through the real binary on every database and
//! storage: the promised files are delivered, whole and in parts, from any server, and nothing else
//! is (R2, R5, I9, I11).

mod links;
mod resumed;
mod shapes;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::fixtures::{BOOK, create_all, created, with};
use crate::harness::{TEST_TIMEOUT, TestClient};

/// Files of an archive, by path.
type FileMap = BTreeMap<String, Vec<u8>>;

/// Calls `get_book_archive` for [`BOOK`].
async fn linked(client: &TestClient, more: Value) -> Value {
    client.call("get_book_archive", with(json!({ "book_id": BOOK }), more)).await.expect_ok()
}

/// The path and query of a link: servers started later have another port.
fn path_of(link: &Value) -> String {
    let url = link["archive_url"].as_str().expect("a link");
    let (_, path) = url.split_once("/books/").expect("a link to a book");
    format!("/books/{path}")
}

/// A client with connections of its own.
fn http() -> Client {
    Client::builder().tls_certs_only([]).no_proxy().timeout(TEST_TIMEOUT).build().unwrap()
}

async fn ask(http: &Client, server: &TestClient, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = http.get(format!("{}{path}", server.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("the server answers")
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn download(server: &TestClient, path: &str) -> Vec<u8> {
    let answer = ask(&http(), server, path, &[]).await;
    assert_eq!(answer.status(), 200);
    answer.bytes().await.expect("all of it").to_vec()
}

fn unzipped(bytes: &[u8]) -> FileMap {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("a ZIP");
    let mut files = FileMap::new();
    for number in 0..archive.len() {
        let (mut file, mut bytes) = (archive.by_index(number).unwrap(), Vec::new());
        file.read_to_end(&mut bytes).expect("what its checksum says");
        files.insert(file.name().unwrap().into_owned(), bytes);
    }
    files
}

/// A text of this many bytes that hardly compresses.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \n";
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(letters[usize::try_from(state >> 40).unwrap() % letters.len()])
    };
    (0..bytes).map(|_| letter()).collect()
}

/// Fills [`BOOK`] with names of all kinds, small files and `large` that become objects, and with a
/// user's overlay that no archive may show; returns the expected files of an archive.
async fn fill(client: &TestClient, large: usize) -> FileMap {
    client.call("create_book", json!({ "book_id": BOOK, "schema": "docusaurus" })).await.expect_ok();
    let mut files: Vec<(String, String)> =
        ["a", "\u{e9}t\u{e9}", "\u{65e5}\u{672c}\u{8a9e}", "Z-1", "b c", "empty"]
            .into_iter()
            .map(|name| (format!("content/part/{name}.md"), format!("# {name}\n\n{name} stands here.\n")))
            .collect();
    files.last_mut().unwrap().1.clear();
    files.extend((0..30).map(|n| (format!("content/many/{n:02}.md"), noise(n, 2_000))));
    files.extend((0..large as u64).map(|n| (format!("content/large/{n:02}.md"), noise(n + 99, 400_000))));
    create_all(client, files.clone()).await;
    for name in ["content/part/a.md", "content/hers.md"] {
        created(client, name, "only hers", json!({ "user_id": "eve" })).await;
    }
    files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect()
}
