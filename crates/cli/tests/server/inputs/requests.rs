//! Requests that are no calls: broken JSON, huge and deep bodies, wrong headers, methods and hosts.
//! The answer is a JSON-RPC error, and the server keeps serving.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::Untouched;
use crate::fixtures::{BOOK, LESSON, fresh, write};
use crate::harness::{Db, Reply, TEST_TIMEOUT};

/// A write that would succeed.
fn a_write(content: &str) -> String {
    let arguments = json!({ "book_id": BOOK, "path": "content/README.md", "content": content });
    let params = json!({ "name": "write_content", "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string()
}

/// The error of an answer that is a JSON-RPC error, with its HTTP status.
#[track_caller]
fn rpc_error(reply: &Reply) -> (u16, Value) {
    let answer = reply.json();
    assert_eq!((&answer["jsonrpc"], &answer["result"]), (&json!("2.0"), &Value::Null), "{answer}");
    assert!(answer["error"]["code"].is_i64() && answer["error"]["message"].is_string(), "{answer}");
    (reply.status, answer["error"]["data"]["code"].clone())
}

/// Sends bytes as they are and returns the whole answer.
fn raw(url: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A server that closes the connection on nonsense has answered too.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_message_is_refused() {
    let untouched = Untouched::new(Db::Sqlite).await;
    let mut invalid = a_write("\u{e9}").into_bytes();
    let at = invalid.iter().position(|byte| *byte == 0xc3).unwrap();
    invalid[at] = 0xff;
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "{",
        "null",
        "7",
        "\"tools/list\"",
        "[]",
        "{}",
        "{\"hello\":1}",
        "{'jsonrpc':'2.0'}",
        "\u{feff}{}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"} trailing",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\\ud800\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"list_books\",\"arguments\":{\"limit\":1e999}}}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    bodies.push(a_write("x").into_bytes()[..80].to_vec());
    bodies.push(format!("[{}]", a_write("x")).into_bytes());
    bodies.push(a_write("x").replace("2.0", "1.0").into_bytes());
    for levels in [200, 10_000, 500_000] {
        bodies.push(("[".repeat(levels) + &"]".repeat(levels)).into_bytes());
        bodies.push(a_write("x").replace("\"x\"", &("[".repeat(levels) + &"]".repeat(levels))).into_bytes());
        bodies.push("{\"a\":".repeat(levels).into_bytes());
    }
    for body in bodies {
        let shown = String::from_utf8_lossy(&body).chars().take(120).collect::<String>();
        let reply = untouched.client.post("/mcp", body, &[]).await;
        assert_eq!(rpc_error(&reply), (400, json!("INVALID_ARGUMENT")), "{shown}: {}", reply.text());
        assert!(reply.text().len() < 1_000);
    }
    // The call can be identified, so it is refused as one.
    let answer = untouched.client.post("/mcp", invalid, &[]).await.json();
    assert_eq!(answer["result"]["structuredContent"]["error"]["argument"], "content", "{answer}");
    untouched.nothing_happened().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_body_is_refused_as_too_large() {
    let untouched = Untouched::new(Db::Sqlite).await;
    for size in [16 << 20, 30 << 20] {
        let reply = untouched.client.post("/mcp", a_write(&"x".repeat(size)), &[]).await;
        assert_eq!(rpc_error(&reply), (413, json!("TOO_LARGE")));
    }
    // Announced only.
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let answer = raw(untouched.server.url(), format!("{head}Content-Length: 99999999999\r\n\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("TOO_LARGE"), "{answer}");
    untouched.nothing_happened().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_http_gets_a_client_s_error() {
    let untouched = Untouched::new(Db::Sqlite).await;
    let json = "Content-Type: application/json\r\n";
    for request in [
        "nonsense\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\n{json}Content-Length: -1\r\n\r\n"),
        format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\n{json}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        format!("POST /mcp HTTP/1.1\r\n{json}Content-Length: 2\r\n\r\n{{}}"),
        format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n{json}Content-Length: 2\r\n\r\n{{}}"
        ),
        format!(
            "POST http://evil.example/mcp HTTP/1.1\r\nHost: localhost\r\n{json}Content-Length: 2\r\n\r\n{{}}"
        ),
    ] {
        let answer = raw(
            untouched.server.url(),
            request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{request}: {answer}");
    }
    // Half a body, and then the client is gone.
    let half = format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\n{json}Content-Length: 500\r\n\r\n{{");
    drop(
        TcpStream::connect(untouched.server.url().trim_start_matches("http://"))
            .unwrap()
            .write_all(half.as_bytes()),
    );
    untouched.nothing_happened().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_content_type_method_or_accept_is_refused() {
    let untouched = Untouched::new(Db::Sqlite).await;
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx", ""]
    {
        let reply = untouched.client.post("/mcp", a_write("x"), &[("Content-Type", kind)]).await;
        assert_eq!(rpc_error(&reply), (415, json!("INVALID_ARGUMENT")), "{kind}");
    }
    let reply = untouched.client.post("/mcp", a_write("x"), &[("Accept", "text/html")]).await;
    assert_eq!(rpc_error(&reply), (406, json!("INVALID_ARGUMENT")));
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        let request = format!(
            "{method} /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: application/json, text/event-stream\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        );
        let answer = raw(untouched.server.url(), request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 405"), "{method}: {answer}");
    }
    let nowhere = untouched.client.get("/../../etc/passwd").await;
    assert_eq!((nowhere.status, &nowhere.json()["error"]["code"]), (404, &json!("NOT_FOUND")));
    assert_eq!(untouched.client.post("/metrics", "{}", &[]).await.status, 405);
    untouched.nothing_happened().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_host_or_origin_is_forbidden() {
    let untouched = Untouched::new(Db::Sqlite).await;
    for (name, value) in [
        ("Host", "evil.example"),
        ("Host", "localhost.evil.example:8000"),
        ("Host", "0.0.0.0"),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", "file://"),
    ] {
        let reply = untouched.client.post("/mcp", a_write("x"), &[(name, value)]).await;
        assert_eq!(rpc_error(&reply), (403, json!("FORBIDDEN")), "{name}: {value}");
    }
    for (name, value) in [("Host", "localhost"), ("Host", "[::1]:9"), ("Origin", "http://localhost:3000")] {
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
        assert_eq!(
            untouched.client.post("/mcp", list, &[(name, value)]).await.status,
            200,
            "{name}: {value}"
        );
    }
    untouched.nothing_happened().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_tool_or_method_is_refused_with_what_is_near() {
    let untouched = Untouched::new(Db::Sqlite).await;
    for (name, near) in [("write_contents", Some("write_content")), ("rm_rf", None), ("", None), ("\0", None)]
    {
        let params = json!({ "name": name, "arguments": { "book_id": BOOK } });
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let error = untouched.server.rpc(message).await["error"].clone();
        assert_eq!(
            (&error["code"], &error["data"]["code"]),
            (&json!(-32602), &json!("INVALID_ARGUMENT")),
            "{name}"
        );
        assert_eq!(error["data"]["suggestion"], json!(near), "{error}");
    }
    for method in
        ["tools/cal", "resources/lists", "", "prompts/delete", "sampling/createMessage", "rpc.discover"]
    {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": {} });
        let error = untouched.client.rpc(message).await["error"].clone();
        assert_eq!(error["code"], json!(-32601), "{method}: {error}");
    }
    for params in
        [json!(null), json!({}), json!([]), json!("x"), json!({ "name": 5 }), json!({ "name": null })]
    {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let reply = untouched.client.post("/mcp", message.to_string(), &[]).await;
        assert!(reply.status < 500 && reply.json()["error"]["code"].is_i64(), "{params}: {}", reply.text());
    }
    untouched.nothing_happened().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_given_twice_does_not_store_half_of_each() {
    let untouched = Untouched::new(Db::Sqlite).await;
    let twice =
        a_write("second").replace("\"content\":\"second\"", "\"content\":\"first\",\"content\":\"second\"");
    assert!(twice.contains("first"), "{twice}");
    let reply = untouched.client.post("/mcp", twice, &[]).await;
    assert!(reply.status < 500, "{}", reply.text());
    let now = crate::fixtures::read(&untouched.client, "content/README.md", json!({})).await;
    assert!(now.code() == "NOT_FOUND" || now.value["content"] == "second", "{}", now.value);
    assert_eq!(
        crate::fixtures::read(&untouched.client, LESSON, json!({})).await.expect_ok()["content"],
        "the lesson"
    );
    untouched.is_well().await;
}

/// A client that has closed its half counts as gone: it may or may not get its answer, and repeats the call.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_connection_is_closed_at_once_and_half_a_request_does_nothing() {
    let (env, server, client) = fresh(Db::Sqlite).await;
    let body = a_write("whole");
    let address = server.url().strip_prefix("http://").unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for sent in [0, body.len() - 1, body.len()] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body.as_bytes()[..sent]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        assert!(ended.is_ok(), "{sent}: the connection hangs: {ended:?}");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(sent == body.len() || !answer.starts_with("HTTP/1.1 2"), "{sent}: {answer}");
        if sent < body.len() {
            assert!(env.published().is_empty(), "{sent}");
        }
    }
    write(&client, "content/README.md", "whole", json!({})).await.expect_ok();
    server.all_published().await;
    assert_eq!(env.published().into_values().collect::<Vec<_>>(), [b"whole".to_vec()]);
}
