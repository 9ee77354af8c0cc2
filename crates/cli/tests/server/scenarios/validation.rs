//! `validate_book` and the command `validate`: a book with one of each fault has exactly these issues, in
//! the same words by both, and a book without a fault has none.

use std::fs;
use std::path::Path;

use panaversity_testkit::postgres;
use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, created, entries, fresh, manifest, with, write};
use crate::harness::{Db, Storage, TestBackend, TestClient, TestEnv};

on_every_backend! {
    each_fault_of_a_book_is_told_once_by_the_tool_and_by_the_command,
    a_book_of_good_links_is_valid_and_validating_changes_nothing,
    a_file_whose_bytes_are_lost_is_an_error,
}

/// Puts a file into the storage, or removes it, without the service.
fn meddle(env: &TestEnv, on: TestBackend, key: &str, bytes: Option<&[u8]>) {
    match (on.storage, bytes) {
        (Storage::S3, Some(bytes)) => env.bucket().put(key, bytes),
        (Storage::S3, None) => env.bucket().remove(key),
        (Storage::Fs, _) => {
            let file = env.storage_root().join(key);
            match bytes {
                Some(bytes) => {
                    fs::create_dir_all(file.parent().unwrap_or(Path::new(""))).unwrap();
                    fs::write(file, bytes).unwrap();
                }
                None => fs::remove_file(file).unwrap(),
            }
        }
    }
}

async fn validate(client: &TestClient, more: Value) -> Value {
    client.call("validate_book", with(json!({ "book_id": BOOK }), more)).await.expect_ok()
}

/// The issues of a body, as `severity path: message => suggestion`.
fn told(body: &Value) -> Vec<String> {
    let issues = ["errors", "warnings"].into_iter().flat_map(|list| body[list].as_array().unwrap());
    let text = |issue: &Value, name: &str| issue[name].as_str().unwrap().to_owned();
    issues
        .map(|issue| {
            let [severity, path, message, next] =
                ["severity", "path", "message", "suggestion"].map(|name| text(issue, name));
            format!("{severity} {path}: {message} => {next}")
        })
        .collect()
}

/// Runs the command; returns the exit code and what it printed.
fn command(env: &TestEnv, arguments: &[&str]) -> (Option<i32>, String) {
    let output = env.command().arg("validate").args(arguments).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let told = if said.is_empty() { String::from_utf8(output.stderr).unwrap() } else { said };
    (output.status.code(), told)
}

async fn docusaurus(client: &TestClient) {
    let book = json!({ "book_id": BOOK, "schema": "docusaurus" });
    client.call("create_book", book).await.expect_ok();
}

