//! `panaversity-fs mcp`: the same tools over stdin and stdout, for one agent on this machine.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::harness::{Db, World};
use crate::lessons::{BOOK, LESSON, TOOLS, read};

/// A client of a spawned server.
struct Line {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Line {
    fn to(world: &World) -> Self {
        let mut command = world.command();
        command.arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, stdin, lines: BufReader::new(stdout).lines() }
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    /// Asks, and waits for the answer.
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

    /// Hangs up; nothing more may come, and the server ends well.
    fn hang_up(mut self) {
        drop(self.stdin.take());
        let rest: Vec<_> = self.lines.map(Result::unwrap).collect();
        assert_eq!(rest, Vec::<String>::new());
        assert!(self.child.wait().unwrap().success());
    }
}

fn hello() -> Value {
    let client = json!({ "name": "my-editor", "version": "1" });
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_writes_and_reads_over_stdio_until_it_hangs_up() {
    for db in Db::both() {
        let world = World::new(db);
        let mut line = Line::to(&world);
        assert_eq!(line.ask(&hello())["result"]["serverInfo"]["name"], "panaversity-fs");
        line.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        let listed = line.ask(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }));
        assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), TOOLS);
        let lesson = json!({ "book_id": BOOK, "path": LESSON });
        let content = "line\nbreaks \u{2028} and \"quotes\"\r\n";
        let write = crate::lessons::with(lesson.clone(), json!({ "content": content }));
        assert_eq!(line.call("write_content", &write)["mode"], "created");
        assert_eq!(line.call("read_content", &lesson)["content"], content);
        assert_eq!(
            line.call("read_content", &json!({ "book_id": BOOK }))["error"]["code"],
            "INVALID_ARGUMENT"
        );
        let log = line.call("query_audit_log", &json!({ "operation": "WRITE" }));
        assert_eq!(log["entries"][0]["agent_id"], "my-editor");
        line.hang_up();
        assert_eq!(world.published().len(), 1);
        let server = world.start().await;
        assert_eq!(read(&server.door(), LESSON, json!({})).await.expect_ok()["content"], content);
    }
}

#[test]
fn nonsense_on_stdin_ends_nothing() {
    let mut line = Line::to(&World::new(Db::Sqlite));
    line.ask(&hello());
    line.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    let stdin = line.stdin.as_mut().unwrap();
    stdin.write_all(b"\nnot json\n{\"half\":\n\xff\xfe\n[]\n").unwrap();
    let listed =
        json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "list_books" } });
    line.say(&listed);
    // Complaints may come before the answer.
    let mut answers =
        line.lines.by_ref().map(|answer| serde_json::from_str::<Value>(&answer.unwrap()).unwrap());
    let answer = answers.find(|answer| answer["id"] == 7).expect("an answer");
    assert_eq!(answer["result"]["structuredContent"], json!({ "books": [] }));
    line.hang_up();
}
