//! Hostile names and texts: whatever agents call themselves, their files and their reasons, a page shows it
//! as text.

use serde_json::json;

use super::page;
use crate::fixtures::{created, fresh};
use crate::harness::TestBackend;

on_both_stacks!(hostile_names_are_shown_as_text, hostile_pages_run_nothing);

const EVIL: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";

/// Everything that a page may not have, as elements.
fn assert_harmless(path: &str, html: &str) {
    for bad in ["<script>", "<img src=x", "onerror=alert(1)>", "javascript:alert", "<svg onload", "<iframe"] {
        let found = html.match_indices(bad).find(|(at, _)| {
            // Text has its angle brackets escaped, so that none is before it.
            bad.starts_with('<') || html[..*at].rfind('<') > html[..*at].rfind('>')
        });
        assert!(found.is_none(), "{path} has {bad}: {html}");
    }
}

async fn hostile_names_are_shown_as_text(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    let evil = client.clone().of_agent(EVIL);
    let book = json!({ "book_id": "evil-book", "schema": "docusaurus" });
    evil.call("create_book", book).await.expect_ok();
    let path = "content/a&b'; alert(1) ü\u{5e9}\u{5dc}\u{5d5}\u{5dd}/{x} $.md";
    let change = json!({
        "book_id": "evil-book", "message": EVIL,
        "changes": [{ "op": "write", "path": path, "content": format!("# {EVIL}\n\n{EVIL}\n") }],
    });
    let change = evil.call("apply_changes", change).await.expect_ok();
    let change = change["change_id"].as_str().unwrap();
    let encoded: String =
        path.bytes().map(|byte| if byte == b'/' { "/".to_owned() } else { format!("%{byte:02X}") }).collect();
    let agent = EVIL.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    for page_path in [
        "/ui/books/evil-book".to_owned(),
        format!("/ui/books/evil-book/files/{encoded}"),
        format!("/ui/books/evil-book/files/{encoded}?view=text"),
        format!("/ui/books/evil-book/history/{encoded}"),
        format!("/ui/books/evil-book/blame/{encoded}"),
        format!("/ui/books/evil-book/changes/{change}"),
        format!("/ui/agents/{agent}"),
        format!("/ui/search?q={agent}"),
        format!("/ui/search?q={agent}&in=paths"),
        "/ui/audit".to_owned(),
    ] {
        assert_harmless(&page_path, &page(&client, &page_path, 200).await);
    }
    for (page_path, status) in [
        (format!("/ui/books/{agent}"), 404),
        (format!("/ui/books/evil-book/files/content/{agent}"), 404),
        (format!("/ui/books/evil-book?user={agent}"), 400),
        (format!("/ui/audit?since={agent}"), 400),
        (format!("/ui/{agent}"), 404),
    ] {
        assert_harmless(&page_path, &page(&client, &page_path, status).await);
    }
}

async fn hostile_pages_run_nothing(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    for (n, text) in [
        format!("{EVIL}\n\n# {EVIL}\n\n[x](javascript:alert(1)) <svg onload=alert(1)>\n"),
        "line\n".repeat(100_000),
        format!("|{}\n|{}\n{}", "a|".repeat(2_000), "-|".repeat(2_000), "|\n".repeat(20_000)),
        ">".repeat(100_000),
        "[a](".repeat(50_000),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("content/01-Part/01-Chapter/{n:02}-evil.md");
        created(&client, &path, &text, json!({})).await;
        for view in ["files", "blame"] {
            let page_path = format!("/ui/books/{}/{view}/{path}", crate::fixtures::BOOK);
            let reply = client.get(&page_path).await;
            assert_eq!(reply.status, 200, "{page_path}: {}", reply.text());
            assert!(reply.body.len() < 800_000, "{page_path}: {}", reply.body.len());
            assert_harmless(&page_path, &reply.text());
        }
    }
}
