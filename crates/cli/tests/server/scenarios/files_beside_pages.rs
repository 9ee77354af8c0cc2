//! Files below `content/` that are not text: they are uploaded with `upload_asset`, and every tool
//! returns them as files like any other, their bytes by a link that was signed for that version.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::assets::{asset, upload};
use crate::fixtures::{
    BOOK, created, delete, entries, field, fresh, manifest, manifest_hash, pages, read, sha256, text, write,
};
use crate::harness::{Reply, Server, TestBackend, TestClient, TestEnv};

on_every_backend!(
    a_file_beside_pages_is_a_file_like_any_other,
    a_link_opens_the_version_it_was_signed_for_and_nothing_else,
    text_and_bytes_go_in_by_their_own_tool,
    a_large_file_beside_pages_comes_and_goes_by_links,
);

const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\x00\xff";

async fn docusaurus(backend: TestBackend) -> (TestEnv, Server, TestClient) {
    let (env, server, client) = fresh(backend).await;
    client.call("create_book", json!({ "book_id": BOOK, "schema": "docusaurus" })).await.expect_ok();
    (env, server, client)
}

/// Opens a link that a tool returned.
async fn open(server: &TestClient, client: &TestClient, link: &Value, headers: &[(&str, &str)]) -> Reply {
    let path = text(link).strip_prefix(server.url()).expect("a link to this server").to_owned();
    client.send("GET", &path, headers, "").await
}

async fn a_file_beside_pages_is_a_file_like_any_other(backend: TestBackend) {
    let (env, server, client) = docusaurus(backend).await;
    let client = client.of_agent("painter");
    created(&client, "content/index.md", "# A\n\n![i](./img/p (1).png)\n", json!({})).await;
    let before = manifest(&client).await;
    let kept = upload(&client, "content", "img/p (1).png", PICTURE, json!({})).await.expect_ok();
    let hash = sha256(PICTURE);
    assert_eq!(
        (&kept["path"], &kept["mime_type"], &kept["file_hash_sha256"], kept.get("cdn_url")),
        (&json!("content/img/p (1).png"), &json!("image/png"), &json!(hash), None)
    );
    let again = upload(&client, "content", "img/p (1).png", PICTURE, json!({})).await.expect_ok();
    assert_eq!(again["status"], "skipped");

    // One by one.
    let got = client
        .call("get_asset", asset("content", "img/p (1).png", json!({ "include_binary": true })))
        .await
        .expect_ok();
    assert_eq!(BASE64_STANDARD.decode(text(&got["binary_data"])).unwrap(), PICTURE);
    assert_eq!(
        (&got["asset_type"], &got["filename"], &got["uploaded_by_agent_id"]),
        (&json!("content"), &json!("img/p (1).png"), &json!("painter"))
    );
    let seen = read(&client, "content/img/p (1).png", json!({})).await.expect_ok();
    assert_eq!(
        (&seen["exists"], &seen["file_hash_sha256"], &seen["mime_type"], seen.get("content")),
        (&json!(true), &json!(hash), &json!("image/png"), None)
    );
    for link in [&kept["download_url"], &got["download_url"], &seen["download_url"]] {
        let reply = open(&server, &client, link, &[]).await;
        assert_eq!((reply.status, &reply.body[..]), (200, PICTURE), "{link}");
        assert_eq!(reply.headers["content-type"], "image/png");
    }
    let version = read(&client, "content/img/p (1).png", json!({ "hash": hash })).await.expect_ok();
    assert_eq!(version["file_hash_sha256"], json!(hash));
    let unchanged =
        read(&client, "content/img/p (1).png", json!({ "if_none_match": hash })).await.expect_ok();
    assert_eq!(unchanged["unchanged"], true);
    let uri = format!("book://{BOOK}/content/img/p%20(1).png");
    let resource = client
        .rpc(json!({ "jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": { "uri": uri } }))
        .await;
    let contents = &resource["result"]["contents"][0];
    assert_eq!(BASE64_STANDARD.decode(text(&contents["blob"])).unwrap(), PICTURE);
    assert_eq!(contents["mimeType"], "image/png");

    // All at once.
    let (all, _) = pages(&client, "list_assets", json!({ "book_id": BOOK }), "assets").await;
    assert_eq!(field(&all, "path"), ["content/img/p (1).png"]);
    let of_type = json!({ "book_id": BOOK, "asset_type": "content" });
    assert_eq!(pages(&client, "list_assets", of_type, "assets").await.0.len(), 1);
    let folder = json!({ "book_id": BOOK, "scope": "book" });
    let (files, _) = pages(&client, "read_content", folder, "files").await;
    assert_eq!(field(&files, "path"), ["content/img/p (1).png", "content/index.md"]);
    assert_eq!((&files[0]["mime_type"], files[0].get("content")), (&json!("image/png"), None));
    let index = b"# A\n\n![i](./img/p (1).png)\n";
    let due: [(&str, &[u8]); 2] = [("content/index.md", index), ("content/img/p (1).png", PICTURE)];
    assert_eq!(manifest(&client).await, manifest_hash(due));
    let plan = json!({ "book_id": BOOK, "target_manifest_hash": before });
    let plan = client.call("plan_build", plan).await.expect_ok();
    assert_eq!(field(plan["files"].as_array().unwrap(), "path"), ["content/img/p (1).png"]);
    let delta = json!({ "book_id": BOOK, "since": "2020-01-01T00:00:00Z", "include_content": true });
    let delta = client.call("delta_build", delta).await.expect_ok();
    let changed = delta["changed_files"].as_array().unwrap();
    assert_eq!(field(changed, "path"), ["content/img/p (1).png", "content/index.md"]);
    assert_eq!((changed[0].get("content"), changed[1].get("content").is_some()), (None, true));
    for scope in ["content", "all"] {
        let link =
            client.call("get_book_archive", json!({ "book_id": BOOK, "scope": scope })).await.expect_ok();
        let zip = open(&server, &client, &link["archive_url"], &[]).await;
        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(zip.body)).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut zip.by_name("content/img/p (1).png").unwrap(), &mut bytes).unwrap();
        assert_eq!(bytes, PICTURE);
    }
    server.all_published().await;
    assert_eq!(env.published()[&format!("{BOOK}/content/img/p (1).png")], PICTURE);

    // Deleted again.
    let gone = client.call("delete_asset", asset("content", "img/p (1).png", json!({}))).await.expect_ok();
    assert_eq!(gone["existed"], true);
    assert_eq!(read(&client, "content/img/p (1).png", json!({})).await.code(), "NOT_FOUND");
    upload(&client, "content", "img/p (1).png", PICTURE, json!({})).await.expect_ok();
    delete(&client, "content/img/p (1).png", json!({ "expected_hash": hash })).await.expect_ok();
    assert_eq!(manifest(&client).await, before);
    let chain = client.call("verify_audit_chain", json!({ "book_id": BOOK })).await.expect_ok();
    assert_eq!(chain["valid"], true);
}

