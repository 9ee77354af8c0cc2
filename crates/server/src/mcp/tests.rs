//! Tests of the MCP transport: raw requests against the real router, over a private journal and fakes of the storage.

mod limits;
mod messages;
mod portable;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use panaversity_model::audit::Operation;
use panaversity_model::{BookId, BookPath, Layer};
use panaversity_service::uploads::{Announce, Announcement};
use panaversity_service::{Engines, Limits, Service};
use panaversity_testkit::{
    FaultMode, Faults, MemoryObjects, MemoryTree, MemoryUploadStore, TestClock, TestIds, TestJournal,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::limits::ServerLimits;
use crate::link_keys::LinkKeyRing;
use crate::metrics::Metrics;
use crate::signed_url::{SignedUrlOptions, SignedUrls};

const LESSON: &str = "content/01-Part/01-Chapter/01-lesson.md";
const MODERN: &str = "2026-07-28";

struct Client {
    port: u16,
    faults: Faults,
    app: AppState,
}

struct Reply {
    status: u16,
    body: Value,
}

pub(crate) fn app(faults: &Faults) -> AppState {
    let engines = Engines {
        journal: Arc::new(TestJournal::open().behind(faults)),
        objects: Arc::new(MemoryObjects::new()),
        upload_store: Arc::new(MemoryUploadStore::new()),
        tree: Arc::new(MemoryTree::new()),
        clock: Arc::new(TestClock::new()),
        ids: Arc::new(TestIds),
    };
    let limits = Limits {
        inline_bytes: 1 << 17,
        direct_bytes: 10 << 20,
        asset_bytes: 100 << 20,
        publish_overlays: true,
    };
    let links = SignedUrls::new(SignedUrlOptions {
        keys: LinkKeyRing::fixed(vec!["a key of these tests".into()]),
        public_url: None,
        cdn: None,
        valid_for: Duration::from_hours(1),
    });
    let metrics = Metrics::new("fs", &["put"], 200).unwrap();
    AppState::new(
        Service::new(engines, limits),
        Arc::new(metrics),
        links,
        ServerLimits::new(1_024, 10 << 20, Duration::from_mins(1)),
    )
}

impl Client {
    async fn new() -> Self {
        Self::with_call_timeout(Duration::from_mins(1)).await
    }

    async fn with_call_timeout(timeout: Duration) -> Self {
        let faults = Faults::new();
        let mut app = app(&faults);
        app.limits.call_timeout = timeout;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = router(app.clone(), CancellationToken::new());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, faults, app }
    }

    async fn send(&self, head: &str, body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let head = format!(
            "{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let text = String::from_utf8(answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains("content-type: application/json"), "{head}\n{body}");
        Reply {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            body: serde_json::from_str(body).unwrap(),
        }
    }

    async fn post(&self, headers: &str, body: impl AsRef<[u8]>) -> Reply {
        let head = format!("POST /mcp HTTP/1.1\r\nContent-Type: application/json{headers}");
        self.send(&head, body.as_ref()).await
    }

    /// Calls a tool; returns its structured content, compared with the copy in the text.
    async fn call_as(&self, headers: &str, tool: &str, arguments: Value) -> Value {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool, "arguments": arguments } });
        let reply = self.post(headers, message.to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let result = &reply.body["result"];
        let structured = result["structuredContent"].clone();
        let text = result["content"][0]["text"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), structured);
        assert_eq!(result["isError"], json!(structured.get("error").is_some()));
        structured
    }

    async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.call_as("", tool, arguments).await
    }

    async fn refused(&self, tool: &str, arguments: Value) -> (String, String) {
        let error = &self.call(tool, arguments).await["error"];
        (error["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    }

    async fn write(&self, path: &str, content: &str) -> String {
        let written = self
            .call("write_content", json!({ "book_id": "ai-python", "path": path, "content": content }))
            .await;
        written["file_hash"].as_str().unwrap_or_else(|| panic!("{written}")).to_owned()
    }
}

#[tokio::test]
async fn the_plain_curl_of_the_contract_prints_the_tool_list() {
    let client = Client::new().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    for headers in ["", "\r\nAccept: */*", "\r\nAccept: application/json"] {
        let reply = client.post(headers, body).await;
        assert_eq!(reply.status, 200);
        let tools = reply.body["result"]["tools"].as_array().unwrap();
        assert_eq!(tools.len(), tools::ALL.len());
        for tool in tools {
            assert_eq!(tool["outputSchema"]["type"], json!("object"));
            assert!(tool["title"].is_string() && tool["description"].is_string());
            assert_eq!(tool["annotations"]["openWorldHint"], json!(false));
        }
    }
    let head = "POST /mcp/ HTTP/1.1\r\nContent-Type: application/json; charset=utf-8";
    assert_eq!(client.send(head, body.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn a_client_of_the_newest_protocol_is_served() {
    let client = Client::new().await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "careful-editor", "version": "1" },
    });
    let send = async |method: &str, mut params: Value, headers: &str| {
        params["_meta"] = meta.clone();
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let headers = format!("\r\nMCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}{headers}");
        client.post(&headers, message.to_string()).await
    };
    let list = send("tools/list", json!({}), "").await.body;
    assert_eq!(list["result"]["ttlMs"], json!(300_000));
    assert_eq!(list["result"]["cacheScope"], json!("public"));
    let found = send("server/discover", json!({}), "").await.body;
    assert_eq!(found["result"]["ttlMs"], json!(300_000), "{found}");
    let arguments = json!({ "book_id": "ai-python", "path": LESSON, "content": "x" });
    let call = json!({ "name": "write_content", "arguments": arguments });
    let reply = send("tools/call", call, "\r\nMcp-Name: write_content").await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let result = &reply.body["result"];
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], json!("panaversity-fs"));
    assert_eq!(result["resultType"], json!("complete"));
    let entries = client.call("query_audit_log", json!({ "operation": "WRITE" })).await;
    assert_eq!(entries["entries"][0]["agent_id"], json!("careful-editor"));
    let bad = json!({ "name": "write_content", "arguments": "text" });
    let bad = send("tools/call", bad, "\r\nMcp-Name: write_content").await.body;
    assert_eq!(bad["result"]["structuredContent"]["error"]["code"], json!("INVALID_ARGUMENT"), "{bad}");
}

