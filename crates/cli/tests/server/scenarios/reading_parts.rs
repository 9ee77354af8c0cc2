//! Reading a part of a file: outline, section, lines. What is read is that part byte for byte, with the hash
//! of the whole file, of every version and layer.

use std::time::{Duration, Instant};

use panaversity_model::BookPath;
use panaversity_model::outline::Outline;
use serde_json::{Value, json};

use crate::fixtures::{
    BOOK, LESSON, NO_HASH, about, created, field, fresh, pages, read, sha256, text, with, write,
};
use crate::harness::{TestBackend, TestClient};

mod on_all {
    use super::an_outline_leads_to_every_section_byte_for_byte;

    on_every_backend!(an_outline_leads_to_every_section_byte_for_byte);
}

on_both_databases!(a_part_is_read_of_every_version_and_layer, pages_of_an_outline_are_of_one_version,);

on_one_backend!(
    what_has_no_such_part_is_refused_with_the_next_step,
    parts_exclude_each_other_and_wider_scopes,
    a_hostile_page_is_outlined_at_once,
);

const PAGE: &str = "\u{feff}---\r\ntitle: x\r\n---\r\n\r\n# Start *here* {#start}\r\n\r\ntext\r\n\r\n## Use it\r\n```\r\n# no\r\n```\r\n\
    ## Use it\r\nEnd\r\n---\r\nlast";

/// The headings of a page, checked against the domain.
async fn outline(client: &TestClient, page: &str, more: Value) -> Vec<Value> {
    let answer = read(client, LESSON, with(json!({ "outline": true }), more)).await.expect_ok();
    let expected = Outline::of(&BookPath::parse(LESSON).unwrap(), page);
    assert_eq!(answer["total_lines"], expected.total_lines);
    assert_eq!((answer.get("content"), &answer["file_hash_sha256"]), (None, &json!(sha256(page))));
    assert_eq!(answer["file_size"], page.len());
    let headings = answer["headings"].as_array().unwrap().clone();
    for (heading, expected) in headings.iter().zip(&expected.headings) {
        let expected = json!({
            "level": expected.level, "title": expected.title, "slug": expected.slug, "bytes": expected.bytes,
            "first_line": expected.first_line, "last_line": expected.last_line,
        });
        assert_eq!(*heading, expected);
    }
    assert_eq!(headings.len(), expected.headings.len());
    headings
}

async fn an_outline_leads_to_every_section_byte_for_byte(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    // One that is stored inline, and one in an object.
    for page in [PAGE.to_owned(), format!("{PAGE}\r\n\r\n{}", "filler\n".repeat(30_000))] {
        let now = read(&client, LESSON, json!({})).await;
        let expected = now.ok.then(|| json!({ "expected_hash": now.value["file_hash_sha256"] }));
        write(&client, LESSON, &page, expected.unwrap_or(json!({}))).await.expect_ok();
        let headings = outline(&client, &page, json!({})).await;
        assert_eq!(field(&headings, "slug"), ["start", "use-it", "use-it-1", "end"]);
        let lines: Vec<&str> = page.split_inclusive('\n').collect();
        for heading in headings {
            let line = |name: &str| usize::try_from(heading[name].as_u64().unwrap()).unwrap();
            let (first, last) = (line("first_line"), line("last_line"));
            let by_section = read(&client, LESSON, json!({ "section": heading["slug"] })).await.expect_ok();
            let by_lines = read(&client, LESSON, json!({ "lines": format!("{first}-{last}") })).await;
            assert_eq!(by_section, by_lines.expect_ok());
            assert_eq!(text(&by_section["content"]), lines[first - 1..last].concat());
            assert_eq!(text(&by_section["content"]).len(), line("bytes"));
            let place = ["first_line", "last_line", "total_lines"].map(|name| by_section[name].clone());
            assert_eq!(place, [first, last, lines.len()].map(|line| json!(line)));
            assert_eq!(by_section["file_hash_sha256"], sha256(&page), "the hash is the whole file's");
            assert_eq!(by_section["file_size"], page.len());
        }
        for (range, expected) in [(json!("9-"), lines[8..].concat()), (json!(5), lines[4].to_owned())] {
            let answer = read(&client, LESSON, json!({ "lines": range })).await.expect_ok();
            assert_eq!(text(&answer["content"]), expected, "{range}");
        }
        let by_title = read(&client, LESSON, json!({ "section": "Start here" })).await.expect_ok();
        assert_eq!(by_title["first_line"], 5);
    }
}