async fn a_link_opens_the_version_it_was_signed_for_and_nothing_else(backend: TestBackend) {
    let (_env, server, client) = docusaurus(backend).await;
    let client = client.of_agent("painter");
    let large: Vec<u8> = (0..2_500_001u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let kept = upload(&client, "content", "film.mp4", &large, json!({})).await.expect_ok();
    let link = &kept["download_url"];
    let part = open(&server, &client, link, &[("Range", "bytes=1000000-1000009")]).await;
    assert_eq!((part.status, &part.body[..]), (206, &large[1_000_000..1_000_010]));
    let tag = format!("\"{}\"", sha256(&large));
    assert_eq!(open(&server, &client, link, &[("If-None-Match", &tag)]).await.status, 304);
    assert_eq!(part.headers["cache-control"], "private, max-age=60");

    // A later write changes nothing under the link.
    let other = json!({ "expected_hash": sha256(&large) });
    let second = upload(&client, "content", "film.mp4", b"\xffsecond", other).await.expect_ok();
    assert!(open(&server, &client, link, &[]).await.body == large);
    assert_eq!(open(&server, &client, &second["download_url"], &[]).await.body, b"\xffsecond");

    // The parameters may be in any order, and none may be changed.
    let url = text(link);
    let (start, query) = url.split_once('?').unwrap();
    let turned: Vec<_> = query.split('&').rev().collect();
    assert_eq!(
        open(&server, &client, &json!(format!("{start}?{}", turned.join("&"))), &[]).await.status,
        200
    );
    upload(&client, "content", "other.mp4", b"\xffother", json!({})).await.expect_ok();
    for changed in [
        url.replace("film.mp4", "other.mp4"),
        url.replace(&sha256(&large), &sha256(b"\xffsecond")),
        url.replace("painter", "another"),
        url.replace("__base__", "eve"),
        url.replace("/content/", "/static/content/"),
        url.split_once('?').unwrap().0.to_owned(),
        format!("{url}0"),
    ] {
        let reply = open(&server, &client, &json!(changed), &[]).await;
        assert!(matches!(reply.status, 403 | 404), "{changed}: {}", reply.status);
    }
    // Every download is recorded, under the agent that the link was issued to.
    let log =
        json!({ "book_id": BOOK, "path": "content/film.mp4", "operation": "READ", "agent_id": "painter" });
    assert!(entries(&client, log).await.len() >= 4);
}

async fn text_and_bytes_go_in_by_their_own_tool(backend: TestBackend) {
    let (_env, _server, client) = docusaurus(backend).await;
    for path in ["content/img/p.png", "content/a.PDF", "content/f.woff2", "content/a.zip", "content/m.mp3"] {
        let refused = write(&client, path, "iVBORw0KGgo=", json!({})).await;
        assert_eq!(refused.code(), "INVALID_ARGUMENT", "{path}");
        let hint = text(&refused.value["error"]["hint"]);
        assert!(hint.contains("upload_asset") && hint.contains("asset_type=content"), "{hint}");
    }
    let refused = write(&client, "static/img/p.png", "iVBORw0KGgo=", json!({})).await;
    assert!(text(&refused.value["error"]["hint"]).contains("upload_asset"));
    for (path, content) in [
        ("content/logo.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("content/data.csv", "a,b\n1,2\n"),
        ("content/comp.jsx", "export default () => <b/>;\n"),
        ("content/code.ts", "export const a = 1;\n"),
        ("content/_category_.yml", "label: A\n"),
    ] {
        created(&client, path, content, json!({})).await;
        assert_eq!(read(&client, path, json!({})).await.expect_ok()["content"], content);
    }
    // The same file in another encoding is not text any more; a page must stay text.
    let hash = sha256("a,b\n1,2\n");
    upload(&client, "content", "data.csv", b"caf\xe9\n", json!({ "expected_hash": hash })).await.expect_ok();
    let seen = read(&client, "content/data.csv", json!({})).await.expect_ok();
    assert_eq!((&seen["mime_type"], seen.get("content")), (&json!("text/csv"), None));
    let latin = upload(&client, "content", "page.md", b"caf\xe9\n", json!({})).await;
    assert_eq!(latin.code(), "INVALID_ARGUMENT");
    assert!(text(&latin.value["error"]["message"]).contains("UTF-8"));
    upload(&client, "content", "page.md", "café\n".as_bytes(), json!({})).await.expect_ok();
    assert_eq!(read(&client, "content/page.md", json!({})).await.expect_ok()["content"], "café\n");
    // A strict book has no files beside its pages, and the refusal says where they belong.
    let arguments = json!({ "book_id": "strict-book", "asset_type": "content", "filename": "01-A/02-B/p.png",
        "binary_data": "iVBORw0KGgo=" });
    let strict = client.call("upload_asset", arguments).await;
    assert_eq!(strict.code(), "SCHEMA_VIOLATION");
    assert!(text(&strict.value["error"]["message"]).contains("below static/"), "{}", strict.value);
}

async fn a_large_file_beside_pages_comes_and_goes_by_links(backend: TestBackend) {
    let (_env, server, client) = docusaurus(backend).await;
    // Text, but too much of it for a call.
    let csv = "0123456789,abcdef\n".repeat(100_000);
    let announce = json!({ "file_size": csv.len(), "sha256": sha256(&csv) });
    let begun = client.call("upload_asset", asset("content", "big.csv", announce)).await.expect_ok();
    assert_eq!((&begun["status"], begun.get("cdn_url")), (&json!("presigned_url"), None));
    let mut put = reqwest::Client::new().put(text(&begun["upload_url"])).body(csv.clone());
    for (name, value) in begun["headers"].as_object().unwrap() {
        put = put.header(name, text(value));
    }
    assert!(put.send().await.unwrap().status().is_success());
    let done = json!({ "book_id": BOOK, "upload_id": begun["upload_id"] });
    let kept = client.call("complete_upload", done).await.expect_ok();
    assert!(open(&server, &client, &kept["download_url"], &[]).await.body == csv.as_bytes());
    let seen = read(&client, "content/big.csv", json!({})).await.expect_ok();
    assert_eq!((&seen["exists"], &seen["mime_type"]), (&json!(true), &json!("text/csv")));
    let files = pages(&client, "read_content", json!({ "book_id": BOOK, "scope": "book" }), "files").await.0;
    assert_eq!((&files[0]["file_size"], files[0].get("content")), (&json!(csv.len()), None));
}
