//! `panaversity-fs mcp`: the same tools over stdin and stdout, for one agent on this machine.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, TOOLS, created, read, text, with};
use crate::harness::{BinaryChild, Db, Storage, TestBackend, TestEnv};

/// The stderr of `mcp` in a session that ends as soon as it has begun.
fn complaints(env: &TestEnv) -> String {
    said(env, format!("{}\n", hello()).as_bytes()).1
}

/// A client of a spawned server.
struct Line {
    child: BinaryChild,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Line {
    fn to(env: &TestEnv) -> Self {
        let mut command = env.command();
        command.arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, stdin, lines: BufReader::new(stdout).lines() }
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    /// Sends a message and waits for the answer.
    fn ask(&mut self, message: &Value) -> Value {
        self.say(message);
        let answer: Value = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["id"], message["id"], "{answer}");
        answer
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        let answer =
            self.ask(&json!({ "jsonrpc": "2.0", "id": tool, "method": "tools/call", "params": params }));
        answer["result"]["structuredContent"].clone()
    }

    /// Closes stdin; no more output may follow, and the server must exit with success.
    fn hang_up(mut self) {
        drop(self.stdin.take());
        let rest: Vec<_> = self.lines.map(Result::unwrap).collect();
        assert_eq!(rest, Vec::<String>::new());
        assert!(self.child.wait().unwrap().success());
    }
}

fn hello() -> Value {
    let info = json!({ "name": "my-editor", "version": "1" });
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_writes_and_reads_over_stdio_until_it_hangs_up() {
    for db in Db::both() {
        let env = TestEnv::new(db);
        let mut line = Line::to(&env);
        assert_eq!(line.ask(&hello())["result"]["serverInfo"]["name"], "panaversity-fs");
        line.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        let listed = line.ask(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }));
        assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), TOOLS);
        let lesson = json!({ "book_id": BOOK, "path": LESSON });
        let content = "line\nbreaks \u{2028} and \"quotes\"\r\n";
        let write = crate::fixtures::with(lesson.clone(), json!({ "content": content }));
        assert_eq!(line.call("write_content", &write)["mode"], "created");
        assert_eq!(line.call("read_content", &lesson)["content"], content);
        assert_eq!(
            line.call("read_content", &json!({ "book_id": BOOK }))["error"]["code"],
            "INVALID_ARGUMENT"
        );
        let log = line.call("query_audit_log", &json!({ "operation": "WRITE" }));
        assert_eq!(log["entries"][0]["agent_id"], "my-editor");
        line.hang_up();
        assert_eq!(env.published().len(), 1);
        let server = env.start().await;
        assert_eq!(read(&server.client(), LESSON, json!({})).await.expect_ok()["content"], content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_session_raises_no_false_alarm() {
    let env = TestEnv::new(Db::Sqlite);
    let server = env.start().await;
    created(&server.client(), LESSON, "one", json!({})).await;
    server.all_published().await;
    // A scan of many files is still in progress when the session ends.
    let folder = env.storage_root().join("books").join(BOOK).join("content");
    for n in 0..3_000 {
        std::fs::write(folder.join(format!("{n}.tmp")), "x").unwrap();
    }
    for _ in 0..5 {
        let said = complaints(&env);
        assert!(!said.contains("could not be looked through"), "{said}");
        assert!(
            !said.contains("closed pool") && !said.contains("not clean"),
            "another server serves it: {said}"
        );
    }
}

#[test]
fn nonsense_on_stdin_ends_nothing() {
    let env = TestEnv::new(Db::Sqlite);
    let mut line = Line::to(&env);
    line.ask(&hello());
    line.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    let stdin = line.stdin.as_mut().unwrap();
    stdin.write_all(b"\nnot json\n{\"half\":\n\xff\xfe\n[]\n").unwrap();
    let listed =
        json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "list_books" } });
    line.say(&listed);
    // Error notifications may precede the answer.
    let mut answers =
        line.lines.by_ref().map(|answer| serde_json::from_str::<Value>(&answer.unwrap()).unwrap());
    let answer = answers.find(|answer| answer["id"] == 7).expect("an answer");
    assert_eq!(answer["result"]["structuredContent"], json!({ "books": [] }));
    line.hang_up();
}

