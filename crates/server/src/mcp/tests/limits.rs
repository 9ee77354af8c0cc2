//! Tests of the limits of a call: its memory and its time.

use super::*;

#[tokio::test]
async fn an_asset_inside_an_answer_costs_no_more_than_its_turn() {
    let client = Client::new().await;
    let asset = json!({ "book_id": "ai-python", "asset_type": "img", "filename": "a.png" });
    let (bytes, mut put, mut get) = (300_000, asset.clone(), asset);
    put["binary_data"] = BASE64_STANDARD.encode(vec![7; bytes]).into();
    client.call("upload_asset", put).await;
    get["include_binary"] = true.into();
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "get_asset", "arguments": get } });
    let answer = client.post("", message.to_string()).await.body.to_string().len() as u64;
    let (held, turn) = (2 * answer, assets::COST_OF_AN_ANSWER * bytes as u64);
    assert!(answer > 2 * bytes as u64 && held <= turn, "{held} bytes, as values and written out; {turn}");
}

#[tokio::test]
async fn an_asset_too_large_for_an_answer_waits_for_no_turn() {
    let client = Client::new().await;
    let service = &client.app.service;
    let (book, path) = (BookId::parse("ai-python").unwrap(), BookPath::parse("static/videos/a.mp4").unwrap());
    let size = service.limits().direct_bytes + 1;
    let caller = service.caller(Principal::unrestricted(AgentId::unnamed()));
    let ended = service.run(caller, Operation::Upload, async |call| {
        let access = call.may_write(book, Layer::Base)?;
        let announce =
            Announce { access: access.clone(), path, size, sha256: None, expected: None, own_route: true };
        let begun = call.begin_upload(announce, Duration::from_hours(1)).await?;
        let Announcement::Begun(upload, _) = begun else { panic!("nothing is there yet") };
        let mut incoming = call.receive(&upload).await?;
        incoming.write(&vec![7; usize::try_from(size).unwrap()]).await?;
        incoming.finish().await?;
        call.complete_upload(&access, upload.announced.id).await
    });
    ended.await.result.unwrap();
    let _all = client.app.budget.acquire(u64::MAX).await;
    let get = json!({ "book_id": "ai-python", "asset_type": "videos", "filename": "a.mp4", "include_binary": true });
    let refused = tokio::time::timeout(Duration::from_secs(20), client.refused("get_asset", get)).await;
    assert_eq!(refused.expect("it is refused at once").0, "TOO_LARGE");
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends_and_tells_whether_it_may_have_changed_something() {
    let client = Client::with_call_timeout(Duration::from_millis(300)).await;
    let asset = json!({ "book_id": "ai-python", "asset_type": "img", "filename": "a.png" });
    let (mut put, mut get) = (asset.clone(), asset);
    put["binary_data"] = BASE64_STANDARD.encode(vec![7; 1_000_000]).into();
    get["include_binary"] = true.into();
    client.call("upload_asset", put).await;
    let all = client.app.budget.acquire(u64::MAX).await;
    let late = client.call("get_asset", get.clone()).await;
    assert_eq!((&late["error"]["code"], &late["error"]["outcome"]), (&json!("TIMEOUT"), &Value::Null));
    drop(all);
    assert_eq!(client.call("get_asset", get).await["file_size"], 1_000_000, "the next one has its own time");
    let newest = client.call("query_audit_log", json!({ "status": "failed" })).await;
    assert_eq!(newest["entries"][0]["error_code"], "TIMEOUT", "{newest}");

    let write = |book: &str| json!({ "book_id": book, "path": LESSON, "content": "one" });
    // The schema of an unknown book is read before the commit, that of the other is known.
    client.call("write_content", write("ai-python")).await;
    for (book, outcome) in [("other-book", Value::Null), ("ai-python", json!("unknown"))] {
        client.faults.reset();
        client.faults.arm(0, FaultMode::Hang);
        let late = client.call("write_content", write(book)).await;
        assert_eq!((&late["error"]["code"], &late["error"]["outcome"]), (&json!("TIMEOUT"), &outcome));
    }
}
