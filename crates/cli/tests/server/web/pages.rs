//! Each page answers, shows what it is for, is recorded, and asks nobody else for anything.

use serde_json::json;

use super::{MESSAGE, PAGE, attribute, filled, header, page};
use crate::fixtures::{BOOK, entries, fresh};
use crate::harness::{Db, TestBackend, TestEnv};

on_both_stacks!(
    every_page_answers_and_shows_what_it_is_for,
    a_file_that_is_no_text_is_shown_by_what_is_known_of_it,
    what_is_not_there_is_said_on_a_page,
    pages_are_recorded_as_calls,
);

async fn every_page_answers_and_shows_what_it_is_for(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    let empty = page(&client, "/", 200).await;
    assert!(empty.contains("There is no book yet"));
    let (first, second, change) = filled(&client).await;
    let book = format!("/ui/books/{BOOK}");
    for (path, shown) in [
        ("/".to_owned(), vec![BOOK, "4 changes in 30 days", "All is well"]),
        (book.clone(), vec!["README.md", "Recent changes", MESSAGE, "writer-7", "01-Part", "strict"]),
        (format!("{book}?folder=content/01-Part"), vec!["01-Chapter", "1</span> files"]),
        (
            format!("{book}/files/{PAGE}"),
            vec!["<h2 id=\"s-one\">One</h2>", "A robin built a nest.", "<th scope=\"row\">title</th>"],
        ),
        (format!("{book}/files/{PAGE}?view=text"), vec!["id=\"L1\"", "title: One"]),
        (
            format!("{book}/files/{PAGE}?version={first}"),
            vec!["A robin builds its nest.", "former version", "Restore this version"],
        ),
        (
            format!("{book}/files/content/README.md"),
            vec!["/ui/books/ai-python/files/content/01-Part/01-Chapter/01-lesson.md"],
        ),
        (format!("{book}/history/{PAGE}"), vec![MESSAGE, "writer-7", &first, &second, "Compare"]),
        (
            format!("{book}/compare/{PAGE}?from={first}&to={second}"),
            vec!["<del>builds</del>", "<ins>built</ins>", "Show it inline"],
        ),
        (
            format!("{book}/compare/{PAGE}?from={first}&to={second}&view=inline"),
            vec!["<del>builds</del>", "side by side"],
        ),
        (format!("{book}/compare/{PAGE}?to={second}"), vec!["From nothing"]),
        (format!("{book}/blame/{PAGE}"), vec![MESSAGE, "no message", "A robin built a nest.", "writer-7"]),
        (format!("{book}/changes"), vec![MESSAGE, "a.png"]),
        (format!("{book}/changes/{change}"), vec![MESSAGE, "<ins>built</ins>"]),
        (format!("{book}/assets"), vec!["static/img/a.png", "10 B"]),
        (format!("{book}/build"), vec!["Manifest", "Download everything"]),
        ("/ui/agents/writer-7".to_owned(), vec!["EDIT", MESSAGE, "4 entries"]),
        ("/ui/search".to_owned(), vec!["Look for"]),
        ("/ui/search?q=robin+built".to_owned(), vec!["1 line in the 2 files", "A robin built a nest."]),
        ("/ui/search?q=ROBIN+B.ilt&regex=1".to_owned(), vec!["1 line in the"]),
        ("/ui/search?q=B.ilt".to_owned(), vec!["0 lines in the"]),
        ("/ui/search?q=LESSON&in=paths".to_owned(), vec!["1 file."]),
        (format!("/ui/search?q=**/*.md&in=paths&book={BOOK}"), vec!["2 files."]),
        ("/ui/audit".to_owned(), vec!["No chain is known to be broken", "EDIT", "SEARCH"]),
        (format!("/ui/audit?book_id={BOOK}&operation=EDIT"), vec![MESSAGE]),
        (
            "/ui/state".to_owned(),
            vec!["This server is ready", "SC-006", "Publications that wait", env!("CARGO_PKG_VERSION")],
        ),
    ] {
        let html = page(&client, &path, 200).await;
        for text in shown {
            assert!(html.contains(text), "{path} does not show {text}\n{html}");
        }
        assert_eq!(html.matches("<h1").count(), 1, "{path}");
        assert!(html.contains("href=\"#main\"") && html.contains("<main id=\"main\""), "{path}");
    }
    let exported = client.get(&format!("/ui/audit/export?book_id={BOOK}&operation=EDIT")).await;
    assert_eq!(header(&exported, "content-type"), "application/x-ndjson");
    let lines: Vec<serde_json::Value> =
        exported.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["change_id"]), (1, &json!(change)));
    let archive = client.get(&format!("{book}/build?archive=content")).await;
    assert_eq!(
        (archive.status, header(&archive, "content-type")),
        (200, "application/zip"),
        "it leads there"
    );
}

