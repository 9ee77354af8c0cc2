//! Arguments are read by value, not by spelling: each optional argument of each tool, left out in every
//! way that clients use, and each number and boolean as text.

use panaversity_model::ContentHash;
use serde_json::{Value, json};

use super::{Client, LESSON};
use crate::mcp::tools;

/// Fields of an answer that differ each time.
const NEW_EACH_TIME: [&str; 6] =
    ["archive_url", "expires_at", "upload_id", "upload_url", "next_since", "entries_checked"];

/// Arguments with which each tool succeeds repeatedly.
fn good(tool: &str) -> Value {
    let asset = json!({ "book_id": "ai-python", "asset_type": "img", "filename": "a.svg" });
    let page = json!({ "book_id": "ai-python", "path": LESSON });
    let with = |mut all: Value, name: &str, value: Value| {
        all[name] = value;
        all
    };
    match tool {
        "read_content" | "list_history" | "blame_content" => page,
        "write_content" => with(page, "content", "x".into()),
        "edit_content" => with(page, "edits", json!([{ "old_text": "x", "new_text": "x" }])),
        "apply_changes" => {
            let changes = json!([{ "op": "delete", "path": "content/none.md" }]);
            json!({ "book_id": "ai-python", "changes": changes })
        }
        "restore_content" => with(page, "hash", ContentHash::of(b"x").to_string().into()),
        "delete_content" => json!({ "book_id": "ai-python", "path": "content/none.md" }),
        "upload_asset" => with(asset, "binary_data", "PHN2Zy8+".into()),
        "complete_upload" => json!({ "book_id": "ai-python", "upload_id": "of no upload" }),
        "get_asset" => asset,
        "delete_asset" => with(asset, "filename", "none.svg".into()),
        "glob_search" => json!({ "book_id": "ai-python", "pattern": "**" }),
        "grep_search" => json!({ "book_id": "ai-python", "pattern": "x" }),
        "delta_build" => json!({ "book_id": "ai-python", "since": "2000-01-01T00:00:00Z" }),
        // Its answer grows with every call, but not for an agent that makes no other calls.
        "query_audit_log" => json!({ "agent_id": "first-writer" }),
        _ => json!({ "book_id": "ai-python" }),
    }
}

fn settled(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|name, _| !NEW_EACH_TIME.contains(&name.as_str()));
            fields.values_mut().for_each(|field| *field = settled(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = settled(item.take())),
        _ => {}
    }
    value
}

/// A client whose book has a page and an asset, written by `first-writer`.
async fn client_with_a_book() -> Client {
    let client = Client::new().await;
    for tool in ["write_content", "upload_asset"] {
        client.call_as("\r\nX-Agent-Id: first-writer", tool, good(tool)).await;
    }
    client
}

fn optional(tool: &tools::Spec) -> Vec<(&'static str, Value)> {
    let signature = tool.signature();
    let schema = &tools::ADVERTISED.iter().find(|one| one.name == tool.name).unwrap().input_schema;
    let kind =
        |name: &str| schema["properties"].get(name).unwrap_or(&json!({ "type": "string" }))["type"].clone();
    let names = signature.advertised.iter().chain(signature.earlier);
    names.filter(|name| !signature.required.contains(name)).map(|name| (*name, kind(name))).collect()
}

