//! `GET /books/{book}/static/...`: published base assets for everybody, by ranges, with headers
//! that make any uploaded content harmless, and nothing else.

use serde_json::json;

use super::assets::upload;
use crate::fixtures::{BOOK, created, fresh, sha256};
use crate::harness::{Db, Reply, TestBackend, TestClient};

on_every_backend!(
    an_asset_is_served_whole_and_by_ranges,
    what_was_uploaded_is_harmless_in_a_browser,
    nothing_but_base_assets_is_served,
);

async fn get(client: &TestClient, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    client.send(method, &format!("/books/{BOOK}/static/{path}"), headers, "").await
}

fn header(reply: &Reply, name: &str) -> String {
    reply.headers.get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
}

async fn an_asset_is_served_whole_and_by_ranges(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    let large: Vec<u8> = (0..2_500_001u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, bytes) in [("large.mp4", &large[..]), ("small.mp4", &large[..1000]), ("empty.mp4", &[])] {
        upload(&client, "videos", name, bytes, json!({})).await.expect_ok();
        let (path, tag, length) = (format!("videos/{name}"), format!("\"{}\"", sha256(bytes)), bytes.len());
        let whole = get(&client, "GET", &path, &[]).await;
        assert!(whole.status == 200 && whole.body == bytes, "{name}");
        for (name, value) in [
            ("etag", tag.as_str()),
            ("accept-ranges", "bytes"),
            ("content-type", "video/mp4"),
            ("content-length", &length.to_string()),
            ("cross-origin-resource-policy", "cross-origin"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(header(&whole, name), value);
        }
        let head = get(&client, "HEAD", &path, &[]).await;
        assert_eq!(
            (head.status, header(&head, "content-length"), head.body.len()),
            (200, length.to_string(), 0)
        );
        let have = get(&client, "GET", &path, &[("If-None-Match", &tag)]).await;
        assert_eq!((have.status, have.body.len(), header(&have, "etag")), (304, 0, tag.clone()));
        let head_have = get(&client, "HEAD", &path, &[("If-None-Match", &tag)]).await;
        for unsent in [have, head_have] {
            let told = header(&unsent, "content-length");
            assert!(unsent.status == 304 && ["", &length.to_string()].contains(&&*told), "{name}: {told}");
        }
        assert_eq!(get(&client, "GET", &path, &[("If-Match", "\"x\"")]).await.status, 412);
        let beyond = get(&client, "GET", &path, &[("Range", &format!("bytes={length}-"))]).await;
        assert_eq!((beyond.status, header(&beyond, "content-range")), (416, format!("bytes */{length}")));
        let other = get(&client, "GET", &path, &[("Range", "bytes=0-1"), ("If-Range", "\"x\"")]).await;
        assert_eq!((other.status, other.body.len()), (200, length), "another state is given whole");
    }
    let (path, tag) = ("videos/large.mp4", format!("\"{}\"", sha256(&large)));
    for (from, to) in
        [(0, 1), (7, 1_048_576), (1_048_575, 1_048_577), (1_048_576, 2_097_152), (2_400_000, 2_500_001)]
    {
        let range = format!("bytes={from}-{}", to - 1);
        let part = get(&client, "GET", path, &[("Range", &range), ("If-Range", &tag)]).await;
        assert!(part.status == 206 && part.body == large[from..to], "{range}");
        assert_eq!(header(&part, "content-range"), format!("bytes {from}-{}/{}", to - 1, large.len()));
        assert_eq!(header(&part, "content-length"), (to - from).to_string());
    }
    let last = get(&client, "GET", path, &[("Range", "bytes=-5")]).await;
    assert!(last.status == 206 && last.body == large[large.len() - 5..]);
    let several = get(&client, "GET", path, &[("Range", "bytes=0-1,4-5")]).await;
    assert_eq!((several.status, several.body.len()), (200, large.len()));
}

async fn what_was_uploaded_is_harmless_in_a_browser(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    let evil = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    for (name, media, disposition) in [
        ("a.svg", "image/svg+xml", ""),
        ("a.html", "text/html; charset=utf-8", "attachment"),
        ("a.xhtml", "application/xhtml+xml", "attachment"),
        ("a.xml", "text/xml", "attachment"),
        ("a.png", "image/png", ""),
        ("a.pdf", "application/pdf", ""),
        ("a.mp4", "video/mp4", ""),
        ("a.unknown", "application/octet-stream", ""),
    ] {
        upload(&client, "img", name, evil, json!({})).await.expect_ok();
        let reply = get(&client, "GET", &format!("img/{name}"), &[]).await;
        assert_eq!(
            (header(&reply, "content-type"), header(&reply, "content-disposition")),
            (media.to_owned(), disposition.to_owned())
        );
        let policy = header(&reply, "content-security-policy");
        if ["a.png", "a.pdf", "a.mp4"].contains(&name) {
            assert_eq!(
                policy, "",
                "{name}: a browser runs nothing of it, and might not show it in a sandbox"
            );
        } else {
            assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{name}: {policy}");
        }
        assert_eq!(header(&reply, "x-content-type-options"), "nosniff");
        assert!(reply.headers.get("set-cookie").is_none());
    }
}

async fn nothing_but_base_assets_is_served(backend: TestBackend) {
    let (env, server, client) = fresh(backend).await;
    upload(&client, "img", "a.png", &vec![7; 200_000], json!({})).await.expect_ok();
    created(&client, "content/README.md", "base", json!({})).await;
    created(&client, "content/README.md", "private", json!({ "user_id": "eve" })).await;
    server.all_published().await;
    let hash = sha256(vec![7; 200_000]);
    assert!(env.object(&hash).is_some());
    for path in [
        "/books/ai-python/static/../content/README.md",
        "/books/ai-python/static/%2e%2e/content/README.md",
        "/books/ai-python/static/..%2fcontent/README.md",
        "/books/ai-python/static%2fimg/a.png",
        "/books/ai-python/static/img%2fa.png",
        "/books/ai-python/static/img/a.png/",
        "/books/ai-python/static//img/a.png",
        "/books/ai-python/static/img/b.png",
        "/books/ai-python/static/IMG/a.png",
        "/books/ai-python/static/",
        "/books/ai-python/static",
        "/books/ai-python/users/eve/content/README.md",
        "/books/ai-python/static/../users/eve/content/README.md",
        "/books/ai-python/static/users/eve/content/README.md",
        "/books/other-book/static/img/a.png",
        "/books/AI-PYTHON/static/img/a.png",
        "/books/../.panaversity/store-id",
        "/books/ai-python/static/%00",
        "/books/ai-python/static/%ff",
        &format!("/books/ai-python/static/../../../.panaversity/objects/{}/{hash}", &hash[..2]),
        &format!("/.panaversity/objects/{}/{hash}", &hash[..2]),
    ] {
        let reply = client.raw("GET", path).await;
        assert!(reply.starts_with("HTTP/1.1 404"), "{path}: {reply}");
        assert!(!reply.contains("private") && !reply.contains("store-id"), "{path}: {reply}");
    }
    let unsigned = client.raw("GET", "/books/ai-python/content/README.md").await;
    assert!(unsigned.starts_with("HTTP/1.1 403") && !unsigned.contains("base"), "{unsigned}");
    assert_eq!(get(&client, "DELETE", "img/a.png", &[]).await.status, 405);
    let foreign = get(&client, "GET", "img/a.png", &[("Host", "evil.example")]).await;
    assert_eq!(foreign.status, 403);
    let before =
        crate::fixtures::entries(&client, json!({ "book_id": BOOK, "operation": "READ" })).await.len();
    assert_eq!(get(&client, "GET", "img/a.png", &[]).await.status, 200);
    let after =
        crate::fixtures::entries(&client, json!({ "book_id": BOOK, "operation": "READ" })).await.len();
    assert_eq!(after, before, "public assets are not recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_a_damaged_asset_is_never_served() {
    let (env, _server, client) = fresh(Db::Sqlite).await;
    let mut bytes = vec![7; 2_500_000];
    upload(&client, "img", "a.png", &bytes, json!({})).await.expect_ok();
    let hash = sha256(&bytes);
    let object = env.storage_root().join(".panaversity/objects").join(&hash[..2]).join(&hash);
    bytes[10] = 8;
    std::fs::write(&object, &bytes).unwrap();
    let whole = get(&client, "GET", "img/a.png", &[]).await;
    assert_eq!((whole.status, &whole.json()["error"]["code"]), (500, &json!("CORRUPT")));
    let sound = get(&client, "GET", "img/a.png", &[("Range", "bytes=2000000-2000009")]).await;
    assert_eq!((sound.status, sound.body), (206, vec![7; 10]), "a range that is whole is served");
    assert_eq!(client.get("/health").await.json()["damaged_blobs"], json!(1));
}
