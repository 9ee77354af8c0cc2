//! Restoring from a page: by the form that the page has, with what the reader saw as precondition, and by
//! nobody else's form.

use serde_json::json;

use super::{PAGE, attribute, filled, header, page, rewritten};
use crate::fixtures::{BOOK, entries, fresh, read};
use crate::harness::{Reply, TestBackend, TestClient};

on_both_stacks!(
    a_former_version_is_restored_by_its_form,
    a_form_of_another_site_restores_nothing,
    a_file_that_changed_meanwhile_is_not_restored,
);

/// Sends the form of a page.
async fn submitted(client: &TestClient, url: &str, token: &str, headers: &[(&str, &str)]) -> Reply {
    let token = token.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend_from_slice(headers);
    client.send("POST", url, &all, format!("token={token}")).await
}

/// Where the form of a former version leads, and its token.
async fn form(client: &TestClient, hash: &str) -> (String, String) {
    let html = page(client, &format!("/ui/books/{BOOK}/files/{PAGE}?version={hash}"), 200).await;
    (attribute(&html, "method=\"post\"", "action"), attribute(&html, "name=\"token\"", "value"))
}

async fn a_former_version_is_restored_by_its_form(backend: TestBackend) {
    let (_env, server, client) = fresh(backend).await;
    let (first, ..) = filled(&client).await;
    let (url, token) = form(&client, &first).await;
    let host = server.url().to_owned();
    let browser = [("origin", host.as_str()), ("sec-fetch-site", "same-origin")];
    let reply = submitted(&client, &url, &token, &browser).await;
    // The client follows the redirect to the page.
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.text().contains("A robin builds its nest."));
    let now = read(&client, PAGE, json!({})).await.expect_ok();
    assert_eq!(now["file_hash_sha256"], json!(first));
    let recorded = entries(&client, json!({ "book_id": BOOK, "operation": "RESTORE" })).await;
    assert_eq!((recorded.len(), &recorded[0]["status"]), (1, &json!("success")));
    assert_eq!(recorded[0]["new_content_hash"], json!(first));
}

async fn a_form_of_another_site_restores_nothing(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    let (first, second, _) = filled(&client).await;
    let (url, token) = form(&client, &first).await;
    let other = url.replace("01-lesson", "02-other");
    for (name, url, token, headers, status) in [
        ("another origin", url.as_str(), token.as_str(), vec![("origin", "https://evil.example")], 403),
        ("no origin", &url, &token, vec![("origin", "null")], 403),
        ("another site", &url, &token, vec![("sec-fetch-site", "cross-site")], 400),
        ("no token", &url, "", vec![], 400),
        ("a forged token", &url, &token.replace("signature=", "signature=00"), vec![], 400),
        ("another version", &url, &token.replace(&first, &second), vec![], 400),
        ("another file", &other, &token, vec![], 400),
        ("another agent", &url, &token, vec![("x-agent-id", "somebody")], 400),
    ] {
        let reply = submitted(&client, url, token, &headers).await;
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        assert_eq!(header(&reply, "content-type"), "text/html; charset=utf-8", "{name}");
    }
    assert_eq!(read(&client, PAGE, json!({})).await.expect_ok()["file_hash_sha256"], json!(second));
    assert_eq!(client.get(&url).await.status, 405, "a link restores nothing");
}

async fn a_file_that_changed_meanwhile_is_not_restored(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    let (first, second, _) = filled(&client).await;
    let (url, token) = form(&client, &first).await;
    let third = rewritten(&client, PAGE, "# Meanwhile\n", &second, json!({})).await;
    let reply = submitted(&client, &url, &token, &[]).await;
    let html = super::checked(&url, &reply, 409);
    assert!(html.contains("<code>CONFLICT</code>"), "{html}");
    assert_eq!(read(&client, PAGE, json!({})).await.expect_ok()["file_hash_sha256"], json!(third));
}
