//! Memory stays bounded under concurrent load: the process's peak is read from the kernel. The
//! clients allocate little themselves, so that only the server's memory is measured.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixtures::{BOOK, fresh_process, text};
use crate::harness::{Db, ServerProcess};

const MIB: usize = 1 << 20;
/// Number of concurrent clients.
const CLIENTS: usize = 32;
/// Maximum peak memory of a server while all of them are served, in MiB. Most of it is for calls
/// that contain whole assets, of which two are served at a time.
const MOST: u64 = 300;

/// Peak memory of the server, in MiB.
fn peak(server: &ServerProcess) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() / 1024
}

#[track_caller]
fn bounded(server: &ServerProcess, after: &str) {
    let peak = peak(server);
    eprintln!("{after}: at most {peak} MiB");
    assert!(peak <= MOST, "{after}: {peak} MiB");
}

/// Sends a request in pieces; returns the answer's status and the first bytes of its body.
async fn send(address: &str, head: String, pieces: &[&[u8]]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let head = format!("{head}\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
    }
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => break,
            read if answer.len() < 4096 => answer.extend_from_slice(&buffer[..read]),
            _ => {}
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

/// Calls a tool whose arguments end in `last`.
async fn call(address: &str, tool: &str, arguments: Value, last: &[&[u8]]) -> (u16, String) {
    // The arguments are the last part of the message.
    let params = format!("{{\"name\":\"{tool}\",\"arguments\":{arguments}}}");
    let mut begin = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{params}}}");
    let end = begin.split_off(begin.len() - 3);
    let head = "POST /mcp HTTP/1.1\r\nContent-Type: application/json".to_owned();
    send(address, head, &[&[begin.as_bytes()], last, &[end.as_bytes()]].concat()).await
}

/// Runs all clients at the same time.
async fn all<F: Future<Output = (u16, String)>>(act: impl Fn(usize) -> F) {
    for (status, answer) in join_all((0..CLIENTS).map(act)).await {
        assert!((200..207).contains(&status), "{answer}");
        assert!(!answer.contains("\"isError\":true"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make torture"]
async fn memory_stays_bounded_while_32_clients_come_and_go() {
    let (_env, server, client) = fresh_process(Db::Sqlite).await;
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let asset = |n: usize| json!({ "book_id": BOOK, "asset_type": "videos", "filename": format!("{n}.mp4") });

    let shared: Arc<[u8]> = BASE64_STANDARD.encode(vec![7; 10 * MIB - 3]).into_bytes().into();
    all(|n| {
        let (address, shared, asset) = (address.clone(), shared.clone(), asset(n));
        async move {
            let own = format!(",\"binary_data\":\"A{n:03}");
            call(&address, "upload_asset", asset, &[own.as_bytes(), &shared, b"\""]).await
        }
    })
    .await;
    bounded(&server, "32 assets of 10 MiB came inside calls");

    all(|n| {
        let (address, mut asset) = (address.clone(), asset(n));
        asset["include_binary"] = true.into();
        async move { call(&address, "get_asset", asset, &[]).await }
    })
    .await;
    bounded(&server, "and went inside calls");

    all(|n| {
        let (address, path) = (address.clone(), format!("/books/{BOOK}/static/videos/{n}.mp4"));
        async move { send(&address, format!("GET {path} HTTP/1.1"), &[]).await }
    })
    .await;
    bounded(&server, "and were downloaded");

    let part = vec![9; MIB];
    let mut ids = Vec::new();
    for n in 0..CLIENTS {
        let announced = json!({ "book_id": BOOK, "asset_type": "videos", "filename": format!("large-{n}.mp4"), "file_size": 10 * MIB });
        let begun = client.call("upload_asset", announced).await.expect_ok();
        ids.push((text(&begun["upload_id"]), text(&begun["upload_url"]).replace(server.url(), "")));
    }
    all(|n| {
        let (address, target, parts) = (address.clone(), ids[n].1.clone(), vec![&part[..]; 10]);
        async move { send(&address, format!("PUT {target} HTTP/1.1"), &parts).await }
    })
    .await;
    all(|n| {
        let (address, arguments) = (address.clone(), json!({ "book_id": BOOK, "upload_id": ids[n].0 }));
        async move { call(&address, "complete_upload", arguments, &[]).await }
    })
    .await;
    bounded(&server, "and 32 uploads were put and completed");

    let announced =
        json!({ "book_id": BOOK, "asset_type": "videos", "filename": "whole.mp4", "file_size": 100 * MIB });
    let begun = client.call("upload_asset", announced).await.expect_ok();
    let target = text(&begun["upload_url"]).replace(server.url(), "");
    let (status, answer) = send(&address, format!("PUT {target} HTTP/1.1"), &vec![&part[..]; 100]).await;
    assert_eq!(status, 200, "{answer}");
    let complete = json!({ "book_id": BOOK, "upload_id": begun["upload_id"] });
    client.call("complete_upload", complete).await.expect_ok();
    bounded(&server, "and one of 100 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asset_of_100_mb_passes_without_being_held() {
    let (_env, server, client) = fresh_process(Db::Sqlite).await;
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let announced =
        json!({ "book_id": BOOK, "asset_type": "videos", "filename": "whole.mp4", "file_size": 100 * MIB });
    let begun = client.call("upload_asset", announced).await.expect_ok();
    let before = peak(&server);
    let target = text(&begun["upload_url"]).replace(server.url(), "");
    let part = vec![9; MIB];
    let (status, answer) = send(&address, format!("PUT {target} HTTP/1.1"), &vec![&part[..]; 100]).await;
    assert_eq!(status, 200, "{answer}");
    let complete = json!({ "book_id": BOOK, "upload_id": begun["upload_id"] });
    client.call("complete_upload", complete).await.expect_ok();
    server.all_published().await;
    let (status, _) =
        send(&address, format!("GET /books/{BOOK}/static/videos/whole.mp4 HTTP/1.1"), &[]).await;
    assert_eq!(status, 200);
    let more = peak(&server) - before;
    eprintln!("100 MiB in, through and out: {more} MiB more than the {before} MiB before");
    assert!(more <= 32, "{more} MiB more");
}
