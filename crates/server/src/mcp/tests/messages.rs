//! Messages that can't be read, over HTTP and over lines: the error has their own id, and a call is
//! passed on to be refused where possible.

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Client, LESSON, MODERN, app};
use crate::mcp::serve_lines;
use panaversity_testkit::Faults;

const HELLO: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"my-editor","version":"1"}}}"#;

fn call(id: u32, tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    )
}

/// Sends the input, closes the connection, and returns the answers in order of their ids; those without
/// one are last.
async fn answers_to(input: &[u8]) -> Vec<Value> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (from, to) = tokio::io::split(theirs);
    let served = tokio::spawn(serve_lines(app(&Faults::new()), from, to));
    let (mut from, mut to) = tokio::io::split(ours);
    let mut said = Vec::new();
    let (written, read) = tokio::join!(
        async {
            to.write_all(input).await?;
            to.shutdown().await
        },
        from.read_to_end(&mut said)
    );
    written.unwrap();
    read.unwrap();
    served.await.unwrap().unwrap();
    let lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut answers: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    answers.sort_by_key(|answer| answer["id"].as_u64().unwrap_or(u64::MAX));
    answers
}

async fn answers_after_hello(lines: &[&[u8]]) -> Vec<Value> {
    let input = [&[HELLO.as_bytes()], lines].concat().join(b"\n".as_slice());
    answers_to(&input).await.split_off(1)
}

