//! What a token may reach: every tool by scope, every list by book, every overlay by user (R5).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{holder, secured};
use crate::fixtures::{BOOK, LESSON, TOOLS, about, created, entries, sha256, with};
use crate::harness::{Db, Server, TestClient, TestEnv};

/// A book that only some tokens may reach.
const OTHER: &str = "secret-book";

/// Each tool with its least scope and the arguments of a call about a book.
fn tools() -> Vec<(&'static str, &'static str, Value)> {
    let asset = json!({ "asset_type": "img", "filename": "a.png" });
    let edits = json!([{ "old_text": "lesson", "new_text": "page" }]);
    vec![
        ("read_content", "read", json!({ "path": LESSON })),
        ("write_content", "write", json!({ "path": LESSON, "content": "one" })),
        ("edit_content", "write", json!({ "path": LESSON, "edits": edits })),
        ("apply_changes", "write", json!({ "changes": [{ "op": "delete", "path": LESSON }] })),
        ("restore_content", "write", json!({ "path": LESSON, "hash": sha256("the lesson") })),
        ("list_history", "read", json!({ "path": LESSON })),
        ("blame_content", "read", json!({ "path": LESSON })),
        ("delete_content", "write", json!({ "path": LESSON })),
        ("upload_asset", "write", with(asset.clone(), json!({ "binary_data": "AAAA" }))),
        ("complete_upload", "write", json!({ "upload_id": "0193a000-0000-7000-8000-000000000000" })),
        ("get_asset", "read", asset.clone()),
        ("list_assets", "read", json!({})),
        ("delete_asset", "write", asset),
        ("list_books", "read", json!({})),
        ("create_book", "write", json!({})),
        ("glob_search", "read", json!({ "pattern": "**" })),
        ("grep_search", "read", json!({ "pattern": "lesson" })),
        ("plan_build", "read", json!({})),
        ("delta_build", "read", json!({ "since": "2025-01-01T00:00:00Z" })),
        ("get_book_archive", "read", json!({})),
        ("validate_book", "read", json!({})),
        ("query_audit_log", "read", json!({})),
        ("verify_audit_chain", "admin", json!({})),
    ]
}

/// True if a token with this scope has a permission.
fn includes(scope: &str, needed: &str) -> bool {
    let rank = |name: &str| ["none", "read", "write", "admin"].iter().position(|one| *one == name).unwrap();
    rank(scope) >= rank(needed)
}

/// HTTP status, code and challenge of a call.
async fn verdict(client: &TestClient, tool: &str, arguments: &Value) -> (u16, String, String) {
    let params = json!({ "name": tool, "arguments": arguments });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let reply = client.post("/mcp", message.to_string(), &[]).await;
    let challenge = reply.headers.get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    let error = &reply.json()["result"]["structuredContent"]["error"];
    (reply.status, error["code"].as_str().unwrap_or_default().to_owned(), challenge.unwrap_or_default())
}