#[tokio::test]
async fn null_or_an_empty_text_is_as_good_as_left_out_in_every_tool() {
    let client = client_with_a_book().await;
    let mut tried = 0;
    for tool in &tools::ALL {
        for (name, _) in optional(tool) {
            let mut arguments = good(tool.name);
            // `good` includes it, because without it the call would differ.
            arguments.as_object_mut().unwrap().remove(name);
            let expected = settled(client.call(tool.name, arguments.clone()).await);
            for left_out in [Value::Null, "".into()] {
                if name == "user_id" && left_out != Value::Null {
                    continue;
                }
                arguments[name] = left_out.clone();
                let wrapped = json!({ "params": arguments });
                for arguments in [arguments.clone(), wrapped] {
                    let answer = client.call(tool.name, arguments).await;
                    if tool.name != "query_audit_log" || name != "agent_id" {
                        assert_eq!(settled(answer), expected, "{} {name}={left_out}", tool.name);
                    } else {
                        assert!(answer["entries"].is_array(), "{answer}");
                    }
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[tokio::test]
async fn an_empty_user_id_is_refused_so_that_nothing_lands_in_the_base() {
    let client = client_with_a_book().await;
    let mut tried = 0;
    for tool in &tools::ALL {
        if optional(tool).iter().any(|(name, _)| *name == "user_id") {
            let mut arguments = good(tool.name);
            arguments["user_id"] = "".into();
            let error = client.call(tool.name, arguments).await["error"].clone();
            assert_eq!((&error["code"], &error["argument"]), (&json!("INVALID_ARGUMENT"), &json!("user_id")));
            assert!(error["hint"].as_str().unwrap().starts_with("Leave user_id out"), "{error}");
            tried += 1;
        }
    }
    assert!(tried >= 6, "{tried}");
}

#[tokio::test]
async fn a_number_or_a_boolean_may_come_as_text_in_every_tool() {
    let client = client_with_a_book().await;
    for tool in &tools::ALL {
        for (name, kind) in optional(tool) {
            let (typed, texts): (Value, Vec<Value>) = match kind.as_str().unwrap() {
                "integer" => {
                    (7.into(), vec!["7".into(), " 7 ".into(), "7.0".into(), 7.0.into(), "7e0".into()])
                }
                "boolean" => (true.into(), vec!["true".into(), "True".into(), " TRUE\n".into()]),
                _ => continue,
            };
            let mut arguments = good(tool.name);
            if name == "file_size" {
                arguments.as_object_mut().unwrap().remove("binary_data");
                arguments["filename"] = "new.svg".into();
            }
            if name == "all_books" {
                arguments.as_object_mut().unwrap().remove("book_id");
            }
            arguments[name] = typed;
            let expected = settled(client.call(tool.name, arguments.clone()).await);
            assert!(expected.get("error").is_none(), "{expected}");
            for text in texts {
                arguments[name] = text.clone();
                let answer = settled(client.call(tool.name, arguments.clone()).await);
                assert_eq!(answer, expected, "{} {name}={text}", tool.name);
            }
            for bad in ["7x", "0x7", "7.5", "-7", "yes", "1", "NaN", "٧"] {
                if kind == "integer" && bad == "1" {
                    continue;
                }
                arguments[name] = bad.into();
                let error = client.call(tool.name, arguments.clone()).await["error"].clone();
                assert_eq!(error["argument"], name, "{} {name}={bad}: {error}", tool.name);
                assert_eq!(error["hint"], "Correct it, or leave it out, and repeat the call");
            }
        }
    }
}

#[tokio::test]
async fn an_empty_text_for_a_required_argument_is_a_value() {
    let client = Client::new().await;
    let write = json!({ "book_id": "ai-python", "path": "content/README.md", "content": "" });
    assert_eq!(client.call("write_content", write).await["file_size"], 0);
    let error = client.call("read_content", json!({ "book_id": "" })).await["error"].clone();
    assert_eq!(error["hint"], "Correct this argument and repeat the call", "{error}");
    let error = client.call("read_content", json!({ "path": LESSON })).await["error"].clone();
    assert_eq!(error["hint"], "Give this argument and repeat the call", "{error}");
    let error = client.call("list_books", json!({ "bok_id": "ai-python" })).await["error"].clone();
    assert!(error["hint"].as_str().unwrap().starts_with("Leave it out, or give it the name"), "{error}");
    let error = client.call("list_books", json!({ "bok_id": null })).await["error"].clone();
    assert_eq!(error["argument"], "bok_id", "an unknown name is a mistake, whatever it holds");
}

#[tokio::test]
async fn a_span_of_the_audit_log_has_two_names_and_takes_one_at_a_time() {
    let client = client_with_a_book().await;
    let count = async |arguments: Value| {
        let found = client.call("query_audit_log", arguments).await;
        found["entries"].as_array().unwrap_or_else(|| panic!("{found}")).len()
    };
    for (since, until) in [("since", "until"), ("from", "to"), ("since", "to")] {
        let all =
            json!({ "operation": "WRITE", since: "2000-01-01T00:00:00Z", until: "2100-01-01T00:00:00Z" });
        assert_eq!(count(all).await, 1);
        assert_eq!(count(json!({ "operation": "WRITE", since: "2100-01-01T00:00:00Z" })).await, 0);
        assert_eq!(count(json!({ "operation": "WRITE", until: "2000-01-01T00:00:00Z" })).await, 0);
    }
    assert_eq!(count(json!({ "operation": "WRITE", "since": "2000-01-01T00:00:00Z", "from": "" })).await, 1);
    for (name, earlier) in [("since", "from"), ("until", "to")] {
        let both = json!({ name: "2000-01-01T00:00:00Z", earlier: "2000-01-01T00:00:00Z" });
        let error = client.call("query_audit_log", both).await["error"].clone();
        assert_eq!(error["argument"], earlier);
        assert!(error["hint"].as_str().unwrap().contains("leave it out"), "{error}");
    }
}