async fn a_part_is_read_of_every_version_and_layer(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let (old, new, hers) = ("# A\none\n", "# A\ntwo\n# B\n", "# A\nhers\n");
    let hash = created(&client, LESSON, old, json!({})).await;
    write(&client, LESSON, new, json!({ "expected_hash": hash })).await.expect_ok();
    created(&client, LESSON, hers, json!({ "user_id": "eve" })).await;
    for (layer, page, source) in [
        (json!({}), new, "base"),
        (json!({ "hash": hash }), old, "base"),
        (json!({ "user_id": "eve" }), hers, "overlay"),
        (json!({ "user_id": "eve", "hash": hash }), old, "base"),
        (json!({ "if_none_match": NO_HASH }), new, "base"),
    ] {
        outline(&client, page, layer.clone()).await;
        let lines = read(&client, LESSON, with(json!({ "lines": "2" }), layer.clone())).await.expect_ok();
        let second = page.split_inclusive('\n').nth(1).unwrap();
        assert_eq!((&lines["content"], &lines["source"]), (&json!(second), &json!(source)), "{layer}");
    }
    for part in [json!({ "outline": true }), json!({ "section": "no-such" }), json!({ "lines": "99" })] {
        let same = read(&client, LESSON, with(part, json!({ "if_none_match": sha256(new) }))).await;
        let unchanged = json!({ "path": LESSON, "unchanged": true, "file_hash_sha256": sha256(new) });
        assert_eq!(same.expect_ok(), unchanged);
    }
}

async fn pages_of_an_outline_are_of_one_version(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let page = (1..=2_100).map(|n| format!("# Title {n}\n")).collect::<Vec<_>>().concat();
    created(&client, LESSON, &page, json!({})).await;
    let call = about(LESSON, json!({ "outline": true }));
    let (headings, lengths) = pages(&client, "read_content", call.clone(), "headings").await;
    assert_eq!(lengths, [1_000, 1_000, 100]);
    assert_eq!(field(&headings, "slug").last().unwrap(), "title-2100");
    let first = client.call("read_content", call.clone()).await.expect_ok();
    write(&client, LESSON, "# Changed\n", json!({ "expected_hash": sha256(&page) })).await.expect_ok();
    let cursor = first["next_cursor"].clone();
    let second = client.call("read_content", with(call, json!({ "cursor": cursor }))).await.expect_ok();
    assert_eq!(
        (&second["file_hash_sha256"], &second["headings"][0]["slug"]),
        (&json!(sha256(&page)), &json!("title-1001"))
    );
    for other in [json!({ "cursor": cursor }), json!({ "lines": "1", "cursor": cursor })] {
        assert_eq!(read(&client, LESSON, other).await.code(), "INVALID_ARGUMENT");
    }
    // Headings too long for one page.
    let long = (1..=9).map(|n| format!("# {n} {}\n", "\u{1}".repeat(50_000))).collect::<Vec<_>>().concat();
    created(&client, "content/README.md", &long, json!({})).await;
    let call = about("content/README.md", json!({ "outline": true }));
    let (headings, lengths) = pages(&client, "read_content", call, "headings").await;
    assert!(headings.len() == 9 && lengths.len() > 1, "{lengths:?}");
}

