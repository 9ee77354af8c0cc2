//! `plan_build`: the files that a build must fetch. A manifest hash is the contract's formula, and
//! versions named by a plan stay readable.

use serde_json::{Value, json};

use crate::fixtures::{
    BOOK, LESSON, NO_HASH, created, delete, fresh, manifest_hash, read, sha256, text, write,
};
use crate::harness::TestBackend;

on_both_databases!(
    a_plan_s_manifest_hash_is_the_documented_formula,
    a_plan_names_what_was_added_modified_and_deleted,
    a_plan_to_an_unknown_target_lists_everything_with_a_warning,
    what_a_plan_named_is_read_by_hash_after_it_is_gone,
);

async fn plan(client: &crate::harness::TestClient, target: Option<&str>) -> Value {
    let mut arguments = json!({ "book_id": BOOK });
    if let Some(target) = target {
        arguments["target_manifest_hash"] = target.into();
    }
    client.call("plan_build", arguments).await.expect_ok()
}

async fn a_plan_s_manifest_hash_is_the_documented_formula(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    client.call("create_book", json!({ "book_id": BOOK, "schema": "docusaurus" })).await.expect_ok();
    let empty = plan(&client, None).await;
    let expected = json!({
        "status": "unchanged", "manifest_hash": sha256(""), "files": [], "changed_count": 0, "total_files": 0,
    });
    assert_eq!(empty, expected);
    // Bytewise order is neither that of letters nor that of folders.
    let paths = ["content/b.md", "content/a/z.md", "content/a.md", "content/\u{e9}.md", "content/Z.md"];
    let mut files: Vec<(&str, &[u8])> = Vec::new();
    for path in paths {
        created(&client, path, path, json!({})).await;
        files.push((path, path.as_bytes()));
        assert_eq!(plan(&client, None).await["manifest_hash"], json!(manifest_hash(files.clone())));
    }
    created(&client, "content/c.md", "hers", json!({ "user_id": "eve" })).await;
    assert_eq!(plan(&client, None).await["manifest_hash"], json!(manifest_hash(files.clone())));
    delete(&client, paths[0], json!({})).await.expect_ok();
    assert_eq!(plan(&client, None).await["manifest_hash"], json!(manifest_hash(files.split_off(1))));
}

async fn a_plan_names_what_was_added_modified_and_deleted(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let (changed, gone, new) = (LESSON, "content/README.md", "content/index.md");
    created(&client, changed, "one", json!({})).await;
    created(&client, gone, "readme", json!({})).await;
    created(&client, "content/01-Part/README.md", "stays", json!({})).await;
    let before = text(&plan(&client, None).await["manifest_hash"]);
    let same = plan(&client, Some(&before)).await;
    assert_eq!(
        (&same["status"], &same["files"], &same["changed_count"]),
        (&json!("unchanged"), &json!([]), &json!(0))
    );
    assert_eq!(same["target_manifest_hash"], json!(before));

    write(&client, changed, "three", json!({ "expected_hash": sha256("one") })).await.expect_ok();
    delete(&client, gone, json!({})).await.expect_ok();
    created(&client, new, "", json!({})).await;
    let plan = plan(&client, Some(&before)).await;
    let files = json!([
        { "path": changed, "current_hash": sha256("three"), "target_hash": sha256("one"), "change_type": "modified", "size": 5 },
        { "path": gone, "current_hash": null, "target_hash": sha256("readme"), "change_type": "deleted", "size": 6 },
        { "path": new, "current_hash": sha256(""), "target_hash": null, "change_type": "added", "size": 0 },
    ]);
    assert_eq!(plan["files"], files);
    assert_eq!(
        (&plan["status"], &plan["changed_count"], &plan["total_files"]),
        (&json!("changed"), &json!(3), &json!(3))
    );
    assert_eq!(plan.get("warning"), None);
}

async fn a_plan_to_an_unknown_target_lists_everything_with_a_warning(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "one", json!({})).await;
    created(&client, "content/README.md", "readme", json!({})).await;
    let other = json!({ "book_id": "other-book", "path": LESSON, "content": "other" });
    client.call("write_content", other).await.expect_ok();
    let other = client.call("plan_build", json!({ "book_id": "other-book" })).await.expect_ok();
    for target in [NO_HASH.to_owned(), text(&other["manifest_hash"])] {
        let plan = plan(&client, Some(&target)).await;
        assert_eq!((&plan["status"], &plan["changed_count"]), (&json!("changed"), &json!(2)));
        assert!(plan["warning"].as_str().unwrap().contains("target_manifest_hash"));
        let types: Vec<_> =
            plan["files"].as_array().unwrap().iter().map(|file| &file["change_type"]).collect();
        assert_eq!(types, ["added", "added"]);
    }
}

async fn what_a_plan_named_is_read_by_hash_after_it_is_gone(on: TestBackend) {
    let (_env, server, client) = fresh(on).await;
    let large = "large\n".repeat(30_000);
    created(&client, LESSON, "one", json!({})).await;
    created(&client, "content/README.md", &large, json!({})).await;
    let planned = plan(&client, None).await;
    let files = planned["files"].as_array().unwrap();
    write(&client, LESSON, "two", json!({ "expected_hash": sha256("one") })).await.expect_ok();
    delete(&client, LESSON, json!({})).await.expect_ok();
    delete(&client, "content/README.md", json!({})).await.expect_ok();
    server.all_published().await;
    for (file, content) in files.iter().zip(["one", &large]) {
        let version = json!({ "hash": file["current_hash"] });
        let version = read(&client, &text(&file["path"]), version).await.expect_ok();
        assert_eq!(version["content"], json!(content));
    }
    // And back: the earlier plan is now the target.
    let target = text(&planned["manifest_hash"]);
    let back = plan(&client, Some(&target)).await;
    assert_eq!((&back["changed_count"], &back["total_files"]), (&json!(2), &json!(0)));
}
