//! Logs: one JSON line per call with the contract's fields, one per recorded change, and never any
//! content.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::fixtures::{BOOK, LESSON, NO_HASH, created, delete, fresh, fresh_process, read, sha256, write};
use crate::harness::{Db, TestEnv, logged, until};

const SECRET: &str = "the secret sentence of this lesson";

/// The log's lines, each a JSON object with the fields that every line has.
fn parsed(lines: &[String]) -> Vec<Value> {
    let parse =
        |line: &String| -> Value { serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")) };
    let lines: Vec<Value> = lines.iter().map(parse).collect();
    for line in &lines {
        let at = line["timestamp"].as_str().unwrap();
        assert!(at.len() == 27 && at.ends_with('Z'), "{line}");
        assert!(["DEBUG", "INFO", "WARNING", "ERROR"].contains(&line["level"].as_str().unwrap()), "{line}");
        assert!(line["logger"].is_string() && line["message"].is_string(), "{line}");
    }
    lines
}

/// The lines of one logger, without the parts that differ from run to run.
fn of(lines: &[String], logger: &str) -> Vec<Value> {
    let mut lines = parsed(lines);
    lines.retain(|line| line["logger"] == logger);
    for line in &mut lines {
        let fields = line.as_object_mut().unwrap();
        for name in ["timestamp", "request_id"] {
            assert!(fields.remove(name).is_some_and(|value| value.is_string()), "{name}");
        }
        if let Some(took) = fields.remove("duration_ms") {
            assert!(took.is_u64());
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_one_line_with_its_fields_and_a_change_one_more() {
    let (_env, server, client) = fresh_process(Db::Sqlite).await;
    let client = client.of_agent("writer-7");
    created(&client, LESSON, "one", json!({})).await;
    write(&client, LESSON, "two", json!({})).await;
    read(&client, LESSON, json!({ "user_id": "eve" })).await.expect_ok();
    delete(&client, LESSON, json!({})).await.expect_ok();
    delete(&client, LESSON, json!({})).await.expect_ok();
    client.call("plan_build", json!({ "book_id": BOOK })).await.expect_ok();
    // The lines arrive asynchronously, through a pipe.
    until("all is logged", async || server.log().iter().any(|line| line.contains("plan_build"))).await;
    let line = |message: &str, more: Value| {
        let line = json!({
            "level": "INFO", "logger": "panaversity_fs.tools.content", "message": message,
            "agent_id": "writer-7", "book_id": BOOK, "path": LESSON, "status": "success",
        });
        crate::fixtures::with(line, more)
    };
    let expected = [
        line("write_content", json!({ "size": 3 })),
        line("write_content", json!({ "status": "refused", "error_code": "HASH_REQUIRED" })),
        line("read_content", json!({ "size": 3, "user_id": "eve" })),
        line("delete_content", json!({})),
        line("delete_content", json!({})),
    ];
    let log = server.log();
    assert_eq!(of(&log, "panaversity_fs.tools.content"), expected);
    let change = |operation: &str| {
        let message = format!("logged operation={operation} agent_id=writer-7 path={LESSON}");
        json!({ "level": "INFO", "logger": "panaversity_fs.audit", "message": message, "book_id": BOOK })
    };
    assert_eq!(of(&log, "panaversity_fs.audit"), [change("WRITE"), change("DELETE")]);
    assert_eq!(of(&log, "panaversity_fs.tools.build").len(), 1);
    let calls = parsed(&log).into_iter().filter(|line| line.get("duration_ms").is_some());
    assert_eq!(calls.count(), 6, "one line each");
}

#[test]
fn a_change_set_is_one_line_and_each_of_its_changes_one_more() {
    logged("INFO", async |log| {
        let (_env, _server, client) = fresh(Db::Sqlite).await;
        let client = client.of_agent("writer-7");
        created(&client, LESSON, "one", json!({})).await;
        let changes = json!([
            { "op": "edit", "path": LESSON, "edits": [{ "old_text": "one", "new_text": "two" }] },
            { "op": "write", "path": "content/README.md", "content": "three" },
        ]);
        client.call("apply_changes", json!({ "book_id": BOOK, "changes": changes })).await.expect_ok();
        until("all is logged", async || log.count("path=content/README.md") > 0).await;
        let lines = log.lines();
        assert_eq!(of(&lines, "panaversity_fs.tools.content").len(), 2);
        let changes: Vec<_> =
            of(&lines, "panaversity_fs.audit").into_iter().map(|line| line["message"].clone()).collect();
        let change = |operation, path| format!("logged operation={operation} agent_id=writer-7 path={path}");
        let expected =
            [change("WRITE", LESSON), change("EDIT", LESSON), change("WRITE", "content/README.md")];
        assert_eq!(changes, expected);
    });
}

#[test]
fn no_content_is_ever_logged() {
    logged("DEBUG", async |log| {
        let env = TestEnv::new(Db::Postgres);
        let server = env.start().await;
        let client = server.client();
        created(&client, LESSON, SECRET, json!({})).await;
        read(&client, LESSON, json!({})).await.expect_ok();
        let large = SECRET.repeat(20_000);
        for (path, content, more) in [
            (LESSON, "x", json!({ "expected_hash": SECRET })),
            (LESSON, SECRET, json!({ "expected_hash": NO_HASH, "path": "content/../x" })),
            (LESSON, &format!("{SECRET}, changed"), json!({ "expected_hash": NO_HASH })),
            (LESSON, &large, json!({})),
            ("content/README.md", &large[..200_000], json!({})),
            (LESSON, SECRET, json!({ "unknown": SECRET })),
        ] {
            write(&client, path, content, more).await;
        }
        let edits = json!([{ "old_text": SECRET, "new_text": format!("{SECRET}{SECRET}") }]);
        for more in [json!({}), json!({ "expected_hash": NO_HASH }), json!({ "user_id": SECRET })] {
            let edit = crate::fixtures::with(crate::fixtures::about(LESSON, json!({ "edits": edits })), more);
            client.call("edit_content", edit).await;
        }
        let changes = json!([{ "op": "write", "path": LESSON, "content": SECRET, "expected_hash": NO_HASH }]);
        client.call("apply_changes", json!({ "book_id": BOOK, "changes": changes, "message": SECRET })).await;
        client.call("grep_search", json!({ "book_id": BOOK, "pattern": SECRET })).await;
        client.call("write_content", json!([SECRET])).await;
        client.post("/mcp", format!("{{\"jsonrpc\": {SECRET}"), &[]).await;
        client.post("/mcp", json!({ "jsonrpc": "2.0", "id": 1, "method": SECRET }).to_string(), &[]).await;
        client.call(SECRET, json!({})).await;
        server.all_published().await;
        let lines = parsed(&log.lines());
        assert!(lines.len() > 10);
        for line in lines {
            assert!(!line.to_string().contains("secret sentence"), "{line}");
        }
        assert_eq!(log.count(env.database_url()), 0, "nor the database's URL");
    });
}

#[test]
fn a_line_stays_a_line_whatever_a_name_holds() {
    logged("INFO", async |log| {
        let (_env, _server, client) = fresh(Db::Sqlite).await;
        created(&client, LESSON, "one", json!({})).await;
        let agent = "x\",\"level\":\"ERROR\",\"y\":\"\u{e9} =";
        read(&client.clone().of_agent(agent), LESSON, json!({})).await.expect_ok();
        read(&client, "content/a\nb\u{1b}[31m.md", json!({})).await;
        let read_lines = async || {
            parsed(&log.lines()).iter().filter(|line| line["message"] == "read_content").count() == 2
        };
        until("both are logged", read_lines).await;
        let reads: Vec<_> =
            parsed(&log.lines()).into_iter().filter(|line| line["message"] == "read_content").collect();
        assert_eq!((&reads[0]["agent_id"], &reads[0]["level"]), (&json!(agent), &json!("INFO")));
        assert_eq!(reads[1].get("path"), None, "what is no path stands in no line");
    });
}

/// Runs one call over stdio with these settings; returns stderr.
fn stderr_of_a_call(settings: &[(&str, &str)]) -> String {
    let mut env = TestEnv::new(Db::Sqlite);
    for (name, value) in settings {
        env = env.with(name, value);
    }
    let mut command = env.command();
    command.arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let arguments = json!({ "book_id": BOOK, "path": LESSON, "content": "one" });
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "ed", "version": "1" } });
    let mut stdin = child.stdin.take().unwrap();
    for message in [
        json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "write_content", "arguments": arguments } }),
    ] {
        writeln!(stdin, "{message}").unwrap();
    }
    let mut answers = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(answers.find(|answer| answer.as_ref().unwrap().contains("created")).is_some());
    drop(stdin);
    String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()
}

