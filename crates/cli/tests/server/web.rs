//! The pages for people, as a browser without JavaScript gets them: what they show, to whom, and that nothing
//! in a book gets out of its place.

/// Generates two tests of each scenario: on SQLite with a folder, and on PostgreSQL with a bucket.
macro_rules! on_both_stacks {
    ($($scenario:ident),+ $(,)?) => {
        crate::scenarios::on_every_backend! { in sqlite_fs: Sqlite, Fs; $($scenario),+ }
        crate::scenarios::on_every_backend! { in postgres_s3: Postgres, S3; $($scenario),+ }
    };
}

mod escaping;
mod large;
mod pages;
mod permissions;
mod restoring;
pub(crate) mod signing_in;

use serde_json::{Value, json};

use crate::fixtures::{BOOK, created, text, write};
use crate::harness::{Reply, TestClient};
use crate::scenarios::assets::upload;

/// A page of a book whose versions the tests look at.
const PAGE: &str = "content/01-Part/01-Chapter/01-lesson.md";
const MESSAGE: &str = "Say it more clearly";

/// Writes a book with two versions of a page, an image, and a change set with a message; returns the two
/// hashes of the page, and the change set.
async fn filled(client: &TestClient) -> (String, String, String) {
    let writer = client.clone().of_agent("writer-7");
    let first =
        created(&writer, PAGE, "---\ntitle: One\n---\n# One\n\nA robin builds its nest.\n", json!({})).await;
    created(
        &writer,
        "content/README.md",
        "# The book\n\n[Lesson](01-Part/01-Chapter/01-lesson.md)\n",
        json!({}),
    )
    .await;
    upload(&writer, "img", "a.png", b"not really", json!({})).await.expect_ok();
    let edits = json!([{ "old_text": "builds its", "new_text": "built a" }]);
    let changes = json!([{ "op": "edit", "path": PAGE, "edits": edits }]);
    let change = json!({ "book_id": BOOK, "changes": changes, "message": MESSAGE });
    let set = writer.call("apply_changes", change).await.expect_ok();
    let now = writer.call("read_content", json!({ "book_id": BOOK, "path": PAGE })).await.expect_ok();
    (first, text(&now["file_hash_sha256"]), text(&set["change_id"]))
}

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// Gets a page, which must be HTML with the policy of all pages.
async fn page(client: &TestClient, path: &str, status: u16) -> String {
    let reply = client.get(path).await;
    checked(path, &reply, status)
}

fn checked(path: &str, reply: &Reply, status: u16) -> String {
    let html = reply.text();
    assert_eq!(reply.status, status, "{path}: {html}");
    assert_eq!(header(reply, "content-type"), "text/html; charset=utf-8", "{path}");
    assert_eq!(header(reply, "x-content-type-options"), "nosniff");
    assert_eq!(header(reply, "referrer-policy"), "same-origin");
    assert_eq!(header(reply, "cache-control"), "no-store");
    let policy = header(reply, "content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !html.contains(" style=") && !html.contains("<style"), "{path}");
    assert!(html.len() < 150_000, "{path}: {} bytes", html.len());
    assert!(!html.contains("href=\"http:") && !html.contains("src=\"http"), "{path} asks others");
    html
}

/// The value of the first attribute of that name whose element follows `after`.
fn attribute(html: &str, after: &str, name: &str) -> String {
    let rest = html.split_once(after).unwrap_or_else(|| panic!("no `{after}` in {html}")).1;
    let rest = rest.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("no {name} after {after}")).1;
    rest.split('"').next().unwrap().replace("&amp;", "&")
}

/// Replaces a page whatever it has.
async fn rewritten(client: &TestClient, path: &str, content: &str, expected: &str, more: Value) -> String {
    let expected = crate::fixtures::with(json!({ "expected_hash": expected }), more);
    text(&write(client, path, content, expected).await.expect_ok()["file_hash"])
}
