//! Assets inside tool calls: the agent contract applies to them as to pages, names are kept as they
//! were given, and everybody finds them at `cdn_url`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::fixtures::{
    BOOK, NO_HASH, created, entries, field, fresh, manifest, manifest_hash, pages, read, sha256, text, with,
};
use crate::harness::{Answer, Db, TestBackend, TestClient};

on_every_backend!(
    the_agent_contract_holds_for_assets,
    a_name_is_kept_as_it_was_given,
    assets_are_part_of_manifests_and_plans,
    what_can_t_be_an_asset_is_refused_with_what_to_do,
    bytes_are_read_in_every_spelling_of_base64,
);

/// Arguments about an asset of [`BOOK`].
pub(super) fn asset(kind: &str, filename: &str, more: Value) -> Value {
    with(json!({ "book_id": BOOK, "asset_type": kind, "filename": filename }), more)
}

/// Uploads these bytes inside the call.
pub(crate) async fn upload(
    client: &TestClient,
    kind: &str,
    filename: &str,
    bytes: &[u8],
    more: Value,
) -> Answer {
    let bytes = match bytes {
        [] => json!({ "file_size": 0 }),
        bytes => json!({ "binary_data": BASE64_STANDARD.encode(bytes) }),
    };
    client.call("upload_asset", with(asset(kind, filename, bytes), more)).await
}