#[test]
fn the_text_form_and_the_level_are_as_set() {
    let text = stderr_of_a_call(&[("PANAVERSITY_LOG_FORMAT", "text")]);
    let call = text.lines().find(|line| line.contains("write_content")).unwrap();
    let (at, rest) = call.split_at("2025-12-04T10:30:00Z".len());
    assert!(
        at.ends_with('Z') && rest.starts_with(" INFO  [panaversity_fs.tools.content] write_content "),
        "{call}"
    );
    assert!(rest.contains(&format!(" book_id={BOOK} path={LESSON} size=3 ")), "{call}");
    assert_eq!(stderr_of_a_call(&[("PANAVERSITY_LOG_LEVEL", "WARNING")]), "");
}

#[test]
fn a_request_id_joins_the_error_the_log_and_the_audit_entry_and_a_trace_id_the_caller_s_log() {
    logged("INFO", async |log| {
        let (env, _server, client) = fresh(Db::Sqlite).await;
        let large = "large\n".repeat(30_000);
        created(&client, LESSON, &large, json!({})).await;
        let hash = sha256(&large);
        std::fs::write(
            env.storage_root().join(".panaversity/objects").join(&hash[..2]).join(&hash),
            "damaged",
        )
        .unwrap();
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let call = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": "read_content", "arguments": { "book_id": BOOK, "path": LESSON } },
        });
        let header = format!("00-{trace}-00f067aa0ba902b7-01");
        let answer = client.post("/mcp", call.to_string(), &[("traceparent", &header)]).await.json();
        let error = &answer["result"]["structuredContent"]["error"];
        assert_eq!(error["code"], "CORRUPT", "{answer}");
        let request = error["request_id"].as_str().unwrap().to_owned();

        let arguments = json!({ "book_id": BOOK, "path": LESSON, "operation": "READ" });
        let entry = client.call("query_audit_log", arguments).await.expect_ok()["entries"][0].clone();
        assert_eq!((&entry["request_id"], &entry["status"]), (&json!(request), &json!("failed")));
        let about = || {
            let mut lines = parsed(&log.lines());
            lines.retain(|line| line["request_id"] == request.as_str());
            lines
        };
        until("the fault and the call are logged", async || about().len() == 2).await;
        for line in about() {
            assert_eq!(line["trace_id"], trace, "{line}");
        }
        assert!(
            parsed(&log.lines())
                .iter()
                .any(|line| line["trace_id"].is_null() && !line["request_id"].is_null())
        );
    });
}