async fn what_has_no_such_part_is_refused_with_the_next_step(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let docusaurus = json!({ "book_id": BOOK, "schema": "docusaurus" });
    client.call("create_book", docusaurus).await.expect_ok();
    let page = "# Getting started\n## Install\n## Install\n";
    for (path, content) in [("content/a.md", page), ("content/b.json", "{\n}\n"), ("content/empty.md", "")] {
        created(&client, path, content, json!({})).await;
    }
    let image = json!({ "book_id": BOOK, "asset_type": "content", "filename": "c.png", "binary_data": "iVBORw0KGgo=" });
    client.call("upload_asset", image).await.expect_ok();

    let near = read(&client, "content/a.md", json!({ "section": "geting started" })).await;
    assert_eq!(
        (near.code(), &near.value["error"]["suggestions"][0]),
        ("NOT_FOUND", &json!("getting-started"))
    );
    let several = read(&client, "content/a.md", json!({ "section": "Install" })).await;
    assert_eq!(
        (several.code(), &several.value["error"]["argument"]),
        ("INVALID_ARGUMENT", &json!("section"))
    );
    assert_eq!(several.value["error"]["suggestions"], json!(["install", "install-1"]));
    for (path, lines, total) in
        [("content/a.md", "3-4", 3), ("content/a.md", "4-", 3), ("content/empty.md", "1", 0)]
    {
        let beyond = read(&client, path, json!({ "lines": lines })).await;
        assert_eq!(
            (beyond.code(), &beyond.value["error"]["total_lines"]),
            ("INVALID_ARGUMENT", &json!(total))
        );
    }
    let empty = read(&client, "content/empty.md", json!({ "outline": true })).await.expect_ok();
    assert_eq!((&empty["headings"], &empty["total_lines"]), (&json!([]), &json!(0)));
    let json_lines = read(&client, "content/b.json", json!({ "lines": "2-" })).await.expect_ok();
    assert_eq!(json_lines["content"], "}\n");
    for (path, part, argument) in [
        ("content/b.json", json!({ "outline": true }), "outline"),
        ("content/b.json", json!({ "section": "a" }), "section"),
        ("content/c.png", json!({ "outline": true }), "outline"),
        ("content/c.png", json!({ "lines": "1" }), "lines"),
        ("static/img/x.png", json!({ "section": "a" }), "section"),
        ("static/img/x.png", json!({ "lines": "1" }), "lines"),
    ] {
        let refused = read(&client, path, part).await;
        assert_eq!(
            (refused.code(), &refused.value["error"]["argument"]),
            ("INVALID_ARGUMENT", &json!(argument)),
            "{path}"
        );
        assert!(text(&refused.value["error"]["hint"]).contains("leave it out"), "{}", refused.value);
    }
    assert_eq!(read(&client, "content/z.md", json!({ "outline": true })).await.code(), "NOT_FOUND");
}

async fn parts_exclude_each_other_and_wider_scopes(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "# A\n", json!({})).await;
    for (arguments, argument) in [
        (json!({ "outline": true, "section": "a" }), "section"),
        (json!({ "outline": true, "lines": "1" }), "lines"),
        (json!({ "section": "a", "lines": 1 }), "lines"),
        (json!({ "outline": true, "scope": "chapter" }), "outline"),
        (json!({ "section": "a", "scope": "part" }), "section"),
        (json!({ "lines": "1", "scope": "book" }), "lines"),
    ] {
        let refused = read(&client, LESSON, arguments.clone()).await;
        assert_eq!(
            (refused.code(), &refused.value["error"]["argument"]),
            ("INVALID_ARGUMENT", &json!(argument)),
            "{arguments}"
        );
    }
    for (arguments, content) in [
        (json!({ "outline": false, "section": "", "lines": null }), json!("# A\n")),
        (json!({ "outline": "false", "lines": "1" }), json!("# A\n")),
        (json!({ "outline": "true", "section": "" }), Value::Null),
    ] {
        let answer = read(&client, LESSON, arguments).await.expect_ok();
        assert_eq!(answer["content"], content);
    }
    let folder = read(&client, LESSON, json!({ "outline": false, "scope": "chapter" })).await.expect_ok();
    assert_eq!(folder["files"][0]["content"], "# A\n");
}

async fn a_hostile_page_is_outlined_at_once(on: TestBackend) {
    /// In a debug build, beside other tests.
    const AT_ONCE: Duration = Duration::from_secs(10);
    let (_env, _server, client) = fresh(on).await;
    for (n, piece) in ["#", "#\n", "# a\n", "> ", "- # a\n", "<a>\n", "{/*\n# a\n"].into_iter().enumerate() {
        let path = format!("content/01-Part/01-Chapter/{n:02}-lesson.md");
        let page = piece.repeat(499_000 / piece.len());
        created(&client, &path, &page, json!({})).await;
        let started = Instant::now();
        let answer = read(&client, &path, json!({ "outline": true })).await.expect_ok();
        assert!(answer["headings"].as_array().unwrap().len() <= 1_000);
        assert!(answer.to_string().len() < 1_000_000);
        assert_eq!(read(&client, &path, json!({ "section": "no such section" })).await.code(), "NOT_FOUND");
        assert!(started.elapsed() < AT_ONCE, "{piece:?} took {:?}", started.elapsed());
    }
}
