//! Large assets, whose bytes do not pass through tools: they are put to a URL of the storage's own,
//! or to this server. An upload becomes an asset only if it is what was announced, and only once.

use std::time::Duration;

use panaversity_fs::RuntimeLimits;
use panaversity_service::limits::TaskTimes;
use panaversity_testkit::postgres;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::assets::{asset, upload};
use crate::fixtures::{BOOK, NO_HASH, entries, field, fresh, read, sha256, text, with};
use crate::harness::{Answer, Db, Reply, Storage, TestBackend, TestClient, until};

on_every_backend!(
    a_large_asset_comes_by_a_url_of_its_own,
    what_is_not_as_announced_is_refused_and_removed,
    a_changed_url_opens_nothing,
    i8_of_concurrent_completions_all_give_the_same_answer,
    only_the_agent_contract_decides,
    a_name_that_cannot_be_is_refused_before_anything_is_sent,
);

/// More than two chunks, and no round number of them.
fn video(seed: u32) -> Vec<u8> {
    (0..2_500_001u32).map(|n| ((n ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Announces an asset; returns the answer with the URL.
async fn announced(client: &TestClient, filename: &str, bytes: &[u8], more: Value) -> Value {
    let size = json!({ "file_size": bytes.len() });
    let answer = client.call("upload_asset", with(asset("videos", filename, size), more)).await.expect_ok();
    assert_eq!(
        (&answer["status"], &answer["method"]),
        (&json!("presigned_url"), &json!("presigned")),
        "{answer}"
    );
    answer
}

/// Uploads bytes to a URL with the headers of the answer.
async fn put(client: &TestClient, begun: &Value, url: &str, bytes: &[u8]) -> Reply {
    let headers: Vec<_> = begun["headers"].as_object().unwrap().iter().collect();
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
    client.send("PUT", url, &headers, bytes.to_vec()).await
}

async fn put_there(client: &TestClient, begun: &Value, bytes: &[u8]) -> Reply {
    put(client, begun, &text(&begun["upload_url"]), bytes).await
}

async fn complete(client: &TestClient, begun: &Value) -> Answer {
    client.call("complete_upload", json!({ "book_id": BOOK, "upload_id": begun["upload_id"] })).await
}

async fn a_large_asset_comes_by_a_url_of_its_own(backend: TestBackend) {
    let (env, server, client) = fresh(backend).await;
    let bytes = video(0);
    let begun = announced(&client, "intro/a b.mp4", &bytes, json!({ "sha256": sha256(&bytes) })).await;
    let url = text(&begun["upload_url"]);
    assert_eq!(url.starts_with(server.url()), backend.storage == Storage::Fs, "{url}");
    assert_eq!(begun["expires_in_seconds"], json!(3600));
    assert_eq!(
        client.send("GET", &text(&begun["cdn_url"]), &[], "").await.status,
        404,
        "not before it is complete"
    );

    assert_eq!(put_there(&client, &begun, &bytes).await.status, 200);
    let kept = complete(&client, &begun).await.expect_ok();
    let due = json!({
        "status": "success", "method": "presigned", "path": "static/videos/intro/a b.mp4",
        "cdn_url": begun["cdn_url"], "file_size": bytes.len(), "mime_type": "video/mp4",
        "file_hash_sha256": sha256(&bytes),
    });
    assert_eq!(kept, due);
    assert!(client.send("GET", &text(&kept["cdn_url"]), &[], "").await.body == bytes);
    server.all_published().await;
    assert!(env.published()[&format!("{BOOK}/static/videos/intro/a b.mp4")] == bytes);
    let left = |env: &crate::harness::TestEnv| {
        let all = env.everything().into_keys();
        all.filter(|key| key.contains("/uploads/") || key.contains("/staging/")).collect::<Vec<_>>()
    };
    assert_eq!(left(&env), [""; 0], "what arrived is gone");

    // The URL may still accept an upload, which changes nothing.
    let late = put_there(&client, &begun, &video(1)).await;
    assert_eq!(late.status, if backend.storage == Storage::Fs { 404 } else { 200 });
    assert_eq!(complete(&client, &begun).await.expect_ok(), due);
    let seen = read(&client, "static/videos/intro/a b.mp4", json!({})).await.expect_ok();
    assert_eq!(seen["file_hash_sha256"], json!(sha256(&bytes)));
    client.call("delete_asset", asset("videos", "intro/a b.mp4", json!({}))).await.expect_ok();
    assert_eq!(complete(&client, &begun).await.expect_ok(), due, "the first answer");
    let gone = read(&client, "static/videos/intro/a b.mp4", json!({})).await.expect_ok();
    assert_eq!(gone["exists"], json!(false), "it does not come back");

    let all = entries(&client, json!({ "book_id": BOOK, "operation": "UPLOAD", "status": "success" })).await;
    let puts = usize::from(backend.storage == Storage::Fs);
    assert_eq!(all.len(), 4 + puts, "begun, put through the server, completed three times");
    assert!(field(&all, "path").iter().all(|path| path == "static/videos/intro/a b.mp4"), "{all:?}");
}

async fn what_is_not_as_announced_is_refused_and_removed(backend: TestBackend) {
    let (env, _server, client) = fresh(backend).await;
    let bytes = video(0);
    let begun = announced(&client, "a.mp4", &bytes, json!({ "sha256": sha256(&bytes) })).await;
    let incomplete = async |what: &str| {
        let answer = complete(&client, &begun).await;
        assert_eq!(answer.code(), "UPLOAD_INCOMPLETE", "{what}: {}", answer.value);
        assert_eq!(answer.value["error"]["expected_size"], json!(bytes.len()), "{what}");
        let held = env.everything().into_keys().filter(|key| key.contains("/uploads/")).count();
        assert_eq!(held, 0, "{what}: it was removed");
    };
    incomplete("nothing").await;
    for (what, wrong) in
        [("less", bytes[1..].to_vec()), ("more", [&bytes[..], b"!"].concat()), ("nothing at all", Vec::new())]
    {
        let reply = put_there(&client, &begun, &wrong).await;
        if backend.storage == Storage::Fs {
            assert_eq!(reply.status, if what == "more" { 413 } else { 400 }, "{what}: {}", reply.text());
            assert_eq!(reply.json()["error"]["code"], json!("UPLOAD_INCOMPLETE"));
        }
        incomplete(what).await;
    }
    assert_eq!(put_there(&client, &begun, &video(1)).await.status, 200);
    incomplete("other bytes").await;
    let seen = read(&client, "static/videos/a.mp4", json!({})).await;
    assert_eq!(seen.code(), "BOOK_NOT_FOUND", "nothing of it is anybody's asset");
    assert_eq!(put_there(&client, &begun, &bytes).await.status, 200);
    assert_eq!(complete(&client, &begun).await.expect_ok()["status"], json!("success"));

    let unknown = json!({ "book_id": BOOK, "upload_id": "018f0000-0000-7000-8000-000000000000" });
    assert_eq!(client.call("complete_upload", unknown).await.code(), "NOT_FOUND");
    client.call("create_book", json!({ "book_id": "another-book" })).await.expect_ok();
    let foreign = json!({ "book_id": "another-book", "upload_id": begun["upload_id"] });
    assert_eq!(client.call("complete_upload", foreign).await.code(), "NOT_FOUND");
    let none = json!({ "book_id": BOOK, "upload_id": "../../etc" });
    assert_eq!(client.call("complete_upload", none).await.code(), "INVALID_ARGUMENT");
}

async fn a_changed_url_opens_nothing(backend: TestBackend) {
    let (env, _server, client) = fresh(backend).await;
    let bytes = video(0);
    let (one, two) = (
        announced(&client, "a.mp4", &bytes, json!({})).await,
        announced(&client, "b.mp4", &bytes, json!({})).await,
    );
    let (url, id) = (text(&one["upload_url"]), text(&one["upload_id"]));
    let mut changed =
        vec![url.replace(&id, &text(&two["upload_id"])), url.split('?').next().unwrap().to_owned()];
    if backend.storage == Storage::Fs {
        changed.push(url.replace("size=", "size=9"));
        changed.push(url.replace("expires=", "expires=9"));
        changed.push(url.replace(&id, "x"));
        changed.push(format!("{url}0"));
    }
    for changed in changed {
        let reply = put(&client, &one, &changed, &bytes).await;
        assert_eq!(reply.status, 403, "{changed}: {}", reply.text());
    }
    let held = env.everything().into_keys().filter(|key| key.contains("/uploads/")).count();
    assert_eq!(held, 0);
}

async fn i8_of_concurrent_completions_all_give_the_same_answer(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    let bytes = video(0);
    let begun = announced(&client, "a.mp4", &bytes, json!({})).await;
    assert_eq!(put_there(&client, &begun, &bytes).await.status, 200);
    let answers = futures::future::join_all((0..8).map(|_| complete(&client, &begun))).await;
    let first = answers[0].clone().expect_ok();
    assert_eq!(first["status"], json!("success"));
    assert!(answers.iter().all(|answer| answer.value == first), "{answers:?}");
    let changes = entries(&client, json!({ "book_id": BOOK, "operation": "UPLOAD" })).await;
    let changes = changes.iter().filter(|entry| !entry["new_content_hash"].is_null()).count();
    assert_eq!(changes, 1, "it was written once");
}

async fn only_the_agent_contract_decides(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    let (one, two) = (video(1), video(2));
    let early = announced(&client, "a.mp4", &two, json!({})).await;
    upload(&client, "videos", "a.mp4", &one, json!({})).await.expect_ok();
    let begin = async |more| {
        let size = json!({ "file_size": two.len() });
        client.call("upload_asset", with(asset("videos", "a.mp4", size), more)).await
    };
    assert_eq!(begin(json!({})).await.code(), "HASH_REQUIRED");
    let conflict = begin(json!({ "expected_hash": NO_HASH })).await;
    assert_eq!(
        (conflict.code(), &conflict.value["error"]["current_hash"]),
        ("CONFLICT", &json!(sha256(&one)))
    );
    let same = begin(json!({ "sha256": sha256(&one) })).await.expect_ok();
    assert_eq!((&same["status"], &same["file_hash_sha256"]), (&json!("skipped"), &json!(sha256(&one))));

    put_there(&client, &early, &two).await;
    assert_eq!(complete(&client, &early).await.code(), "HASH_REQUIRED", "somebody was first");
    let replace = begin(json!({ "expected_hash": sha256(&one) })).await.expect_ok();
    put_there(&client, &replace, &two).await;
    assert_eq!(complete(&client, &replace).await.expect_ok()["status"], json!("success"));
    let again = begin(json!({ "expected_hash": sha256(&two) })).await.expect_ok();
    put_there(&client, &again, &two).await;
    assert_eq!(complete(&client, &again).await.expect_ok()["status"], json!("skipped"));
}

async fn a_name_that_cannot_be_is_refused_before_anything_is_sent(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    client.call("create_book", json!({ "book_id": BOOK, "schema": "docusaurus" })).await.expect_ok();
    upload(&client, "videos", "Intro.mp4", b"film", json!({})).await.expect_ok();
    upload(&client, "videos", "part", b"film", json!({})).await.expect_ok();
    upload(&client, "content", "img/a.png", b"picture", json!({})).await.expect_ok();
    let begin = async |kind: &str, name: &str| {
        client.call("upload_asset", asset(kind, name, json!({ "file_size": 20_000_000 }))).await
    };
    for (kind, name, other) in [
        ("videos", "intro.MP4", "static/videos/Intro.mp4"),
        ("videos", "part/one.mp4", "static/videos/part"),
        ("videos", "PART/one.mp4", "static/videos/part"),
        ("content", "img", "content/img/a.png"),
        ("content", "Img/A.PNG", "content/img/a.png"),
    ] {
        let refused = begin(kind, name).await;
        assert_eq!(refused.code(), "CONFLICT", "{kind} {name}: {}", refused.value);
        let error = &refused.value["error"];
        assert!(text(&error["message"]).contains(other) && error.get("current_hash").is_none(), "{error}");
        assert_eq!(
            upload(&client, kind, name, b"film", json!({})).await.value["error"]["message"],
            error["message"]
        );
    }
    assert_eq!(begin("videos", "parts/one.mp4").await.expect_ok()["status"], json!("presigned_url"));
    let replace =
        asset("videos", "part", json!({ "file_size": 20_000_000, "expected_hash": sha256("film") }));
    assert_eq!(client.call("upload_asset", replace).await.expect_ok()["status"], json!("presigned_url"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_arrives_once_at_a_time() {
    let (_env, server, client) = fresh(TestBackend::new(Db::Sqlite, Storage::Fs)).await;
    let bytes = video(0);
    let begun = announced(&client, "a.mp4", &bytes, json!({})).await;
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let target = text(&begun["upload_url"]).replace(server.url(), "");
    let mut first = TcpStream::connect(&address).await.unwrap();
    // After `100 Continue` the upload is being received.
    let head = format!(
        "PUT {target} HTTP/1.1\r\nHost: {address}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    first.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; 25];
    first.read_exact(&mut said).await.unwrap();
    assert_eq!(said, *b"HTTP/1.1 100 Continue\r\n\r\n");
    let second = put_there(&client, &begun, &bytes).await;
    assert_eq!((second.status, &second.json()["error"]["code"]), (409, &json!("CONFLICT")));
    assert!(second.headers.contains_key("retry-after"));
    first.write_all(&bytes).await.unwrap();
    let mut said = [0; 15];
    first.read_exact(&mut said).await.unwrap();
    assert_eq!(said, *b"HTTP/1.1 200 OK");
    assert_eq!(put_there(&client, &begun, &bytes).await.status, 200, "now it may come again");
}

/// On `PostgreSQL`, where SQL can move an upload's expiry.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_expired_leaves_nothing() {
    let on = |storage| expires(TestBackend::new(Db::Postgres, storage));
    tokio::join!(on(Storage::Fs), on(Storage::S3));
}

async fn expires(backend: TestBackend) {
    let (env, server, client) = fresh(backend).await;
    let bytes = video(0);
    let (abandoned, open) = (
        announced(&client, "a.mp4", &bytes, json!({})).await,
        announced(&client, "b.mp4", &bytes, json!({})).await,
    );
    for begun in [&abandoned, &open] {
        assert_eq!(put_there(&client, begun, &bytes).await.status, 200);
    }
    let id = text(&abandoned["upload_id"]);
    let past = format!("UPDATE uploads SET expires_at = '2001-01-01T00:00:00Z' WHERE id = '{id}'");
    postgres::shared().query(env.database_url(), &past);
    assert_eq!(complete(&client, &abandoned).await.code(), "NOT_FOUND");
    if backend.storage == Storage::Fs {
        assert_eq!(put_there(&client, &abandoned, &bytes).await.status, 404);
    }
    drop(server);
    let tasks = TaskTimes { first_cleanup: Duration::ZERO, ..TaskTimes::default() };
    let env = env.within(RuntimeLimits { tasks, ..RuntimeLimits::default() });
    let held = || env.everything().into_keys().filter(|key| key.contains("/uploads/")).collect::<Vec<_>>();
    assert_eq!(held().len(), 2);
    let server = env.start().await;
    until("the abandoned upload is removed", async || held().len() == 1).await;
    assert!(held()[0].ends_with(&text(&open["upload_id"])));
    assert_eq!(complete(&server.client(), &open).await.expect_ok()["status"], json!("success"));
    let gc = env.command().args(["gc", "--json", "--retention-days", "0"]).output().unwrap();
    assert!(gc.status.success(), "{gc:?}");
    assert_eq!(complete(&server.client(), &abandoned).await.code(), "NOT_FOUND");
}