#[tokio::test]
async fn a_client_that_initializes_is_served() {
    let client = Client::new().await;
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
    let message = json!({ "jsonrpc": "2.0", "id": "a", "method": "initialize", "params": params });
    let result = client.post("", message.to_string()).await.body["result"].clone();
    assert_eq!(result["serverInfo"]["name"], json!("panaversity-fs"));
    assert_eq!(result["protocolVersion"], json!("2025-06-18"));
    assert_eq!(
        result["capabilities"],
        json!({ "completions": {}, "prompts": {}, "resources": {}, "tools": {} })
    );
}

#[tokio::test]
async fn what_is_no_message_is_refused_in_the_protocol_s_words() {
    let client = Client::new().await;
    let bodies: [(&[u8], i32); 6] = [
        (b"{\"jsonrpc\":", -32700),
        (b"", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", -32700),
        (b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}]", -32600),
        (b"{\"hello\":1}", -32600),
        (b"7", -32600),
    ];
    for (body, code) in bodies {
        let reply = client.post("", body).await;
        assert_eq!((reply.status, &reply.body["error"]["code"]), (400, &json!(code)), "{}", reply.body);
        assert_eq!(reply.body["error"]["data"]["code"], json!("INVALID_ARGUMENT"));
    }
    let reply = client.post("", vec![b' '; (16 << 20) + 1]).await;
    assert_eq!(reply.status, 413);
    assert_eq!(reply.body["error"]["data"]["code"], json!("TOO_LARGE"));
    let form = client.send("POST /mcp HTTP/1.1\r\nContent-Type: text/plain", b"{}").await;
    assert_eq!(form.status, 415);
    assert_eq!(client.send("GET /mcp HTTP/1.1\r\nAccept: text/event-stream", b"").await.status, 405);
    assert_eq!(client.post("\r\nAccept: text/html", b"{}").await.status, 406);
}