/// Every byte value, and more of them than the inline limit allows.
fn picture() -> Vec<u8> {
    (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

async fn the_agent_contract_holds_for_assets(backend: TestBackend) {
    let (_env, server, client) = fresh(backend).await;
    let client = client.of_agent("painter");
    let (one, two) = (picture(), b"two".to_vec());
    let given = upload(&client, "img", "cover.png", &one, json!({ "expected_hash": NO_HASH })).await;
    assert_eq!(given.code(), "NOT_FOUND");
    let first = upload(&client, "img", "cover.png", &one, json!({})).await.expect_ok();
    let hash = sha256(&one);
    let cdn_url = format!("{}/books/{BOOK}/static/img/cover.png", server.url());
    let due = json!({
        "status": "success", "method": "direct", "path": "static/img/cover.png", "cdn_url": cdn_url,
        "file_size": one.len(), "mime_type": "image/png", "file_hash_sha256": hash,
    });
    assert_eq!(first, due);
    for more in [json!({}), json!({ "expected_hash": hash }), json!({ "expected_hash": NO_HASH })] {
        let again = upload(&client, "img", "cover.png", &one, more).await.expect_ok();
        assert_eq!(again, with(due.clone(), json!({ "status": "skipped" })));
    }
    let unnamed = upload(&client, "img", "cover.png", &two, json!({})).await;
    assert_eq!((unnamed.code(), &unnamed.value["error"]["current_hash"]), ("HASH_REQUIRED", &json!(hash)));
    let wrong = upload(&client, "img", "cover.png", &two, json!({ "expected_hash": NO_HASH })).await;
    assert_eq!((wrong.code(), &wrong.value["error"]["current_hash"]), ("CONFLICT", &json!(hash)));

    let got = client
        .call("get_asset", asset("img", "cover.png", json!({ "include_binary": true })))
        .await
        .expect_ok();
    assert_eq!(BASE64_STANDARD.decode(text(&got["binary_data"])).unwrap(), one);
    assert_eq!(
        (text(&got["uploaded_by_agent_id"]), text(&got["asset_type"]), text(&got["filename"])),
        ("painter".to_owned(), "img".to_owned(), "cover.png".to_owned())
    );
    assert!(text(&got["upload_timestamp"]).ends_with('Z') && got["cdn_url"] == json!(cdn_url));
    let seen = read(&client, "static/img/cover.png", json!({})).await.expect_ok();
    assert_eq!(seen, json!({ "path": "static/img/cover.png", "exists": true, "file_hash_sha256": hash }));

    let second = client.clone().of_agent("second");
    let replaced =
        upload(&second, "img", "cover.png", &two, json!({ "expected_hash": hash })).await.expect_ok();
    assert_eq!(replaced["file_hash_sha256"], json!(sha256(&two)));
    let got = client.call("get_asset", asset("img", "cover.png", json!({}))).await.expect_ok();
    assert_eq!((&got["uploaded_by_agent_id"], &got["file_size"]), (&json!("second"), &json!(3)));
    assert!(got.get("binary_data").is_none());

    let delete = async |more| client.call("delete_asset", asset("img", "cover.png", more)).await;
    assert_eq!(delete(json!({ "expected_hash": hash })).await.code(), "CONFLICT");
    let deleted = delete(json!({ "expected_hash": sha256(&two) })).await.expect_ok();
    let due =
        json!({ "status": "success", "path": "static/img/cover.png", "existed": true, "namespace": "base" });
    assert_eq!(deleted, due);
    assert_eq!(delete(json!({})).await.expect_ok()["existed"], json!(false));
    assert_eq!(client.call("get_asset", asset("img", "cover.png", json!({}))).await.code(), "NOT_FOUND");
    let gone = read(&client, "static/img/cover.png", json!({})).await.expect_ok();
    assert_eq!(gone, json!({ "path": "static/img/cover.png", "exists": false }));

    let filters = json!({ "book_id": BOOK, "path": "static/img/cover.png", "operation": "UPLOAD", "status": "success" });
    let changed: Vec<_> = entries(&client, filters)
        .await
        .into_iter()
        .filter(|entry| !entry["new_content_hash"].is_null())
        .collect();
    assert_eq!(field(&changed, "new_content_hash"), [sha256(&two), hash]);
    let chain = client.call("verify_audit_chain", json!({ "book_id": BOOK })).await.expect_ok();
    assert_eq!(chain["valid"], json!(true));
}

async fn a_name_is_kept_as_it_was_given(backend: TestBackend) {
    let (env, server, client) = fresh(backend).await;
    client.call("create_book", json!({ "book_id": BOOK, "schema": "docusaurus" })).await.expect_ok();
    let names = [
        ("img", "logo.png", "static/img/logo.png"),
        ("images", "logo.png", "static/images/logo.png"),
        (
            "slides",
            "week 1/Über uns (v2) + more, & that's all.pdf",
            "static/slides/week 1/Über uns (v2) + more, & that's all.pdf",
        ),
        ("videos", "日本/講義.mp4", "static/videos/日本/講義.mp4"),
        ("audio", "a.b.c/x..y.mp3", "static/audio/a.b.c/x..y.mp3"),
        ("static", "CNAME", "static/CNAME"),
        ("static", ".nojekyll", "static/.nojekyll"),
        ("static", "fonts/a_b-c.woff2", "static/fonts/a_b-c.woff2"),
    ];
    for (kind, filename, path) in names {
        let bytes = format!("the bytes of {path}");
        let kept = upload(&client, kind, filename, bytes.as_bytes(), json!({})).await.expect_ok();
        assert_eq!(kept["path"], json!(path));
        let url = text(&kept["cdn_url"]);
        assert!(url.is_ascii() && !url.contains(' '), "{url}");
        let reply = client.send("GET", &url, &[], "").await;
        assert_eq!((reply.status, reply.text()), (200, bytes), "{url}");
        let got = client.call("get_asset", asset(kind, filename, json!({}))).await.expect_ok();
        assert_eq!((&got["asset_type"], &got["filename"]), (&json!(kind), &json!(filename)));
    }
    let twin = upload(&client, "img", "Logo.PNG", b"x", json!({})).await;
    assert_eq!(twin.code(), "CONFLICT", "a build machine may not tell them apart");
    server.all_published().await;
    let published: Vec<_> = env.published().into_keys().collect();
    let mut due = names.map(|(_, _, path)| format!("{BOOK}/{path}"));
    due.sort();
    assert_eq!(published, due);

    let listed = pages(&client, "list_assets", json!({ "book_id": BOOK }), "assets").await.0;
    let mut due = names.map(|(_, _, path)| path.to_owned());
    due.sort();
    assert_eq!(field(&listed, "path"), due);
    let of_type =
        pages(&client, "list_assets", json!({ "book_id": BOOK, "asset_type": "static" }), "assets").await.0;
    assert_eq!(field(&of_type, "filename"), [".nojekyll", "CNAME", "fonts/a_b-c.woff2"]);
    let of_type =
        pages(&client, "list_assets", json!({ "book_id": BOOK, "asset_type": "img" }), "assets").await.0;
    assert_eq!(field(&of_type, "path"), ["static/img/logo.png"]);
}

async fn assets_are_part_of_manifests_and_plans(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    created(&client, "content/README.md", "readme", json!({})).await;
    let before = manifest(&client).await;
    upload(&client, "img", "cover.png", b"picture", json!({})).await.expect_ok();
    let due: [(&str, &[u8]); 2] = [("content/README.md", b"readme"), ("static/img/cover.png", b"picture")];
    assert_eq!(manifest(&client).await, manifest_hash(due));
    let plan = client
        .call("plan_build", json!({ "book_id": BOOK, "target_manifest_hash": before }))
        .await
        .expect_ok();
    let files = plan["files"].as_array().unwrap();
    assert_eq!((files.len(), &files[0]["path"]), (1, &json!("static/img/cover.png")));
}

async fn what_can_t_be_an_asset_is_refused_with_what_to_do(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    let code = async |arguments: Value| {
        let answer = client.call("upload_asset", arguments).await;
        let hint = answer.value["error"]["hint"].as_str().unwrap_or_default().to_owned();
        (answer.code().to_owned(), hint)
    };
    let data = json!({ "binary_data": "aGVsbG8=" });
    for filename in
        ["../x.png", "a/../../../content/x.png", "/x.png", "a//b.png", "", "a%2fb.png", "a\\b.png"]
    {
        assert_eq!(code(asset("img", filename, data.clone())).await.0, "INVALID_PATH", "{filename:?}");
    }
    assert_eq!(
        code(asset("static", "CNAME", data.clone())).await.0,
        "SCHEMA_VIOLATION",
        "the book is strict"
    );
    assert_eq!(code(asset("fonts", "x.woff", data.clone())).await.0, "INVALID_ARGUMENT");
    for (kind, filename) in
        [("img", "static/img/x.png"), ("static", "static/x"), ("content", "content/x.png")]
    {
        assert_eq!(code(asset(kind, filename, data.clone())).await.0, "INVALID_ARGUMENT", "{filename}");
    }
    for more in [
        json!({}),
        json!({ "binary_data": "aGVsbG8=", "file_size": 5 }),
        json!({ "binary_data": "no base64!" }),
        json!({ "binary_data": "aGVsbG8=", "sha256": NO_HASH }),
        json!({ "binary_data": "" }),
        json!({ "binary_data": " \n" }),
        json!({ "binary_data": "data:image/png;base64," }),
        json!({ "file_size": 0, "sha256": NO_HASH }),
        json!({ "file_size": -1 }),
        json!({ "file_size": 5, "sha256": "abc" }),
    ] {
        assert_eq!(code(asset("img", "x.png", more.clone())).await.0, "INVALID_ARGUMENT", "{more}");
    }
    let (too_large, hint) = code(asset("img", "x.png", json!({ "file_size": (100 << 20) + 1 }))).await;
    assert_eq!((too_large.as_str(), hint.contains("PANAVERSITY_MAX_ASSET_SIZE_MB")), ("TOO_LARGE", true));
    let inside = BASE64_STANDARD.encode(vec![7; (10 << 20) + 1]);
    let (too_large, hint) = code(asset("img", "x.png", json!({ "binary_data": inside }))).await;
    assert_eq!((too_large.as_str(), hint.contains("file_size instead of binary_data")), ("TOO_LARGE", true));
    assert_eq!(
        client.call("list_assets", json!({ "book_id": BOOK })).await.code(),
        "BOOK_NOT_FOUND",
        "nothing is left"
    );
}

async fn bytes_are_read_in_every_spelling_of_base64(backend: TestBackend) {
    let (_env, _server, client) = fresh(backend).await;
    let bytes = [0xfb, 0xef, 0xff, 1];
    for (n, data) in
        ["++//AQ==", "--__AQ", "data:image/png;base64,++//AQ==", " ++//\r\nAQ==\n"].iter().enumerate()
    {
        let name = format!("{n}.png");
        client.call("upload_asset", asset("img", &name, json!({ "binary_data": data }))).await.expect_ok();
        let got = client.call("get_asset", asset("img", &name, json!({}))).await.expect_ok();
        assert_eq!(got["file_hash_sha256"], json!(sha256(bytes)), "{data}");
    }
    // The size alone announces an empty asset.
    let empty = asset("img", "empty.png", json!({ "file_size": 0, "binary_data": "", "sha256": sha256("") }));
    let kept = client.call("upload_asset", empty.clone()).await.expect_ok();
    assert_eq!(
        (&kept["status"], &kept["method"], &kept["file_size"]),
        (&json!("success"), &json!("direct"), &json!(0))
    );
    assert_eq!(client.call("upload_asset", empty).await.expect_ok()["status"], "skipped");
    assert_eq!(client.get(&format!("/books/{BOOK}/static/img/empty.png")).await.body, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_of_assets_comes_page_by_page() {
    use futures::{StreamExt, stream};

    let (_env, _server, client) = fresh(Db::Sqlite).await;
    client.call("create_book", json!({ "book_id": BOOK, "schema": "docusaurus" })).await.expect_ok();
    let due: Vec<_> = (0..510).map(|n| format!("icon-{n:03}.svg")).collect();
    let uploads = due.iter().map(|name| upload(&client, "img", name, name.as_bytes(), json!({})));
    stream::iter(uploads).buffer_unordered(32).for_each(|answer| async { drop(answer.expect_ok()) }).await;
    upload(&client, "static", "zz.txt", b"last", json!({})).await.expect_ok();
    let (all, lengths) =
        pages(&client, "list_assets", json!({ "book_id": BOOK, "asset_type": "img" }), "assets").await;
    assert_eq!((field(&all, "filename"), lengths), (due, vec![500, 10]));
    let (others, lengths) =
        pages(&client, "list_assets", json!({ "book_id": BOOK, "asset_type": "static" }), "assets").await;
    assert_eq!((field(&others, "filename"), lengths), (vec!["zz.txt".to_owned()], vec![1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asset_of_the_direct_limit_goes_in_and_out() {
    let (_env, _server, client) = fresh(Db::Sqlite).await;
    let bytes: Vec<u8> = picture().into_iter().cycle().take(10 << 20).collect();
    upload(&client, "videos", "a.mp4", &bytes, json!({})).await.expect_ok();
    let got = client
        .call("get_asset", asset("videos", "a.mp4", json!({ "include_binary": true })))
        .await
        .expect_ok();
    assert!(BASE64_STANDARD.decode(text(&got["binary_data"])).unwrap() == bytes);
}