async fn offered(client: &TestClient) -> BTreeSet<String> {
    let list = client.rpc(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} })).await;
    let tools = list["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

/// Two books, each with a lesson, and an overlay of eve in both.
async fn two_books(server: &Server) {
    let admin = holder(server, "admin", json!({}));
    for book in [BOOK, OTHER] {
        for (content, user) in [("the lesson", json!({})), ("eve's own words", json!({ "user_id": "eve" }))] {
            let write = with(json!({ "book_id": book, "path": LESSON, "content": content }), user);
            admin.call("write_content", write).await.expect_ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_asks_for_its_scope_and_is_offered_to_those_who_have_it() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    two_books(&server).await;
    let tools = tools();
    assert_eq!(tools.len(), TOOLS);
    for scope in ["none", "read", "write", "admin"] {
        let here = if scope == "none" { "openid overlay:any".to_owned() } else { format!("{scope}:{BOOK}") };
        let everywhere = if scope == "none" { here.clone() } else { scope.to_owned() };
        for scopes in [&here, &everywhere] {
            let client = holder(&server, scopes, json!({}));
            let due = tools
                .iter()
                .filter(|(_, needed, _)| includes(scope, needed))
                .map(|(name, ..)| (*name).to_owned());
            assert_eq!(offered(&client).await, due.collect(), "{scopes}");
            for (tool, needed, arguments) in &tools {
                for book in [BOOK, OTHER, "no-such-book"] {
                    let arguments = with(json!({ "book_id": book }), arguments.clone());
                    let is_allowed = includes(scope, needed) && (book == BOOK || scopes == &everywhere);
                    let (status, code, challenge) = verdict(&client, tool, &arguments).await;
                    if is_allowed {
                        assert_ne!((status, code.as_str()), (403, "FORBIDDEN"), "{tool} {scopes} {book}");
                        continue;
                    }
                    assert_eq!((status, code.as_str()), (403, "FORBIDDEN"), "{tool} {scopes} {book}");
                    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
                    assert!(challenge.contains(&format!("scope=\"{needed}")), "{tool}: {challenge}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_lists_searches_resources_and_completions_name_only_books_that_may_be_read() {
    for db in Db::both() {
        let env = secured(db);
        let server = env.start().await;
        two_books(&server).await;
        let client = holder(&server, &format!("write:{BOOK}"), json!({}));
        let all = json!({ "pattern": "**", "all_books": true });
        let rpc = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let complete = json!({ "ref": { "type": "ref/resource", "uri": "book://{book_id}/{+path}" }, "argument": { "name": "book_id", "value": "" } });
        let complete_path = with(
            complete.clone(),
            json!({
            "argument": { "name": "path", "value": "content" }, "context": { "arguments": { "book_id": OTHER } } }),
        );
        for answer in [
            client.call("list_books", json!({ "include_structure": "all" })).await.expect_ok(),
            client.call("glob_search", all.clone()).await.expect_ok(),
            client.call("grep_search", with(all.clone(), json!({ "pattern": "." }))).await.expect_ok(),
            client.rpc(rpc("resources/list", json!({}))).await,
            client.rpc(rpc("completion/complete", complete)).await,
        ] {
            let text = answer.to_string();
            assert!(text.contains(BOOK) && !text.contains(OTHER), "{text}");
        }
        let text = client.rpc(rpc("completion/complete", complete_path)).await.to_string();
        assert!(!text.contains("01-lesson"), "{text}");
        let uri = format!("book://{OTHER}/{LESSON}");
        let reply = client.post("/mcp", rpc("resources/read", json!({ "uri": uri })).to_string(), &[]).await;
        assert_eq!(reply.status, 403);
        assert!(!reply.text().contains("the lesson"), "{}", reply.text());
        // The answer is the same whether there is such a book or not.
        for tool in ["read_content", "plan_build"] {
            let call = async |book: &str| {
                let arguments = json!({ "book_id": book, "path": LESSON });
                let arguments = if tool == "plan_build" { json!({ "book_id": book }) } else { arguments };
                client.call(tool, arguments).await.value.to_string().replace(book, "B")
            };
            assert_eq!(call(OTHER).await, call("no-such-book").await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_an_overlay_is_reached_by_its_user_by_overlay_any_and_by_admin_and_by_nobody_else() {
    for db in Db::both() {
        let env = secured(db);
        let server = env.start().await;
        two_books(&server).await;
        let of_eve = json!({ "user_id": "eve" });
        for (scopes, user, reaches) in [
            ("write", Some("eve"), true),
            ("write overlay:any", None, true),
            ("write overlay:any", Some("bob"), true),
            ("admin", None, true),
            (&*format!("admin:{BOOK}"), Some("bob"), true),
            ("write", None, false),
            ("write", Some("bob"), false),
            (&*format!("write admin:{OTHER}"), None, false),
        ] {
            let user = user.map_or(json!({}), |user| json!({ "user_id": user }));
            let client = holder(&server, scopes, user.clone());
            for (tool, arguments) in [
                ("read_content", about(LESSON, of_eve.clone())),
                ("read_content", with(json!({ "book_id": BOOK, "scope": "book" }), of_eve.clone())),
                ("glob_search", with(json!({ "book_id": BOOK, "pattern": "**" }), of_eve.clone())),
                ("grep_search", with(json!({ "book_id": BOOK, "pattern": "own" }), of_eve.clone())),
                (
                    "delta_build",
                    with(
                        json!({ "book_id": BOOK, "since": "2025-01-01T00:00:00Z", "include_content": true }),
                        of_eve.clone(),
                    ),
                ),
                ("query_audit_log", with(json!({ "book_id": BOOK }), of_eve.clone())),
            ] {
                let answer = client.call(tool, arguments).await;
                assert_eq!(answer.ok, reaches, "{scopes} {user} {tool}: {}", answer.value);
                if !reaches {
                    assert_eq!(answer.code(), "FORBIDDEN");
                    assert!(!answer.value.to_string().contains("own words"));
                }
            }
            let write = about(
                LESSON,
                with(
                    json!({ "content": "mine", "expected_hash": sha256("eve's own words") }),
                    of_eve.clone(),
                ),
            );
            let write = client.call("write_content", write).await;
            assert_eq!(write.ok, reaches, "{scopes} {user}: {}", write.value);
            if reaches {
                let back = json!({ "content": "eve's own words", "expected_hash": sha256("mine") });
                client.call("write_content", about(LESSON, with(back, of_eve.clone()))).await.expect_ok();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_is_tied_to_a_user_reads_the_base_and_changes_none_of_it() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    two_books(&server).await;
    let client = holder(&server, "write", json!({ "user_id": "bob" }));
    assert_eq!(
        client.call("read_content", about(LESSON, json!({}))).await.expect_ok()["content"],
        "the lesson"
    );
    for (tool, arguments) in [
        ("write_content", about(LESSON, json!({ "content": "his", "expected_hash": sha256("the lesson") }))),
        ("delete_content", about(LESSON, json!({}))),
        (
            "upload_asset",
            json!({ "book_id": BOOK, "asset_type": "img", "filename": "a.png", "binary_data": "AAAA" }),
        ),
        ("create_book", json!({ "book_id": "bobs-book" })),
    ] {
        let answer = client.call(tool, arguments).await;
        assert_eq!(answer.code(), "FORBIDDEN", "{tool}: {}", answer.value);
        assert!(answer.value["error"]["hint"].as_str().unwrap().contains("user_id"));
    }
    created(&client, LESSON, "his", json!({ "user_id": "bob" })).await;
    let new = json!({ "book_id": "bobs-book", "path": LESSON, "content": "x", "user_id": "bob" });
    assert_eq!(client.call("write_content", new).await.code(), "BOOK_NOT_FOUND", "nor does it make a book");
    let books = holder(&server, "admin", json!({})).call("list_books", json!({})).await.expect_ok();
    assert_eq!(books["books"].as_array().unwrap().len(), 2, "{books}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_does_not_tell_through_the_log_whether_others_used_its_subject() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    two_books(&server).await;
    let client = holder(&server, &format!("read:{BOOK}"), json!({ "sub": "prober" }));
    let refused = [
        ("read_content", json!({ "path": LESSON }), "FORBIDDEN"),
        ("read_content", json!({ "path": LESSON, "bogus": 1 }), "INVALID_ARGUMENT"),
        ("read_content", json!({ "path": "../x" }), "FORBIDDEN"),
        ("glob_search", json!({ "pattern": "**", "cursor": "forged" }), "INVALID_ARGUMENT"),
    ];
    for book in [OTHER, "no-such-book"] {
        for (tool, arguments, code) in &refused {
            let mut arguments = arguments.clone();
            arguments["book_id"] = json!(book);
            assert_eq!(client.call(tool, arguments).await.code(), *code);
        }
    }
    let of_another = json!({ "book_id": BOOK, "path": LESSON, "user_id": "bob", "bogus": 1 });
    assert_eq!(client.call("read_content", of_another).await.code(), "INVALID_ARGUMENT");
    let own = entries(&client, json!({ "status": "refused" })).await;
    assert_eq!(own.len(), 2 * refused.len() + 1);
    for entry in &own {
        assert_eq!((&entry["book_id"], &entry["path"]), (&json!(""), &json!("")), "{entry}");
    }
    let admin = holder(&server, "admin", json!({}));
    assert_eq!(admin.call("verify_audit_chain", json!({})).await.expect_ok()["valid"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_any_scope_names_the_scope_it_needs() {
    let env = secured(Db::Sqlite);
    let server = env.start().await;
    let client = holder(&server, "openid", json!({}));
    for method in ["resources/list", "completion/complete"] {
        let params = if method == "resources/list" {
            json!({})
        } else {
            json!({ "ref": { "type": "ref/resource", "uri": "book://{book_id}/{+path}" }, "argument": { "name": "book_id", "value": "" } })
        };
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let reply = client.post("/mcp", message.to_string(), &[]).await;
        assert_eq!(reply.status, 403, "{method}");
        assert!(reply.headers["www-authenticate"].to_str().unwrap().contains("scope=\"read\""), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_beyond_its_rate_is_told_when_to_return_and_no_other_agent_is_held_up() {
    let env = secured(Db::Sqlite)
        .with("PANAVERSITY_RATE_LIMIT_PER_SECOND", "1")
        .with("PANAVERSITY_RATE_LIMIT_BURST", "5");
    let server = env.start().await;
    let (greedy, other) = (
        holder(&server, "read", json!({ "sub": "greedy" })),
        holder(&server, "read", json!({ "sub": "other" })),
    );
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    let mut refused = Vec::new();
    for _ in 0..20 {
        let reply = greedy.post("/mcp", list, &[]).await;
        if reply.status != 200 {
            refused.push(reply);
        }
    }
    assert!(refused.len() >= 10, "{}", refused.len());
    for reply in &refused {
        assert_eq!(reply.status, 429);
        assert_eq!(reply.headers["retry-after"], "1");
        assert_eq!(reply.json()["error"]["data"]["code"], "RATE_LIMITED");
    }
    assert_eq!(other.post("/mcp", list, &[]).await.status, 200);
    assert_eq!(server.get("/health").await.status, 200, "probes are not limited");
    let mut guesses = Vec::new();
    for n in 0..8 {
        guesses.push(server.client().with_token(&format!("guess-{n}")).post("/mcp", list, &[]).await.status);
    }
    assert_eq!(guesses, [401, 401, 401, 401, 401, 429, 429, 429], "guesses count by their address");
    let anonymous = TestEnv::new(Db::Sqlite)
        .with("PANAVERSITY_RATE_LIMIT_PER_SECOND", "1")
        .with("PANAVERSITY_RATE_LIMIT_BURST", "2");
    let server = anonymous.start().await;
    let mut statuses = Vec::new();
    for agent in ["one", "two", "three", "four"] {
        statuses.push(server.client().of_agent(agent).post("/mcp", list, &[]).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429], "names that callers claim open no new bucket");
    let forged = [("x-forwarded-for", "203.0.113.7")];
    assert_eq!(server.post("/mcp", list, &forged).await.status, 429, "nor do addresses");
    let behind = anonymous.with("PANAVERSITY_TRUSTED_PROXIES", "127.0.0.0/8");
    let server = behind.start().await;
    let mut statuses = Vec::new();
    for client in ["203.0.113.7", "1.1.1.1, 203.0.113.7", "203.0.113.7", "203.0.113.8"] {
        statuses.push(server.post("/mcp", list, &[("x-forwarded-for", client)]).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 200], "a trusted proxy tells clients apart");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_on_without_reading_is_refused_once_and_its_connection_closed() {
    let env = TestEnv::new(Db::Sqlite)
        .with("PANAVERSITY_RATE_LIMIT_PER_SECOND", "1")
        .with("PANAVERSITY_RATE_LIMIT_BURST", "3");
    let server = env.start().await;
    let address = server.url().strip_prefix("http://").unwrap();
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{list}",
        list.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.repeat(50).as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    // Requests that nobody reads any more may reset the connection; the answers before that arrive.
    while stream.read_buf(&mut answers).await.is_ok_and(|bytes| bytes > 0) {}
    let answers = String::from_utf8_lossy(&answers).to_ascii_lowercase();
    assert!((3..6).contains(&answers.matches("http/1.1 200 ").count()), "{answers}");
    assert_eq!(answers.matches("http/1.1 429 ").count(), 1, "{answers}");
    let refused = answers.split("http/1.1 429 ").nth(1).unwrap();
    assert!(refused.contains("connection: close") && refused.contains("retry-after: 1"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_shows_all_entries_to_admin_and_to_others_their_own() {
    for db in Db::both() {
        let env = secured(db);
        let server = env.start().await;
        two_books(&server).await;
        let other = holder(&server, "write", json!({ "sub": "other-agent" }));
        created(&other, "content/README.md", "hers", json!({})).await;
        let agents = |entries: Vec<Value>| -> BTreeSet<String> {
            entries.iter().map(|entry| entry["agent_id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(agents(entries(&other, json!({})).await), BTreeSet::from(["other-agent".to_owned()]));
        let foreign = entries(&other, json!({ "agent_id": "writer-7" })).await;
        assert_eq!(foreign, Vec::<Value>::new());
        let admin = holder(&server, "admin", json!({}));
        assert_eq!(agents(entries(&admin, json!({})).await).len(), 2);
        let of_book = holder(&server, &format!("admin:{BOOK}"), json!({ "sub": "book-admin" }));
        assert_eq!(agents(entries(&of_book, json!({ "book_id": BOOK })).await).len(), 2);
        assert_eq!(agents(entries(&of_book, json!({})).await), BTreeSet::from(["book-admin".to_owned()]));
        let refused = entries(&admin, json!({ "status": "refused" })).await;
        assert_eq!(refused, Vec::<Value>::new());
        assert_eq!(other.call("verify_audit_chain", json!({})).await.code(), "FORBIDDEN");
        let refused = entries(&admin, json!({ "status": "refused" })).await;
        assert_eq!(refused[0]["error_code"], "FORBIDDEN", "a refusal is recorded");
    }
}