#[tokio::test]
async fn arguments_are_judged_one_by_one_and_by_name() {
    let client = Client::new().await;
    client.write(LESSON, "x").await;
    let (code, message) =
        client.refused("read_content", json!({ "book": "ai-python", "path": LESSON })).await;
    assert_eq!(code, "INVALID_ARGUMENT");
    assert!(message.contains("did you mean `book_id`?") && message.contains("if_none_match"), "{message}");
    let (_, message) = client.refused("read_content", json!({ "book_id": "ai-python", "path": 5 })).await;
    assert_eq!(message, "path: it must be text, not a number");
    let (_, message) = client.refused("read_content", json!({ "book_id": "ai-python", "path": null })).await;
    assert_eq!(message, "path: it is required");
    let short = json!({ "book_id": "ai-python", "path": "content/01-Part/README.md", "scope": "chapter" });
    assert!(client.refused("read_content", short).await.1.contains("content/{part}/{chapter}"));
    assert_eq!(client.refused("list_books", json!({ "cursor": "%%" })).await.0, "INVALID_ARGUMENT");
    let read = json!({ "book_id": "ai-python", "path": LESSON });
    for wrapped in [json!({ "params": read }), json!({ "params": read.to_string() })] {
        assert_eq!(client.call("read_content", wrapped).await["content"], json!("x"));
    }
    for scope in ["chapter", "part"] {
        for path in [LESSON, "content/01-Part/01-Chapter/"] {
            let read = json!({ "book_id": "ai-python", "path": path, "scope": scope });
            assert_eq!(client.call("read_content", read).await["files"][0]["content"], json!("x"));
        }
    }
}

#[test]
fn the_tools_leave_room_for_those_to_come() {
    /// Number of tools of the whole product, which together stay under 20 KB, including the message
    /// around them.
    const TOOLS: usize = 22;
    const BYTES: usize = 20 * 1024 - 300;
    let sizes: Vec<_> = tools::ADVERTISED
        .iter()
        .map(|tool| (tool.name.as_ref(), serde_json::to_string(tool).unwrap().len() + 1))
        .collect();
    let all: usize = sizes.iter().map(|(_, bytes)| bytes).sum();
    let due = BYTES * sizes.len() / TOOLS;
    assert!(all <= due, "agents pay for {all} bytes, not more than {due}: {sizes:#?}");
}