async fn each_fault_of_a_book_is_told_once_by_the_tool_and_by_the_command(on: TestBackend) {
    let (env, server, client) = fresh(on).await;
    docusaurus(&client).await;
    let files = [
        (
            "content/01-a/links.md",
            "[gone](./gone.md)\n\n![case](./Pic.svg)\n\n![site](/img/x.png)\n\n[route](./nowhere)\n",
        ),
        ("content/01-a/pic.svg", "<svg/>"),
        ("content/01-a/front.md", "---\ntitle: a: b\n---\n"),
        ("content/01-a/type.md", "---\nsidebar_position: first\n---\n"),
        ("content/02-b/01-same.md", "one"),
        ("content/02-b/02-same.md", "two"),
        ("content/aux.md", "A device."),
        ("content/changed.md", "as written"),
        ("content/missing.md", "as written"),
    ];
    for (path, content) in files {
        created(&client, path, content, json!({})).await;
    }
    // An overlay is not looked at.
    created(&client, "content/eve.md", "[x](./hers-alone.md)", json!({ "user_id": "eve" })).await;
    server.all_published().await;
    let book = format!("books/{BOOK}");
    meddle(&env, on, &format!("{book}/content/changed.md"), Some(b"changed by hand"));
    meddle(&env, on, &format!("{book}/content/missing.md"), None);
    meddle(&env, on, &format!("{book}/static/foreign.txt"), Some(b"foreign"));
    meddle(&env, on, &format!("{book}/users/bob/content/his.md"), Some(b"foreign, but in an overlay"));

    let body = validate(&client, json!({})).await;
    let expected = [
        "error content/01-a/front.md: line 2: the front matter is no YAML: mapping values are not allowed in this \
         context => put a value that contains `: `, `#` or quotes between double quotes",
        "error content/01-a/links.md: line 1: the link `./gone.md` leads to no file: there is no \
         `content/01-a/gone.md` => create `content/01-a/gone.md`, or correct the link",
        "error content/01-a/links.md: line 3: the image `./Pic.svg` leads to no file: there is no \
         `content/01-a/Pic.svg` => write `./pic.svg`: upper and lower case matter",
        "error content/01-a/type.md: line 2: `sidebar_position` must be a number, but is text \
         => write `sidebar_position: 2`",
        "error content/02-b/02-same.md: its id `b/same` is also that of `content/02-b/01-same.md`: Docusaurus refuses \
         both => give one of them another `id` in its front matter, or another name",
        "error content/changed.md: the published copy of the file is not what the book holds \
         => reconcile --adopt takes it in as a new version, --repair puts the old one back",
        "error content/missing.md: the published copy of the file is missing \
         => reconcile --repair publishes it again; to delete it, use delete_content",
        "warning content/01-a/links.md: line 5: the image `/img/x.png` leads to no file: there is no \
         `static/img/x.png` => upload it with upload_asset, or correct the path; files that only the site has need \
         none",
        "warning content/01-a/links.md: line 7: the link `./nowhere` leads to no page of the book \
         => link to the file of a page, such as `./02-next.md`",
        "warning content/aux.md: `aux.md` is the name of a device on Windows, where it can't be unpacked => rename it",
        "warning static/foreign.txt: it lies in the published copy but is no file of the book: agents do not see it \
         => reconcile --adopt takes it in, --repair moves it to lost+found",
    ];
    assert_eq!(told(&body), expected);
    let summary = json!({ "total_files": 9, "content_files": 9, "asset_files": 0, "error_count": 7, "warning_count": 4 });
    assert_eq!((&body["valid"], &body["summary"]), (&json!(false), &summary));
    let errors_alone = validate(&client, json!({ "include_warnings": false })).await;
    assert_eq!(told(&errors_alone), expected[..7]);
    assert_eq!(errors_alone["summary"], summary);

    let (code, said) = command(&env, &["--book-id", BOOK, "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["valid"], said["books"].as_array().unwrap().len()), (Some(1), &json!(false), 1));
    assert_eq!(said["books"][0], with(body, json!({ "book_id": BOOK })));
    let (code, said) = command(&env, &[]);
    let lines = expected.map(|line| format!("  {}", line.replace(" => ", "\n      ")));
    let first = format!("{BOOK}: not valid: 9 files (9 content, 0 assets), 7 errors, 4 warnings");
    assert_eq!((code, said), (Some(1), format!("{first}\n{}\n", lines.join("\n"))));
}

async fn a_book_of_good_links_is_valid_and_validating_changes_nothing(on: TestBackend) {
    let (env, server, client) = fresh(on).await;
    let second = LESSON.replace("01-lesson", "02-next");
    created(&client, LESSON, "---\ntitle: One\n---\n[next](./02-next.md) ![x](/img/x.png)\n", json!({}))
        .await;
    created(&client, &second, "[back](01-lesson.md#one)\n", json!({})).await;
    let image = json!({ "book_id": BOOK, "asset_type": "img", "filename": "x.png", "binary_data": "AAAA" });
    client.call("upload_asset", image).await.expect_ok();
    server.all_published().await;
    let (before, stored) = (manifest(&client).await, env.everything());
    let body = validate(&client, json!({ "strict": true })).await;
    assert_eq!((&body["valid"], told(&body)), (&json!(true), Vec::new()), "{body}");
    assert_eq!(body["summary"]["asset_files"], 1);
    let (code, said) = command(&env, &["--strict", "--book-id", BOOK]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "ai-python: valid: 3 files (2 content, 1 assets), 0 errors, 0 warnings\n")
    );
    assert_eq!((manifest(&client).await, env.everything()), (before, stored));
    let log = entries(&client, json!({ "operation": "VALIDATE" })).await;
    assert_eq!((log.len(), &log[0]["path"], &log[0]["book_id"]), (1, &json!(""), &json!(BOOK)));

    // A warning is an error only if that was asked for.
    write(&client, "content/README.md", "[x](./nowhere)", json!({})).await.expect_ok();
    for (strict, valid) in [(false, true), (true, false)] {
        assert_eq!(validate(&client, json!({ "strict": strict })).await["valid"], valid);
    }
    assert_eq!(command(&env, &[]).0, Some(0));
    assert_eq!(command(&env, &["--strict"]).0, Some(1));
    let (code, said) = command(&env, &["--book-id", "no-such-book"]);
    assert!(code == Some(1) && said.contains("there is no book no-such-book"), "{said}");
    assert_eq!(command(&env, &["--book-id", "No Book"]).0, Some(2));
    let unknown = client.call("validate_book", json!({ "book_id": "no-such-book" })).await;
    assert_eq!(unknown.code(), "BOOK_NOT_FOUND");
}

async fn a_file_whose_bytes_are_lost_is_an_error(on: TestBackend) {
    let (env, server, client) = fresh(on).await;
    let hash = created(&client, LESSON, &"large\n".repeat(30_000), json!({})).await;
    server.all_published().await;
    meddle(&env, on, &format!(".panaversity/objects/{}/{hash}", &hash[..2]), None);
    for _ in 0..2 {
        let body = validate(&client, json!({})).await;
        let told = told(&body);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with(&format!("error {LESSON}: the bytes of the file are missing")),
            "{told:?}"
        );
        assert!(told[0].contains("reconcile --repair"), "{told:?}");
    }
    let (code, said) = command(&env, &[]);
    assert!(code == Some(1) && said.contains("the bytes of the file are missing"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_the_schema_refuses_is_an_error_with_the_one_that_it_admits() {
    let (env, _server, client) = fresh(Db::Postgres).await;
    docusaurus(&client).await;
    created(&client, "content/thesis.md", "A thesis.", json!({})).await;
    let sql = format!("UPDATE books SET schema = 'strict' WHERE book_id = '{BOOK}'");
    postgres::shared().query(env.database_url(), &sql);
    let issues = told(&validate(&client, json!({})).await);
    assert_eq!(issues.len(), 1, "{issues:?}");
    let (start, end) =
        ("error content/thesis.md: Path must match", "move it to `content/01-Part/01-Chapter/01-thesis.md`");
    assert!(issues[0].starts_with(start) && issues[0].ends_with(end), "{issues:?}");
}
