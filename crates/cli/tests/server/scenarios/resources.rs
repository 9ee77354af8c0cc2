//! Pages as MCP resources, completion of their URIs, and prompts, in both protocol eras. R5:
//! resources are of the base alone.

use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, create_all, created, entries, fresh, text, with};
use crate::harness::{TestBackend, TestClient};
use crate::surface::eras::modern;

on_both_databases!(
    a_page_is_read_by_its_address_and_recorded,
    r5_no_resource_shows_an_overlay,
    resources_are_listed_page_by_page,
    books_and_paths_are_completed,
);

on_one_backend!(what_is_no_page_is_not_found_in_either_era, prompts_say_how_to_write_safely,);

async fn ask(client: &TestClient, method: &str, params: Value) -> Value {
    client.rpc(json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })).await
}

fn address(path: &str) -> String {
    format!("book://{BOOK}/{path}")
}

async fn a_page_is_read_by_its_address_and_recorded(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let reader = client.clone().of_agent("reader-3");
    client.call("create_book", json!({ "book_id": BOOK, "schema": "docusaurus" })).await.expect_ok();
    created(&client, "content/caf\u{e9} 1.md", "# Words\n", json!({})).await;
    let listed = ask(&client, "resources/list", json!({})).await["result"]["resources"][0].clone();
    assert_eq!(listed["uri"], address("content/caf%C3%A9%201.md"));
    assert_eq!(
        (&listed["name"], &listed["mimeType"]),
        (&json!("content/caf\u{e9} 1.md"), &json!("text/markdown"))
    );
    for uri in [text(&listed["uri"]), address("content/caf\u{e9} 1.md")] {
        let read = ask(&reader, "resources/read", json!({ "uri": uri })).await;
        let expected = json!({ "uri": uri, "mimeType": "text/markdown", "text": "# Words\n" });
        assert_eq!(read["result"]["contents"], json!([expected]), "{read}");
    }
    let log = entries(&client, json!({ "agent_id": "reader-3" })).await;
    assert_eq!(log.len(), 2);
    let entry = &log[0];
    assert_eq!(
        [&entry["operation"], &entry["status"], &entry["book_id"], &entry["path"]],
        [&json!("READ"), &json!("success"), &json!(BOOK), &json!("content/caf\u{e9} 1.md")]
    );

    let read = modern(&client, "resources/read", json!({ "uri": listed["uri"] }), &[]).await;
    if read.status == 200 {
        let result = read.json()["result"].clone();
        assert_eq!(result["contents"][0]["text"], "# Words\n");
        assert_eq!((&result["resultType"], &result["ttlMs"]), (&json!("complete"), &json!(0)), "{result}");
    } else {
        panic!("{}", read.text());
    }
    let templates =
        modern(&client, "resources/templates/list", json!({}), &[]).await.json()["result"].clone();
    assert_eq!(templates["resourceTemplates"][0]["uriTemplate"], "book://{book_id}/{+path}");
    assert!(templates["ttlMs"].as_u64().unwrap() > 0 && templates["cacheScope"] == "public", "{templates}");
}

async fn what_is_no_page_is_not_found_in_either_era(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    created(&client, LESSON, "x", json!({})).await;
    for (uri, code) in [
        (address("content/01-Part/01-Chapter/02-lesson.md"), "NOT_FOUND"),
        ("book://no-such-book/content/README.md".to_owned(), "BOOK_NOT_FOUND"),
        (address("content/../x"), "INVALID_PATH"),
        (address("content/%2e%2e/x"), "INVALID_PATH"),
        (address("static/img/a.png"), "NOT_FOUND"),
        ("file:///etc/passwd".to_owned(), "INVALID_ARGUMENT"),
    ] {
        let error = ask(&client, "resources/read", json!({ "uri": uri })).await["error"].clone();
        assert_eq!(
            (&error["code"], &error["data"]["code"]),
            (&json!(-32_002), &json!(code)),
            "{uri}: {error}"
        );
        assert_eq!(error["data"]["uri"], json!(uri));
        assert!(error["data"]["hint"].is_string(), "{error}");
        let error =
            modern(&client, "resources/read", json!({ "uri": uri }), &[]).await.json()["error"].clone();
        assert_eq!(error["code"], -32_602, "{uri}: {error}");
    }
    let refused = entries(&client, json!({ "operation": "READ", "status": "refused" })).await;
    assert_eq!(refused.len(), 12, "misses are recorded too");
    let nobody = client.clone().of_agent("system");
    let error = ask(&nobody, "resources/read", json!({ "uri": address(LESSON) })).await["error"].clone();
    assert_eq!((&error["code"], &error["data"]["argument"]), (&json!(-32_602), &json!("X-Agent-Id")));
}