#[tokio::test]
async fn the_agent_contract_leads_from_error_to_success() {
    let client = Client::new().await;
    let first = client.write(LESSON, "one").await;
    let mut write = json!({ "book_id": "ai-python", "path": LESSON, "content": "two" });
    let error = client.call("write_content", write.clone()).await["error"].clone();
    assert_eq!((&error["code"], &error["current_hash"]), (&json!("HASH_REQUIRED"), &json!(first)));
    write["expected_hash"] = json!("0".repeat(64));
    assert_eq!(client.call("write_content", write.clone()).await["error"]["code"], json!("CONFLICT"));
    write["expected_hash"] = json!(first);
    let updated = client.call("write_content", write.clone()).await;
    assert_eq!((&updated["mode"], &updated["namespace"]), (&json!("updated"), &json!("base")));
    assert_eq!(client.call("write_content", write.clone()).await["mode"], json!("unchanged"));
    write["user_id"] = json!("eve");
    let error = client.call("write_content", write).await["error"].clone();
    assert_eq!(error["code"], json!("NOT_FOUND"));
    assert!(error["hint"].as_str().unwrap().contains("overlay"), "{error}");
    let read = json!({ "book_id": "ai-python", "path": LESSON, "if_none_match": updated["file_hash"] });
    let read = client.call("read_content", read).await;
    assert!(read["unchanged"] == json!(true) && read.get("content").is_none(), "{read}");
    let old =
        client.call("read_content", json!({ "book_id": "ai-python", "path": LESSON, "hash": first })).await;
    assert_eq!(old["content"], json!("one"));
    let counts = String::from_utf8(
        client.app.metrics.scrape(&client.app.service, client.app.limits.scrape_timeout).await,
    )
    .unwrap();
    for (mode, status) in [
        ("created", "success"),
        ("updated", "success"),
        ("unchanged", "success"),
        ("none", "hash_required"),
        ("none", "conflict"),
        ("none", "not_found"),
    ] {
        let line = format!(r#"write_total{{book_id="ai-python",mode="{mode}",status="{status}"}} 1"#);
        assert!(counts.contains(&line), "{line} in {counts}");
    }
}

#[tokio::test]
async fn r7_every_call_is_recorded_with_a_real_agent_and_r5_only_for_its_owner() {
    let client = Client::new().await;
    let header = "\r\nX-Agent-Id: writer-7";
    let write = json!({ "book_id": "ai-python", "path": LESSON, "content": "x", "user_id": "eve" });
    client.call_as(header, "write_content", write).await;
    let bad = json!({ "book_id": "ai-python", "path": "../\u{1}x" });
    client.call_as(header, "read_content", bad).await;
    let nobody = client.call_as("\r\nX-Agent-Id: system", "list_books", json!({})).await;
    assert_eq!(nobody["error"]["argument"], json!("X-Agent-Id"));
    let base = client.call("query_audit_log", json!({ "book_id": "ai-python" })).await;
    let entry = &base["entries"][0];
    assert_eq!(base["entries"].as_array().unwrap().len(), 1, "eve's write is hers: {base}");
    assert_eq!((&entry["error_code"], &entry["path"]), (&json!("INVALID_PATH"), &json!("")));
    assert!(entry["error_message"].as_str().unwrap().contains("../\\u{1}x"), "{entry}");
    let hers =
        client.call("query_audit_log", json!({ "user_id": "eve", "path": "content/*/*/0?-*.md" })).await;
    assert_eq!(hers["entries"][0]["agent_id"], json!("writer-7"));
    let none = client.call("query_audit_log", json!({ "user_id": "eve", "path": "content/*.md" })).await;
    assert_eq!(none["entries"], json!([]), "* never crosses /");
    let lists = client.call("query_audit_log", json!({ "operation": "LIST" })).await;
    assert_eq!(lists["entries"][0]["agent_id"], json!("dev-mode-agent"));
    let verified =
        client.call("verify_audit_chain", json!({ "book_id": "ai-python", "user_id": "eve" })).await;
    assert_eq!((&verified["valid"], &verified["entries_checked"]), (&json!(true), &json!(1)));
}

#[tokio::test]
async fn a_fault_shows_nothing_of_the_inside() {
    let client = Client::new().await;
    client.write(LESSON, "x").await;
    client.faults.reset();
    client.faults.arm(0, FaultMode::FailBefore);
    let error =
        client.call("read_content", json!({ "book_id": "ai-python", "path": LESSON })).await["error"].clone();
    assert_eq!(error["code"], json!("DATABASE_UNAVAILABLE"));
    assert_eq!(error["message"], json!("The database does not answer"));
    assert!(error["request_id"].is_string() && error.get("outcome").is_none(), "{error}");
}

#[tokio::test]
async fn a_read_that_cannot_be_recorded_is_not_answered() {
    let client = Client::new().await;
    client.write(LESSON, "x").await;
    client.faults.reset();
    client.faults.arm(1, FaultMode::FailBefore);
    let read = client.call("read_content", json!({ "book_id": "ai-python", "path": LESSON })).await;
    assert_eq!(client.faults.calls(), ["journal.find", "journal.append"]);
    assert!(read["error"].is_object() && read.get("content").is_none(), "{read}");
}

#[tokio::test]
async fn books_and_builds_are_paged_and_told_apart() {
    let client = Client::new().await;
    client.write(LESSON, "x").await;
    client.write("content/README.md", "y").await;
    let listed = client.call("list_books", json!({ "include_structure": "content" })).await;
    let book = &listed["books"][0];
    assert_eq!(book["content"][0], json!({ "folder": "content", "files": ["README.md"] }));
    assert!(book.get("assets").is_none());
    let plan = client.call("plan_build", json!({ "book_id": "ai-python" })).await;
    assert_eq!((&plan["status"], &plan["files"][0]["target_hash"]), (&json!("changed"), &Value::Null));
    let again = json!({ "book_id": "ai-python", "target_manifest_hash": plan["manifest_hash"] });
    assert_eq!(client.call("plan_build", again).await["status"], json!("unchanged"));
    let unknown = json!({ "book_id": "ai-python", "target_manifest_hash": "0".repeat(64) });
    assert!(client.call("plan_build", unknown).await["warning"].is_string());
    let newest = client.call("query_audit_log", json!({ "limit": 1 })).await;
    let next = client.call("query_audit_log", json!({ "limit": 1, "cursor": newest["next_cursor"] })).await;
    assert_ne!(newest["entries"][0]["id"], next["entries"][0]["id"]);
    assert_eq!(client.call("create_book", json!({ "book_id": "ai-docs" })).await["created"], json!(true));
}

#[tokio::test]
async fn the_same_tools_answer_over_stdio() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (input, output) = tokio::io::split(theirs);
    tokio::spawn(serve_lines(app(&Faults::new()), input, output));
    let (read, mut write) = tokio::io::split(ours);
    let mut lines = BufReader::new(read).lines();
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "my-editor", "version": "1" } });
    let messages = [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "list_books" } }),
    ];
    for message in messages {
        write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }
    let _hello = lines.next_line().await.unwrap().unwrap();
    let listed: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(listed["result"]["structuredContent"], json!({ "books": [] }));
    let query = json!({ "name": "query_audit_log", "arguments": {} });
    let query = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": query });
    write.write_all(format!("{query}\n").as_bytes()).await.unwrap();
    let log: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(log["result"]["structuredContent"]["entries"][0]["agent_id"], json!("my-editor"));
}