/// The program's output on stdout and stderr for this input; it must exit with success.
fn said(env: &TestEnv, input: &[u8]) -> (Vec<Value>, String) {
    let mut command = env.command();
    command.arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let answers = output.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    (answers, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_cannot_be_read_leaves_a_warning_without_its_content_and_the_last_line_needs_no_end() {
    let env = TestEnv::new(Db::Sqlite);
    let (answers, log) = said(&env, b"");
    assert!(answers.is_empty() && !log.contains("ERROR"), "to hang up first is no error: {log}");
    let cut = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"write_content","arguments":{"book_id":"b-1","path":"content/x.md","content":"secret \ud83d"}}}"#;
    let listed = r#"{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"list_books"}}"#;
    let lines = [
        hello().to_string().as_bytes(),
        b"{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"prompts/get\",\"params\":{\"name\":\"secret \xe9\"}}",
        cut.as_bytes(),
        br#"{"jsonrpc":"2.0","id":9,"secret":"#,
        listed.as_bytes(),
    ]
    .join(b"\n".as_slice());
    let (answers, log) = said(&env, &lines);
    let of =
        |id: u64| answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("{answers:?}"));
    assert_eq!(of(6)["error"]["code"], -32602);
    assert_eq!(of(7)["result"]["structuredContent"]["error"]["argument"], "content");
    assert_eq!(of(8)["result"]["structuredContent"], json!({ "books": [] }));
    assert_eq!(of(9)["error"]["code"], -32700);
    assert_eq!(log.matches("could not be read").count(), 3, "{log}");
    assert!(log.contains("WARNING") && log.contains("write_content") && !log.contains("secret"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_stdio_links_are_given_only_where_somebody_serves_them() {
    for storage in [Storage::Fs, Storage::S3] {
        let env = TestEnv::new(TestBackend::new(Db::Sqlite, storage));
        let mut line = Line::to(&env);
        line.ask(&hello());
        let book = json!({ "book_id": BOOK, "schema": "docusaurus" });
        line.call("create_book", &book);
        let asset = |kind: &str, more: Value| {
            with(json!({ "book_id": BOOK, "asset_type": kind, "filename": "a.png" }), more)
        };
        let hint = "PANAVERSITY_PUBLIC_URL";
        for kind in ["img", "content"] {
            let kept = line.call("upload_asset", &asset(kind, json!({ "binary_data": "/+8=" })));
            let got = line.call("get_asset", &asset(kind, json!({ "include_binary": true })));
            assert_eq!(got["binary_data"], "/+8=");
            for answer in [kept, got] {
                assert!(answer.get("cdn_url").is_none() && answer.get("download_url").is_none(), "{answer}");
                assert!(text(&answer["hint"]).contains(hint), "{answer}");
            }
        }
        let listed = line.call("list_assets", &json!({ "book_id": BOOK }));
        assert!(text(&listed["hint"]).contains(hint));
        assert!(listed["assets"].as_array().unwrap().iter().all(|asset| asset.get("hint").is_none()));
        assert!(!listed.to_string().contains("http://"), "{listed}");
        let archive = line.call("get_book_archive", &json!({ "book_id": BOOK }));
        assert!(text(&archive["error"]["hint"]).contains(hint), "{archive}");
        // A bucket accepts uploads at URLs of its own.
        let begun = line.call("upload_asset", &asset("videos", json!({ "file_size": 5 })));
        match storage {
            Storage::Fs => assert!(text(&begun["error"]["hint"]).contains(hint), "{begun}"),
            Storage::S3 => assert!(text(&begun["upload_url"]).contains("X-Amz-Signature"), "{begun}"),
        }
        line.hang_up();

        // With a server beside it, the links it returns can be opened there.
        let server = env.start().await;
        let env = env.with("PANAVERSITY_PUBLIC_URL", server.url());
        let mut line = Line::to(&env);
        line.ask(&hello());
        let archive = line.call("get_book_archive", &json!({ "book_id": BOOK }));
        let beside = line.call("get_asset", &asset("content", json!({})));
        for link in [&archive["archive_url"], &beside["download_url"]] {
            let path = text(link).strip_prefix(server.url()).unwrap().to_owned();
            assert_eq!(server.get(&path).await.status, 200, "{link}");
        }
        line.hang_up();
    }
}
