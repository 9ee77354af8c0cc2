//! Both protocol eras on one endpoint: clients that begin with `initialize`, and those whose every
//! request stands alone.

use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, TOOLS, created, entries, fresh, with};
use crate::harness::{Db, Reply, TestClient};

const MODERN: &str = "2026-07-28";

/// Sends a request of the newest protocol, with `Mcp-Name` where it is required.
pub(crate) async fn modern(
    client: &TestClient,
    method: &str,
    params: Value,
    headers: &[(&str, &str)],
) -> Reply {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "careful-editor", "version": "1" },
    });
    let name = params["name"].as_str().or(params["uri"].as_str()).map(str::to_owned);
    let message = json!({
        "jsonrpc": "2.0", "id": "a", "method": method, "params": with(params, json!({ "_meta": meta })),
    });
    let mut all = vec![("MCP-Protocol-Version", MODERN), ("Mcp-Method", method)];
    all.extend(name.iter().map(|name| ("Mcp-Name", name.as_str())));
    all.extend(headers);
    client.post("/mcp", message.to_string(), &all).await
}

fn the_write() -> Value {
    json!({ "name": "write_content", "arguments": { "book_id": BOOK, "path": LESSON, "content": "one" } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_curl_needs_no_handshake_and_no_other_header() {
    let (_env, server, client) = fresh(Db::Sqlite).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    for headers in [[].as_slice(), &[("Accept", "*/*")], &[("Accept", "application/json")]] {
        let reply = client.post("/mcp", body, headers).await;
        assert_eq!(
            (reply.status, &reply.headers["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
        assert_eq!(reply.headers.get("mcp-session-id"), None, "there are no sessions");
        assert_eq!(reply.json()["result"]["tools"].as_array().unwrap().len(), TOOLS);
    }
    // Exactly the request of the contract's example, except for headers that only curl adds.
    let address = server.url().trim_start_matches("http://");
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let answer = std::io::read_to_string(stream).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("write_content"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_initializes_is_served_in_its_protocol() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let (_env, _server, client) = fresh(Db::Sqlite).await;
        let info = json!({ "name": "an-editor", "version": "1" });
        let hello = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": info });
        let message = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello });
        let result = client.rpc(message).await["result"].clone();
        assert_eq!(
            (&result["protocolVersion"], &result["serverInfo"]["name"]),
            (&json!(version), &json!("panaversity-fs"))
        );
        assert_eq!(
            result["capabilities"],
            json!({ "completions": {}, "prompts": {}, "resources": {}, "tools": {} })
        );
        assert!(result["instructions"].as_str().unwrap().contains("expected_hash"));

        let headers = [("MCP-Protocol-Version", version), ("Accept", "application/json, text/event-stream")];
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let accepted = client.post("/mcp", ready.to_string(), &headers).await;
        assert_eq!((accepted.status, accepted.body.len()), (202, 0));
        let call = json!({ "jsonrpc": "2.0", "id": "b", "method": "tools/call", "params": the_write() });
        let answer = client.post("/mcp", call.to_string(), &headers).await.json();
        let result = &answer["result"];
        assert_eq!((&answer["id"], &result["structuredContent"]["mode"]), (&json!("b"), &json!("created")));
        assert_eq!((result.get("resultType"), result.get("_meta")), (None, None), "nothing of the new era");
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structuredContent"], "the same as text");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_2026_07_28_is_served_without_initialize() {
    let (_env, _server, client) = fresh(Db::Sqlite).await;
    let found = modern(&client, "server/discover", json!({}), &[]).await.json()["result"].clone();
    let versions = found["supportedVersions"].as_array().unwrap_or_else(|| panic!("{found}"));
    assert!(versions.contains(&json!(MODERN)) && versions.contains(&json!("2025-11-25")), "{found}");
    assert_eq!((&found["ttlMs"], &found["cacheScope"]), (&json!(300_000), &json!("public")));

    let list = modern(&client, "tools/list", json!({}), &[]).await.json()["result"].clone();
    assert_eq!((&list["ttlMs"], &list["cacheScope"]), (&json!(300_000), &json!("public")));
    let written = modern(&client, "tools/call", the_write(), &[]).await;
    let result = written.json()["result"].clone();
    assert_eq!(
        (&result["resultType"], &result["structuredContent"]["mode"]),
        (&json!("complete"), &json!("created"))
    );
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "panaversity-fs");
    let log = entries(&client, json!({ "operation": "WRITE" })).await;
    assert_eq!(log[0]["agent_id"], "careful-editor", "who gives no name is known by the client's");
    let refused = json!({ "name": "write_content", "arguments": { "book_id": BOOK } });
    let refused = modern(&client, "tools/call", refused, &[]).await.json()["result"].clone();
    assert_eq!((&refused["isError"], &refused["resultType"]), (&json!(true), &json!("complete")));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_say_other_than_the_body_are_refused() {
    let (_env, _server, client) = fresh(Db::Sqlite).await;
    created(&client, "content/README.md", "x", json!({})).await;
    for (headers, code) in [
        ([("Mcp-Method", "tools/list")], -32_020),
        ([("Mcp-Name", "delete_content")], -32_020),
        ([("MCP-Protocol-Version", "2025-11-25")], -32_020),
    ] {
        let reply = modern(&client, "tools/call", the_write(), &headers).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (400, &json!(code)),
            "{headers:?}: {}",
            reply.text()
        );
    }
    let unknown = modern(&client, "tools/list", json!({}), &[("MCP-Protocol-Version", "2099-01-01")]).await;
    // It contradicts the body, which names a supported version.
    assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (400, &json!(-32_020)));
    let nowhere = modern(&client, "tools/nothing", json!({}), &[]).await;
    assert_eq!((nowhere.status, &nowhere.json()["error"]["code"]), (404, &json!(-32_601)));
    for gone in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "tasks/get"] {
        let reply = modern(&client, gone, json!({ "level": "info", "uri": "x", "taskId": "x" }), &[]).await;
        let error = reply.json()["error"].clone();
        assert_eq!((reply.status, &error["code"]), (404, &json!(-32_601)), "{gone}: {error}");
        assert!(error["message"].as_str().unwrap().contains(gone), "{error}");
    }
    assert!(entries(&client, json!({ "path": LESSON })).await.is_empty(), "nothing was called");
}