#[tokio::test]
async fn half_a_surrogate_pair_is_refused_by_argument_recorded_and_nothing_is_written() {
    let client = Client::new().await;
    let arguments = format!(r#"{{"book_id":"ai-python","path":"{LESSON}","content":"cut \ud83d"}}"#);
    let write = call(7, "write_content", &arguments);
    let reply = client.post("\r\nX-Agent-Id: cutter", &write).await;
    assert_eq!((reply.status, &reply.body["id"]), (200, &json!(7)));
    let error = reply.body["result"]["structuredContent"]["error"].clone();
    assert_eq!((&error["code"], &error["argument"]), (&json!("INVALID_ARGUMENT"), &json!("content")));
    assert_eq!(reply.body["result"]["isError"], true);
    let entry = client.call("query_audit_log", json!({ "agent_id": "cutter" })).await["entries"][0].clone();
    assert_eq!((&entry["operation"], &entry["status"]), (&json!("WRITE"), &json!("refused")));
    assert_eq!((&entry["book_id"], &entry["path"]), (&json!("ai-python"), &json!(LESSON)));
    let read = client.refused("read_content", json!({ "book_id": "ai-python", "path": LESSON })).await;
    assert_eq!(read.0, "BOOK_NOT_FOUND");
    let over_lines = answers_after_hello(&[write.as_bytes()]).await;
    assert_eq!(over_lines[0]["result"]["structuredContent"]["error"], error);
    let large = write.replace("cut ", &"x".repeat(300_000));
    let reply = client.post("", large).await;
    assert_eq!(reply.body["result"]["structuredContent"]["error"], error, "a large body too");
}

#[tokio::test]
async fn a_bad_byte_is_refused_where_it_stands_and_never_lands_in_the_log() {
    let client = Client::new().await;
    for (argument, bad) in [
        ("book_id", br#"{"book_id":"ai-pyth@n","path":"content/README.md"}"#.as_slice()),
        ("path", br#"{"book_id":"ai-python","path":"content/READ@ME.md"}"#),
        ("user_id", br#"{"book_id":"ai-python","path":"content/README.md","user_id":"e@e"}"#),
        ("path", br#"{"params":{"book_id":"ai-python","path":"content/@"}}"#),
        ("arguments", br#"{"book_id":"ai-python","p@th":"content/README.md"}"#),
    ] {
        let bad: Vec<u8> = bad.iter().map(|byte| if *byte == b'@' { 0xe9 } else { *byte }).collect();
        let empty = call(3, "read_content", "");
        let (head, tail) = empty.split_at(empty.len() - 2);
        let text = [head.as_bytes(), &bad, tail.as_bytes()].concat();
        let reply = client.post("", &text).await;
        let error = &reply.body["result"]["structuredContent"]["error"];
        assert_eq!((&error["code"], &error["argument"]), (&json!("INVALID_ARGUMENT"), &json!(argument)));
        let lines = answers_after_hello(&[&text]).await;
        assert_eq!(&lines[0]["result"]["structuredContent"]["error"], error);
    }
    let log = client.call("query_audit_log", json!({})).await;
    assert!(!log.to_string().contains(['?', '\u{fffd}']), "a repaired value is not what was sent: {log}");
}

#[tokio::test]
async fn what_is_no_message_is_answered_alike_over_http_and_lines() {
    let client = Client::new().await;
    for (text, code, id) in [
        (r#"{"jsonrpc":"2.0","id":5,"method":"tools/list","params":{"#, -32700, json!(5)),
        (r#"{"jsonrpc":"2.0","id":5,"method":"tools/list"} trailing"#, -32700, json!(5)),
        (r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"limit":NaN}}"#, -32700, json!(5)),
        (r#"{"jsonrpc":"2.0","id":"a","method":"x","params":{"n":1e999}}"#, -32700, json!("a")),
        ("not json", -32700, json!(null)),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#, -32600, json!(null)),
        (r#"{"jsonrpc":"2.0","id":5}"#, -32600, json!(5)),
        (r#"{"jsonrpc":"1.0","id":5,"method":"tools/list"}"#, -32600, json!(5)),
        (r#"{"jsonrpc":"2.0","id":[5],"method":"tools/list"}"#, -32600, json!(null)),
        (r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":"x"}"#, -32602, json!(5)),
        (r#"{"jsonrpc":"2.0","id":5,"method":"tools/list","params":{"cursor":"\udead"}}"#, -32602, json!(5)),
    ] {
        let reply = client.post("", text).await;
        let error = reply.body["error"].clone();
        assert_eq!((reply.status, &error["code"]), (400, &json!(code)), "{text}: {}", reply.body);
        assert_eq!(reply.body["id"], id, "{text}");
        assert!(error["message"].as_str().unwrap().len() > 10, "{error}");
        let over_lines = answers_after_hello(&[text.as_bytes()]).await;
        assert_eq!((&over_lines[0]["id"], &over_lines[0]["error"]), (&id, &error), "{text}");
        if text.ends_with("}}") {
            let large =
                text.replace("\"params\":", &format!("\"x\":\"{}\",\"params\":", "x".repeat(100_000)));
            let reply = client.post("", large).await;
            assert_eq!((&reply.body["id"], &reply.body["error"]["code"]), (&id, &json!(code)), "{text}");
        }
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_a_message() {
    let client = Client::new().await;
    let list = format!("\u{feff}{}", call(4, "list_books", "{}"));
    assert_eq!(client.post("", &list).await.body["result"]["isError"], false);
    let answers = answers_to(format!("\u{feff}{HELLO}\r\n{list}\r\n").as_bytes()).await;
    assert_eq!(answers.iter().map(|answer| &answer["id"]).collect::<Vec<_>>(), [&json!(0), &json!(4)]);
}

#[tokio::test]
async fn lines_that_nobody_waits_for_get_no_answer_and_end_nothing() {
    let last = call(9, "list_books", "{}");
    let answers = answers_after_hello(&[
        b"",
        b"  \r",
        br#"{"jsonrpc":"2.0","method":"notifications/initialized","params":7}"#,
        br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"#,
        br#"{"jsonrpc":"2.0","id":1,"result":{"a":NaN}}"#,
        br#"{"jsonrpc":"2.0","id":1,"error":"none"}"#,
        b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":{\"a\":\"\xe9\"}}",
        // It ends without a newline.
        last.as_bytes(),
    ])
    .await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0]["result"]["structuredContent"], json!({ "books": [] }));
}

#[tokio::test]
async fn a_session_may_end_or_stumble_before_it_begins() {
    assert_eq!(answers_to(b"").await, Vec::<Value>::new());
    assert_eq!(answers_to(b"\n\n").await, Vec::<Value>::new());
    let stumbling = [
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        "nonsense",
        r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":4,"method":"initialize","params":{"protocolVersion":7}}"#,
        r#"{"jsonrpc":"2.0","id":5,"method":"initialise"}"#,
        HELLO,
        r#"{"jsonrpc":"2.0","id":6,"method":"tools/list"}"#,
    ];
    let answers = answers_to(stumbling.join("\n").as_bytes()).await;
    let said = |at: usize| answers[at]["error"]["message"].as_str().unwrap_or_default().to_owned();
    let ids: Vec<_> = answers.iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(json!(ids), json!([0, 2, 3, 4, 5, 6, null]));
    assert!(said(2).contains("begin with `initialize`"), "{}", said(2));
    assert!(said(3).contains("params.protocolVersion"), "{}", said(3));
    assert!(said(4).contains("did you mean `initialize`?"), "{}", said(4));
    assert!(answers[5]["result"]["tools"].is_array());
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused_under_its_id_and_the_next_is_read() {
    let long = call(5, "write_content", &format!(r#"{{"content":"{}"}}"#, "x".repeat(16 << 20)));
    let next = call(6, "list_books", "{}");
    let answers = answers_after_hello(&[long.as_bytes(), next.as_bytes()]).await;
    assert_eq!((&answers[0]["id"], &answers[0]["error"]["data"]["code"]), (&json!(5), &json!("TOO_LARGE")));
    assert_eq!(answers[1]["result"]["isError"], false);
}

#[tokio::test]
async fn refusals_of_the_transport_say_what_is_supported_under_the_request_s_id() {
    let client = Client::new().await;
    let list = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{}}"#;
    let versions = json!(["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", MODERN]);
    for version in ["2099-01-01", "1", "caf\u{e9}"] {
        let reply = client.post(&format!("\r\nMCP-Protocol-Version: {version}"), list).await;
        let error = &reply.body["error"];
        assert_eq!((reply.status, &error["code"], &reply.body["id"]), (400, &json!(-32022), &json!(7)));
        assert_eq!((&error["data"]["supported"], &error["data"]["requested"]), (&versions, &json!(version)));
        assert!(error["message"].as_str().unwrap().contains(MODERN), "{error}");
    }
    let reply = client.post("\r\nAccept: text/html", list).await;
    assert_eq!((reply.status, &reply.body["id"]), (406, &json!(7)));
    assert!(reply.body["error"]["message"].as_str().unwrap().contains("text/event-stream"));
    let reply = client.send("POST /mcp HTTP/1.1\r\nContent-Type: text/plain", list.as_bytes()).await;
    assert_eq!((reply.status, &reply.body["id"]), (415, &json!(7)));
    let long = list.replace("{}", &format!("{{\"x\":\"{}\"}}", "x".repeat(16 << 20)));
    let reply = client.post("", long).await;
    assert_eq!((reply.status, &reply.body["id"]), (413, &json!(7)));
    for (method, says) in [
        ("tools/lst", "did you mean `tools/list`?"),
        ("logging/setLevel", "There is no method `logging/setLevel`"),
        ("tasks/get", "There is no method `tasks/get`"),
        ("resources/subscribe", "There is no method `resources/subscribe`"),
    ] {
        let params = json!({ "level": "info", "taskId": "x", "uri": "book://x" });
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let reply = client.post("", message.to_string()).await;
        let error = &reply.body["error"];
        assert_eq!((&error["code"], &reply.body["id"]), (&json!(-32601), &json!(7)), "{error}");
        assert!(error["message"].as_str().unwrap().starts_with("There is no method"), "{error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert!(error["data"]["methods"].as_array().unwrap().contains(&json!("tools/call")), "{error}");
    }
}

#[tokio::test]
async fn nulls_and_empty_texts_count_as_left_out_in_lists_and_completions_too() {
    let client = Client::new().await;
    client.write(LESSON, "x").await;
    let ask = async |method: &str, params: Value| {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        client.post("", message.to_string()).await.body["result"].clone()
    };
    for cursor in [Value::Null, "".into()] {
        let listed = ask("resources/list", json!({ "cursor": cursor })).await;
        assert_eq!(listed["resources"].as_array().unwrap().len(), 1, "{listed}");
        let argument = json!({ "name": "book_id", "value": "" });
        let asked = json!({ "ref": { "type": "ref/prompt", "name": "edit_lesson" }, "argument": argument, "context": { "arguments": { "book_id": cursor } } });
        let completed = ask("completion/complete", asked).await;
        assert_eq!(completed["completion"]["values"], json!(["ai-python"]), "{completed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever a line contains, the lines after it are read.
    #[test]
    fn no_line_ends_a_session(noise in proptest::collection::vec(any::<u8>(), 0..60), cut in 0..90_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let good = call(8, "list_books", "{}");
        let half = &good.as_bytes()[..cut.min(good.len() - 1)];
        let noisy = [half, &noise].concat();
        let last = call(9, "list_books", "{}");
        let answers = runtime.block_on(answers_after_hello(&[&noisy, last.as_bytes()]));
        prop_assert!(answers.iter().any(|answer| answer["id"] == 9 && answer["result"]["isError"] == false));
    }
}
