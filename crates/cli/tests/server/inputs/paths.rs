//! Every path trick of the contract, through every tool that has a path argument (R1).

use serde_json::json;

use super::Untouched;
use crate::fixtures::{about, entries, read, write};
use crate::harness::Db;

fn unsafe_paths() -> Vec<String> {
    let mut paths: Vec<String> = [
        "",
        "/",
        "/etc/passwd",
        "//etc/passwd",
        "~",
        "~/.ssh/id_rsa",
        "..",
        "../../etc/passwd",
        "content/..",
        "content/../../x.md",
        "content/01-Part/../../../x.md",
        "content/./README.md",
        ".",
        "content//README.md",
        "content/README.md/",
        "content\\..\\README.md",
        "content\\README.md",
        "C:\\x.md",
        "content/%2e%2e/README.md",
        "content/%00.md",
        "content/100%.md",
        "content/a\0.md",
        "content/README.md\0.png",
        "content/a\nb.md",
        "content/a\rb.md",
        "content/a\tb.md",
        "content/a\u{1b}[31m.md",
        "content/a\u{7f}.md",
        "content/a\u{85}b.md",
        "users",
        "users/eve/content/01-Part/01-Chapter/01-lesson.md",
        "content/cafe\u{301}.md",
        "content/\u{212b}.md",
    ]
    .map(str::to_owned)
    .into();
    paths.push(format!("content/{}.md", "x".repeat(245)));
    paths.push(format!("content/{}.md", "\u{e9}".repeat(130)));
    paths.push("content/".to_owned() + &"a/".repeat(100_000) + "x.md");
    paths
}

const UNFIT_PATHS: [&str; 20] = [
    "content",
    "static",
    "README.md",
    "books/ai-python/content/README.md",
    ".panaversity/store-id",
    "content/thesis.md",
    "content/readme.md",
    "content/README.MD",
    "content/01-Part/01-Chapter/01-lesson",
    "content/01-Part/01-Chapter/01-lesson.txt",
    "content/01-Part/01-Chapter/01-lesson.md.exe",
    "content/01-Part/01-Chapter/1-lesson.md",
    "content/01-Part/01-Chapter/01-a b.md",
    "content/01-Part/01-Chapter/01-caf\u{e9}.md",
    "content/01-Part/01-Chapter/01-lesson.md/02-lesson.md",
    "content/01-Part/01-Chapter/01-Section/01-lesson.md",
    "content/\u{661}\u{662}-Part/01-Chapter/01-lesson.md",
    "content/01-Part/01-Chapter/01-a\u{202e}dm.md",
    "Content/README.md",
    "content/users/eve.md",
];

#[tokio::test(flavor = "multi_thread")]
async fn r1_an_unsafe_path_is_refused_by_every_tool() {
    for db in Db::both() {
        let untouched = Untouched::new(db).await;
        for path in unsafe_paths() {
            for layer in [json!({}), json!({ "user_id": "eve" })] {
                for (tool, more) in [
                    ("write_content", json!({ "content": "x" })),
                    ("read_content", json!({})),
                    ("delete_content", json!({})),
                    ("verify_audit_chain", json!({})),
                ] {
                    // An optional path that is empty counts as left out.
                    if path.is_empty() && matches!(tool, "read_content" | "verify_audit_chain") {
                        continue;
                    }
                    let arguments = about(&path, crate::fixtures::with(layer.clone(), more));
                    let answer = untouched.client.call(tool, arguments).await;
                    assert_eq!(answer.code(), "INVALID_PATH", "{tool} {path:?}: {}", answer.value);
                    let error = &answer.value["error"];
                    assert!(error["why"].is_string() && error["hint"].is_string(), "{error}");
                    assert!(error.to_string().len() < 1_000, "a short answer to a long path");
                }
            }
        }
        let refused = json!({ "operation": "WRITE", "status": "refused" });
        let refused = entries(&untouched.client, refused).await;
        assert_eq!(refused.len(), unsafe_paths().len(), "each is recorded");
        assert!(refused.iter().all(|entry| entry["error_code"] == "INVALID_PATH" && entry["path"] == ""));
        untouched.nothing_happened().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_a_path_outside_the_schema_is_neither_written_nor_found() {
    for db in Db::both() {
        let untouched = Untouched::new(db).await;
        for path in UNFIT_PATHS {
            for layer in [json!({}), json!({ "user_id": "eve" })] {
                let answer = write(&untouched.client, path, "x", layer.clone()).await;
                assert_eq!(answer.code(), "SCHEMA_VIOLATION", "{path}: {}", answer.value);
                let absent = read(&untouched.client, path, layer).await;
                assert!(
                    ["NOT_FOUND", "SCHEMA_VIOLATION"].contains(&absent.code()),
                    "{path}: {}",
                    absent.value
                );
            }
        }
        untouched.nothing_happened().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_in_another_case_is_refused_and_changes_nothing() {
    let untouched = Untouched::new(Db::Sqlite).await;
    for twin in [
        "content/01-part/01-Chapter/01-lesson.md",
        "content/01-Part/01-CHAPTER/01-lesson.md",
        "content/01-Part/01-Chapter/01-Lesson.md",
    ] {
        assert_eq!(
            write(&untouched.client, twin, "the lesson", json!({})).await.code(),
            "CONFLICT",
            "{twin}"
        );
        assert_eq!(read(&untouched.client, twin, json!({})).await.code(), "NOT_FOUND", "{twin}");
    }
    untouched.nothing_happened().await;
}
