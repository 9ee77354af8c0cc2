//! Who sees what: pages ask for authentication like every other call, show only what their reader may reach,
//! and no button that it may not press (R5).

use serde_json::json;

use super::{PAGE, checked, filled};
use crate::auth::{holder, secured, token};
use crate::fixtures::{BOOK, created};
use crate::harness::{Db, TestClient};

async fn get(client: &TestClient, path: &str, token: &str, status: u16) -> String {
    let bearer = format!("Bearer {token}");
    let reply = client.send("GET", path, &[("authorization", &bearer)], "").await;
    checked(path, &reply, status)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_a_page_says_in_plain_words_what_is_missing() {
    for db in Db::both() {
        let env = secured(db);
        let server = env.start().await;
        for path in ["/", "/ui/state", "/ui/audit", "/ui/nowhere", &format!("/ui/books/{BOOK}")] {
            let reply = server.get(path).await;
            let html = checked(path, &reply, 401);
            assert!(html.contains("API key or token") && html.contains("keys create"), "{html}");
            assert!(reply.headers.get("www-authenticate").is_some(), "{path}");
        }
        let html = server.get("/").await.text();
        let style = super::attribute(&html, "rel=\"stylesheet\"", "href");
        assert_eq!(server.get(&style).await.status, 200, "the page of the refusal has its style");
        get(&server, "/", &token("read", json!({})), 200).await;
        let refused = server.send("GET", "/?access_token=x", &[], "").await;
        checked("/", &refused, 400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_no_button_that_it_may_not_press() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    let (first, second, _) = filled(&holder(&server, "admin", json!({}))).await;
    for path in [
        format!("/ui/books/{BOOK}/files/{PAGE}?version={first}"),
        format!("/ui/books/{BOOK}/compare/{PAGE}?from={first}&to={second}"),
    ] {
        let reading = get(&server, &path, &token("read", json!({})), 200).await;
        assert!(!reading.contains("Restore") && !reading.contains("method=\"post\""), "{reading}");
        let writing = get(&server, &path, &token("write", json!({})), 200).await;
        assert!(writing.contains("Restore this version"), "{path}");
    }
    let bearer = format!("Bearer {}", token("read", json!({})));
    let post = server
        .send("POST", &format!("/ui/books/{BOOK}/restore/{PAGE}"), &[("authorization", &bearer)], "")
        .await;
    let html = checked("restore", &post, 403);
    assert!(html.contains("FORBIDDEN"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_books_and_overlays_are_shown_to_whom_they_are_open() {
    for db in Db::both() {
        let env = secured(db);
        let server = env.start().await;
        let admin = holder(&server, "admin", json!({}));
        filled(&admin).await;
        created(
            &admin,
            "content/01-Part/01-Chapter/09-own.md",
            "# Private words\n",
            json!({ "user_id": "eve" }),
        )
        .await;
        let (book, own) = (format!("/ui/books/{BOOK}"), "content/01-Part/01-Chapter/09-own.md");
        let eve = token("write", json!({ "user_id": "eve" }));
        let bob = token("write", json!({ "user_id": "bob" }));
        let other_book = token("read:other-book", json!({}));
        let all = token("admin", json!({}));
        let file = format!("{book}/files/{own}?user=eve");
        assert!(get(&server, &file, &all, 200).await.contains("Private words"));
        for path in [
            file.clone(),
            format!("{book}?user=eve"),
            format!("{book}/history/{own}?user=eve"),
            format!("{book}/blame/{own}?user=eve"),
            format!("{book}/changes?user=eve"),
            "/ui/search?q=Private&user=eve".to_string(),
            format!("/ui/audit?book_id={BOOK}&user=eve"),
        ] {
            get(&server, &path, &bob, 403).await;
            get(&server, &path, &eve, 200).await;
        }
        for path in [
            book.clone(),
            format!("{book}?folder=content/01-Part/01-Chapter"),
            format!("{book}/changes"),
            "/ui/search?q=Private".to_owned(),
        ] {
            for reader in [&bob, &all] {
                let html = get(&server, &path, reader, 200).await;
                assert!(!html.contains("09-own") && !html.contains("Private words"), "{path}: {html}");
            }
            if path != "/ui/search?q=Private" {
                get(&server, &path, &other_book, 403).await;
            }
        }
        assert!(!get(&server, "/", &other_book, 200).await.contains(BOOK));
        assert!(get(&server, &book, &all, 200).await.contains("Overlay of the user"));
        assert!(!get(&server, &book, &bob, 200).await.contains("Overlay of the user"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_audit_log_a_caller_without_admin_sees_its_own_entries() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    filled(&holder(&server, "admin", json!({ "sub": "the-admin" }))).await;
    let reader = token("read", json!({ "sub": "reader-1" }));
    for path in ["/ui/audit", "/ui/agents/the-admin?all=1"] {
        let html = get(&server, path, &reader, 200).await;
        assert!(!html.contains("<td>WRITE</td>"), "{path}: {html}");
    }
    let bearer = format!("Bearer {reader}");
    let exported = server.send("GET", "/ui/audit/export", &[("authorization", &bearer)], "").await.text();
    assert!(!exported.is_empty() && !exported.contains("the-admin"), "{exported}");
    let all = get(&server, "/ui/audit", &token("admin", json!({})), 200).await;
    assert!(all.contains("WRITE") && all.contains("the-admin"), "{all}");
}
