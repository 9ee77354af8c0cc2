//! Large assets, whose bytes come past the tools: to a URL of the storage's own, or through this
//! server. What arrives is somebody's asset only when it is what was announced, and only once.

use panaversity_testkit::postgres;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::assets::{asset, upload};
use crate::harness::{Answer, Db, Door, Ground, Reply, Storage, until};
use crate::lessons::{BOOK, NO_HASH, entries, field, fresh, read, sha256, text, with};

on_every_ground!(
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

/// Announces an asset; gives the answer that has the URL.
async fn announced(door: &Door, filename: &str, bytes: &[u8], more: Value) -> Value {
    let size = json!({ "file_size": bytes.len() });
    let answer = door.call("upload_asset", with(asset("videos", filename, size), more)).await.expect_ok();
    assert_eq!(
        (&answer["status"], &answer["method"]),
        (&json!("presigned_url"), &json!("presigned")),
        "{answer}"
    );
    answer
}

/// Puts bytes where the answer says, as it says.
async fn put(door: &Door, begun: &Value, url: &str, bytes: &[u8]) -> Reply {
    let headers: Vec<_> = begun["headers"].as_object().unwrap().iter().collect();
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
    door.send("PUT", url, &headers, bytes.to_vec()).await
}

async fn put_there(door: &Door, begun: &Value, bytes: &[u8]) -> Reply {
    put(door, begun, &text(&begun["upload_url"]), bytes).await
}

async fn complete(door: &Door, begun: &Value) -> Answer {
    door.call("complete_upload", json!({ "book_id": BOOK, "upload_id": begun["upload_id"] })).await
}

async fn a_large_asset_comes_by_a_url_of_its_own(ground: Ground) {
    let (world, server, door) = fresh(ground).await;
    let bytes = video(0);
    let begun = announced(&door, "intro/a b.mp4", &bytes, json!({ "sha256": sha256(&bytes) })).await;
    let url = text(&begun["upload_url"]);
    assert_eq!(url.starts_with(server.url()), ground.storage == Storage::Fs, "{url}");
    assert_eq!(begun["expires_in_seconds"], json!(3600));
    assert_eq!(
        door.send("GET", &text(&begun["cdn_url"]), &[], "").await.status,
        404,
        "not before it is complete"
    );

    assert_eq!(put_there(&door, &begun, &bytes).await.status, 200);
    let kept = complete(&door, &begun).await.expect_ok();
    let due = json!({
        "status": "success", "method": "presigned", "path": "static/videos/intro/a b.mp4",
        "cdn_url": begun["cdn_url"], "file_size": bytes.len(), "mime_type": "video/mp4",
        "file_hash_sha256": sha256(&bytes),
    });
    assert_eq!(kept, due);
    assert!(door.send("GET", &text(&kept["cdn_url"]), &[], "").await.body == bytes);
    server.all_published().await;
    assert!(world.published()[&format!("{BOOK}/static/videos/intro/a b.mp4")] == bytes);
    let left = |world: &crate::harness::World| {
        let all = world.everything().into_keys();
        all.filter(|key| key.contains("/uploads/") || key.contains("/staging/")).collect::<Vec<_>>()
    };
    assert_eq!(left(&world), [""; 0], "what arrived is gone");

    // Whoever has the URL may go on, and it changes nothing.
    let late = put_there(&door, &begun, &video(1)).await;
    assert_eq!(late.status, if ground.storage == Storage::Fs { 404 } else { 200 });
    assert_eq!(complete(&door, &begun).await.expect_ok(), due);
    let seen = read(&door, "static/videos/intro/a b.mp4", json!({})).await.expect_ok();
    assert_eq!(seen["file_hash_sha256"], json!(sha256(&bytes)));
    door.call("delete_asset", asset("videos", "intro/a b.mp4", json!({}))).await.expect_ok();
    assert_eq!(complete(&door, &begun).await.expect_ok(), due, "the first answer");
    let gone = read(&door, "static/videos/intro/a b.mp4", json!({})).await.expect_ok();
    assert_eq!(gone["exists"], json!(false), "it does not come back");

    let all = entries(&door, json!({ "book_id": BOOK, "operation": "UPLOAD", "status": "success" })).await;
    let puts = usize::from(ground.storage == Storage::Fs);
    assert_eq!(all.len(), 4 + puts, "begun, put through the server, completed three times");
    assert!(field(&all, "path").iter().all(|path| path == "static/videos/intro/a b.mp4"), "{all:?}");
}

async fn what_is_not_as_announced_is_refused_and_removed(ground: Ground) {
    let (world, _server, door) = fresh(ground).await;
    let bytes = video(0);
    let begun = announced(&door, "a.mp4", &bytes, json!({ "sha256": sha256(&bytes) })).await;
    let incomplete = async |what: &str| {
        let answer = complete(&door, &begun).await;
        assert_eq!(answer.code(), "UPLOAD_INCOMPLETE", "{what}: {}", answer.value);
        assert_eq!(answer.value["error"]["expected_size"], json!(bytes.len()), "{what}");
        let held = world.everything().into_keys().filter(|key| key.contains("/uploads/")).count();
        assert_eq!(held, 0, "{what}: it was removed");
    };
    incomplete("nothing").await;
    for (what, wrong) in
        [("less", bytes[1..].to_vec()), ("more", [&bytes[..], b"!"].concat()), ("nothing at all", Vec::new())]
    {
        let reply = put_there(&door, &begun, &wrong).await;
        if ground.storage == Storage::Fs {
            assert_eq!(reply.status, if what == "more" { 413 } else { 400 }, "{what}: {}", reply.text());
            assert_eq!(reply.json()["error"]["code"], json!("UPLOAD_INCOMPLETE"));
        }
        incomplete(what).await;
    }
    assert_eq!(put_there(&door, &begun, &video(1)).await.status, 200);
    incomplete("other bytes").await;
    let seen = read(&door, "static/videos/a.mp4", json!({})).await;
    assert_eq!(seen.code(), "BOOK_NOT_FOUND", "nothing of it is anybody's asset");
    assert_eq!(put_there(&door, &begun, &bytes).await.status, 200);
    assert_eq!(complete(&door, &begun).await.expect_ok()["status"], json!("success"));

    let unknown = json!({ "book_id": BOOK, "upload_id": "018f0000-0000-7000-8000-000000000000" });
    assert_eq!(door.call("complete_upload", unknown).await.code(), "NOT_FOUND");
    door.call("create_book", json!({ "book_id": "another-book" })).await.expect_ok();
    let foreign = json!({ "book_id": "another-book", "upload_id": begun["upload_id"] });
    assert_eq!(door.call("complete_upload", foreign).await.code(), "NOT_FOUND");
    let none = json!({ "book_id": BOOK, "upload_id": "../../etc" });
    assert_eq!(door.call("complete_upload", none).await.code(), "INVALID_ARGUMENT");
}

async fn a_changed_url_opens_nothing(ground: Ground) {
    let (world, _server, door) = fresh(ground).await;
    let bytes = video(0);
    let (one, two) = (
        announced(&door, "a.mp4", &bytes, json!({})).await,
        announced(&door, "b.mp4", &bytes, json!({})).await,
    );
    let (url, id) = (text(&one["upload_url"]), text(&one["upload_id"]));
    let mut changed =
        vec![url.replace(&id, &text(&two["upload_id"])), url.split('?').next().unwrap().to_owned()];
    if ground.storage == Storage::Fs {
        changed.push(url.replace("size=", "size=9"));
        changed.push(url.replace("expires=", "expires=9"));
        changed.push(url.replace(&id, "x"));
        changed.push(format!("{url}0"));
    }
    for changed in changed {
        let reply = put(&door, &one, &changed, &bytes).await;
        assert_eq!(reply.status, 403, "{changed}: {}", reply.text());
    }
    let held = world.everything().into_keys().filter(|key| key.contains("/uploads/")).count();
    assert_eq!(held, 0);
}

async fn i8_of_concurrent_completions_all_give_the_same_answer(ground: Ground) {
    let (_world, _server, door) = fresh(ground).await;
    let bytes = video(0);
    let begun = announced(&door, "a.mp4", &bytes, json!({})).await;
    assert_eq!(put_there(&door, &begun, &bytes).await.status, 200);
    let answers = futures::future::join_all((0..8).map(|_| complete(&door, &begun))).await;
    let first = answers[0].clone().expect_ok();
    assert_eq!(first["status"], json!("success"));
    assert!(answers.iter().all(|answer| answer.value == first), "{answers:?}");
    let changes = entries(&door, json!({ "book_id": BOOK, "operation": "UPLOAD" })).await;
    let changes = changes.iter().filter(|entry| !entry["new_content_hash"].is_null()).count();
    assert_eq!(changes, 1, "it was written once");
}

async fn only_the_agent_contract_decides(ground: Ground) {
    let (_world, _server, door) = fresh(ground).await;
    let (one, two) = (video(1), video(2));
    let early = announced(&door, "a.mp4", &two, json!({})).await;
    upload(&door, "videos", "a.mp4", &one, json!({})).await.expect_ok();
    let begin = async |more| {
        let size = json!({ "file_size": two.len() });
        door.call("upload_asset", with(asset("videos", "a.mp4", size), more)).await
    };
    assert_eq!(begin(json!({})).await.code(), "HASH_REQUIRED");
    let conflict = begin(json!({ "expected_hash": NO_HASH })).await;
    assert_eq!(
        (conflict.code(), &conflict.value["error"]["current_hash"]),
        ("CONFLICT", &json!(sha256(&one)))
    );
    let same = begin(json!({ "sha256": sha256(&one) })).await.expect_ok();
    assert_eq!((&same["status"], &same["file_hash_sha256"]), (&json!("skipped"), &json!(sha256(&one))));

    put_there(&door, &early, &two).await;
    assert_eq!(complete(&door, &early).await.code(), "HASH_REQUIRED", "somebody was first");
    let replace = begin(json!({ "expected_hash": sha256(&one) })).await.expect_ok();
    put_there(&door, &replace, &two).await;
    assert_eq!(complete(&door, &replace).await.expect_ok()["status"], json!("success"));
    let again = begin(json!({ "expected_hash": sha256(&two) })).await.expect_ok();
    put_there(&door, &again, &two).await;
    assert_eq!(complete(&door, &again).await.expect_ok()["status"], json!("skipped"));
}

async fn a_name_that_cannot_be_is_refused_before_anything_is_sent(ground: Ground) {
    let (_world, _server, door) = fresh(ground).await;
    door.call("create_book", json!({ "book_id": BOOK, "schema": "docusaurus" })).await.expect_ok();
    upload(&door, "videos", "Intro.mp4", b"film", json!({})).await.expect_ok();
    upload(&door, "videos", "part", b"film", json!({})).await.expect_ok();
    upload(&door, "content", "img/a.png", b"picture", json!({})).await.expect_ok();
    let begin = async |kind: &str, name: &str| {
        door.call("upload_asset", asset(kind, name, json!({ "file_size": 20_000_000 }))).await
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
            upload(&door, kind, name, b"film", json!({})).await.value["error"]["message"],
            error["message"]
        );
    }
    assert_eq!(begin("videos", "parts/one.mp4").await.expect_ok()["status"], json!("presigned_url"));
    let replace =
        asset("videos", "part", json!({ "file_size": 20_000_000, "expected_hash": sha256("film") }));
    assert_eq!(door.call("upload_asset", replace).await.expect_ok()["status"], json!("presigned_url"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_arrives_once_at_a_time() {
    let (_world, server, door) = fresh(Ground::new(Db::Sqlite, Storage::Fs)).await;
    let bytes = video(0);
    let begun = announced(&door, "a.mp4", &bytes, json!({})).await;
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let target = text(&begun["upload_url"]).replace(server.url(), "");
    let mut first = TcpStream::connect(&address).await.unwrap();
    // Whoever is asked to go on is being received.
    let head = format!(
        "PUT {target} HTTP/1.1\r\nHost: {address}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    first.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; 25];
    first.read_exact(&mut said).await.unwrap();
    assert_eq!(said, *b"HTTP/1.1 100 Continue\r\n\r\n");
    let second = put_there(&door, &begun, &bytes).await;
    assert_eq!((second.status, &second.json()["error"]["code"]), (409, &json!("CONFLICT")));
    assert!(second.headers.contains_key("retry-after"));
    first.write_all(&bytes).await.unwrap();
    let mut said = [0; 15];
    first.read_exact(&mut said).await.unwrap();
    assert_eq!(said, *b"HTTP/1.1 200 OK");
    assert_eq!(put_there(&door, &begun, &bytes).await.status, 200, "now it may come again");
}

/// Where the clock can be turned by SQL.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_expired_leaves_nothing() {
    for storage in [Storage::Fs, Storage::S3] {
        expires(Ground::new(Db::Postgres, storage)).await;
    }
}

async fn expires(ground: Ground) {
    let (world, server, door) = fresh(ground).await;
    let bytes = video(0);
    let (abandoned, open) = (
        announced(&door, "a.mp4", &bytes, json!({})).await,
        announced(&door, "b.mp4", &bytes, json!({})).await,
    );
    for begun in [&abandoned, &open] {
        assert_eq!(put_there(&door, begun, &bytes).await.status, 200);
    }
    let id = text(&abandoned["upload_id"]);
    let past = format!("UPDATE uploads SET expires_at = '2001-01-01T00:00:00Z' WHERE id = '{id}'");
    postgres::shared().query(world.database_url(), &past);
    assert_eq!(complete(&door, &abandoned).await.code(), "NOT_FOUND");
    if ground.storage == Storage::Fs {
        assert_eq!(put_there(&door, &abandoned, &bytes).await.status, 404);
    }
    drop(server);
    let held = || world.everything().into_keys().filter(|key| key.contains("/uploads/")).collect::<Vec<_>>();
    assert_eq!(held().len(), 2);
    // The background task begins with a round, a few seconds after the start.
    let server = world.start().await;
    until("the abandoned upload is removed", async || held().len() == 1).await;
    assert!(held()[0].ends_with(&text(&open["upload_id"])));
    assert_eq!(complete(&server.door(), &open).await.expect_ok()["status"], json!("success"));
    let gc = world.command().args(["gc", "--json", "--retention-days", "0"]).output().unwrap();
    assert!(gc.status.success(), "{gc:?}");
    assert_eq!(complete(&server.door(), &abandoned).await.code(), "NOT_FOUND");
}