async fn a_file_that_is_no_text_is_shown_by_what_is_known_of_it(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    filled(&client).await;
    let html = page(&client, &format!("/ui/books/{BOOK}/files/static/img/a.png"), 200).await;
    assert!(html.contains("image/png") && html.contains("Download"), "{html}");
    let bytes = client.get(&attribute(&html, "<main", "src")).await;
    assert_eq!(
        (bytes.status, bytes.body.as_slice(), header(&bytes, "content-type")),
        (200, &b"not really"[..], "image/png")
    );
    let page = client.get(&format!("/ui/books/{BOOK}/bytes/{PAGE}")).await;
    assert!(header(&page, "content-security-policy").contains("sandbox"), "{:?}", page.headers);
    assert!(page.text().starts_with("---\ntitle: One"));
}

async fn what_is_not_there_is_said_on_a_page(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    filled(&client).await;
    let book = format!("/ui/books/{BOOK}");
    for (path, status, code) in [
        ("/ui/nowhere".to_owned(), 404, "NOT_FOUND"),
        ("/ui/books/no-such-book".to_owned(), 404, "BOOK_NOT_FOUND"),
        ("/ui/books/No!".to_owned(), 404, "INVALID_ARGUMENT"),
        (format!("{book}/files/content/01-Part/01-Chapter/01-leson.md"), 404, "NOT_FOUND"),
        (format!("{book}/files/content%2Fx.md"), 404, "INVALID_PATH"),
        (format!("{book}/files/a%00b"), 404, "INVALID_PATH"),
        (format!("{book}/files/%ff"), 404, "INVALID_PATH"),
        (format!("{book}/files/users/eve/x.md"), 404, "INVALID_PATH"),
        (format!("{book}/history/content/no.md"), 404, "NOT_FOUND"),
        (format!("{book}/changes/0193a000-0000-7000-8000-000000000000"), 404, "NOT_FOUND"),
        (format!("{book}/changes/x"), 404, "NOT_FOUND"),
        (format!("{book}/files/{PAGE}?version=abc"), 400, "INVALID_ARGUMENT"),
        ("/ui/search?q=(&regex=1".to_owned(), 400, "INVALID_ARGUMENT"),
        ("/ui/audit?since=yesterday".to_owned(), 400, "INVALID_ARGUMENT"),
        ("/ui/assets/style.0000.css".to_owned(), 404, "NOT_FOUND"),
    ] {
        let html = page(&client, &path, status).await;
        assert!(html.contains(&format!("<code>{code}</code>")), "{path}: {html}");
        assert!(html.contains("href=\"/\""), "{path}");
    }
    let near = page(&client, &format!("{book}/files/content/01-Part/01-Chapter/01-leson.md"), 404).await;
    assert!(near.contains(PAGE), "a near path is suggested");
}

async fn pages_are_recorded_as_calls(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    filled(&client).await;
    let reader = [("x-agent-id", "reader-1")];
    let path = format!("/ui/books/{BOOK}/files/{PAGE}");
    assert_eq!(client.send("GET", &path, &reader, "").await.status, 200);
    assert_eq!(client.send("GET", "/ui/books/nope-nope", &reader, "").await.status, 404);
    let recorded = entries(&client, json!({ "book_id": BOOK, "agent_id": "reader-1" })).await;
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert_eq!((&recorded[0]["operation"], &recorded[0]["path"]), (&json!("READ"), &json!(PAGE)));
    let refused = entries(&client, json!({ "book_id": "nope-nope", "agent_id": "reader-1" })).await;
    assert_eq!(refused[0]["error_code"], "BOOK_NOT_FOUND");
    let nameless = client.send("GET", &path, &[("x-agent-id", "system")], "").await;
    assert_eq!(nameless.status, 400, "{}", nameless.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn style_and_script_have_their_hash_in_their_names_and_are_kept_for_ever() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    let html = page(&server, "/", 200).await;
    for (after, name, media) in [
        ("rel=\"stylesheet\"", "href", "text/css"),
        ("<script", "src", "text/javascript"),
        ("rel=\"icon\"", "href", "image/svg+xml"),
    ] {
        let asset = server.get(&attribute(&html, after, name)).await;
        assert_eq!(asset.status, 200, "{after}");
        assert!(header(&asset, "content-type").starts_with(media));
        assert_eq!(header(&asset, "cache-control"), "public, max-age=31536000, immutable");
        assert!(!asset.text().contains("http://") || media == "image/svg+xml", "{after} asks others");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_pages_answers_as_one_that_never_had_them() {
    let env = TestEnv::new(Db::Sqlite).with("PANAVERSITY_WEB", "off");
    let server = env.start().await;
    for path in ["/", "/ui", "/ui/state", "/ui/assets/x", &format!("/ui/books/{BOOK}")] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.json()["error"]["code"], "NOT_FOUND", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_foreign_hosts_and_origins_are_refused_on_a_page() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    for (name, value) in [("host", "evil.example"), ("origin", "https://evil.example")] {
        let reply = server.send("GET", "/", &[(name, value)], "").await;
        let html = super::checked("/", &reply, 403);
        assert!(html.contains("<code>FORBIDDEN</code>"), "{name}: {html}");
    }
}