async fn r5_no_resource_shows_an_overlay(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let hers = "content/01-Part/01-Chapter/02-hidden.md";
    created(&client, LESSON, "the base", json!({})).await;
    created(&client, LESSON, "words of eve", json!({ "user_id": "eve" })).await;
    created(&client, hers, "words of eve", json!({ "user_id": "eve" })).await;
    let place = json!({ "ref": { "type": "ref/resource", "uri": "book://{book_id}/{+path}" },
        "argument": { "name": "path", "value": "content/" }, "context": { "arguments": { "book_id": BOOK } } });
    for answer in [
        ask(&client, "resources/list", json!({})).await,
        ask(&client, "resources/read", json!({ "uri": address(LESSON) })).await,
        ask(&client, "resources/read", json!({ "uri": address("content/01-Part/01-Chapter/02-hiden.md") }))
            .await,
        ask(&client, "resources/read", json!({ "uri": address(&format!("users/eve/{hers}")) })).await["result"]
            .clone(),
        ask(&client, "completion/complete", place).await,
    ] {
        let said = answer.to_string();
        assert!(!said.contains("hidden") && !said.contains("eve"), "{said}");
    }
    assert_eq!(
        ask(&client, "resources/read", json!({ "uri": address(hers) })).await["error"]["code"],
        -32_002
    );
}

async fn resources_are_listed_page_by_page(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let path =
        |n: usize| format!("content/{:02}-Part/{:02}-Chapter/{:02}-lesson.md", n / 400, n / 20 % 20, n % 20);
    let paths: Vec<_> = (0..1_001).map(path).collect();
    create_all(&client, paths.iter().map(|path| (path.clone(), String::new()))).await;
    let first = ask(&client, "resources/list", json!({})).await["result"].clone();
    let second =
        ask(&client, "resources/list", json!({ "cursor": first["nextCursor"] })).await["result"].clone();
    assert_eq!(second.get("nextCursor"), None);
    let all =
        [first["resources"].as_array().unwrap().as_slice(), second["resources"].as_array().unwrap()].concat();
    let listed: Vec<_> = all.iter().map(|resource| text(&resource["uri"])).collect();
    assert_eq!(listed, paths.iter().map(|path| address(path)).collect::<Vec<_>>());
    let bad = ask(&client, "resources/list", json!({ "cursor": "x" })).await;
    assert_eq!(bad["error"]["code"], -32_602);
}

async fn books_and_paths_are_completed(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    for book in ["ai-docs", BOOK, "botany"] {
        client.call("create_book", json!({ "book_id": book })).await.expect_ok();
    }
    for path in [LESSON, "content/01-Part/README.md", "content/README.md"] {
        created(&client, path, "x", json!({})).await;
    }
    let resource = json!({ "type": "ref/resource", "uri": "book://{book_id}/{+path}" });
    let prompt = json!({ "type": "ref/prompt", "name": "edit_lesson" });
    for (name, typed, more, expected) in [
        ("book_id", "ai-", json!({}), vec!["ai-docs", BOOK]),
        ("book_id", "x", json!({}), vec![]),
        (
            "path",
            "content/01",
            json!({ "context": { "arguments": { "book_id": BOOK } } }),
            vec![LESSON, "content/01-Part/README.md"],
        ),
        ("path", "", json!({ "context": { "arguments": { "book_id": "no-such-book" } } }), vec![]),
        ("path", "content/\0", json!({ "context": { "arguments": { "book_id": BOOK } } }), vec![]),
        ("path", "", json!({}), vec![]),
        ("task", "", json!({}), vec![]),
    ] {
        for reference in [&resource, &prompt] {
            let params =
                with(json!({ "ref": reference, "argument": { "name": name, "value": typed } }), more.clone());
            let answer = ask(&client, "completion/complete", params).await;
            assert_eq!(answer["result"]["completion"]["values"], json!(expected), "{name} {typed}: {answer}");
        }
    }
    for n in 0..101 {
        client.call("create_book", json!({ "book_id": format!("many-{n:03}") })).await.expect_ok();
    }
    let params = json!({ "ref": resource, "argument": { "name": "book_id", "value": "many-" } });
    let many = ask(&client, "completion/complete", params).await["result"]["completion"].clone();
    assert_eq!((many["values"].as_array().unwrap().len(), &many["hasMore"]), (100, &json!(true)));
}

async fn prompts_say_how_to_write_safely(on: TestBackend) {
    let (_env, _server, client) = fresh(on).await;
    let listed = ask(&client, "prompts/list", json!({})).await["result"]["prompts"].clone();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|prompt| text(&prompt["name"])).collect();
    assert_eq!(names, ["edit_lesson", "summarise_chapter"]);
    for name in names {
        let arguments = json!({ "book_id": BOOK, "path": LESSON });
        let params = json!({ "name": name, "arguments": arguments });
        let legacy = ask(&client, "prompts/get", params.clone()).await["result"]["messages"].clone();
        let message = text(&legacy[0]["content"]["text"]);
        for said in [BOOK, LESSON, "expected_hash", "CONFLICT", "HASH_REQUIRED"] {
            assert!(message.contains(said), "{name}: {said}");
        }
        let answer = modern(&client, "prompts/get", params, &[]).await.json();
        assert_eq!(answer["result"]["messages"], legacy, "{answer}");
        let bad = json!({ "name": name, "arguments": { "book_id": BOOK, "path": "../x" } });
        assert_eq!(ask(&client, "prompts/get", bad).await["error"]["data"]["code"], "INVALID_PATH");
    }
    let error = ask(&client, "prompts/get", json!({ "name": "edit_leson" })).await["error"].clone();
    assert!(text(&error["message"]).contains("did you mean `edit_lesson`"), "{error}");
}