/// A folder of long names in every book; together they are more than a page.
#[tokio::test]
async fn no_page_of_books_is_larger_than_1_mb_as_json() {
    const BOOKS: usize = 60;
    const FILES: usize = 90;
    let (client, long) = (Client::new().await, "a".repeat(200));
    for n in 0..BOOKS * FILES {
        let (book, n) = (n / FILES, n % FILES);
        let path = format!("content/01-Part/01-Chapter/{n:02}-{long}.md");
        let write = json!({ "book_id": format!("book-{book:02}"), "path": path, "content": "x" });
        assert_eq!(client.call("write_content", write).await["mode"], json!("created"));
    }
    let (mut listed, mut pages) = (BTreeMap::<String, usize>::new(), 0);
    let mut arguments = json!({ "include_structure": "content" });
    loop {
        let page = client.call("list_books", arguments.clone()).await;
        assert!(page.to_string().len() <= 1_000_000, "{}", page.to_string().len());
        for book in page["books"].as_array().unwrap() {
            for folder in book["content"].as_array().unwrap() {
                let files = folder["files"].as_array().unwrap().len();
                *listed.entry(book["book_id"].as_str().unwrap().to_owned()).or_default() += files;
            }
        }
        pages += 1;
        let Some(cursor) = page.get("next_cursor") else { break };
        arguments["cursor"] = cursor.clone();
    }
    assert!(pages > 1 && listed.len() == BOOKS && listed.values().all(|count| *count == FILES), "{listed:?}");
}
