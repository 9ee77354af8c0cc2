//! Shares of callers, by address: one that sends or reads nothing holds half of the uploads by link and half of
//! the parts of downloads, is refused more, and leaves the other half to others.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::fixtures::{BOOK, fresh, text};
use crate::harness::{Db, Server, Storage, TestBackend, TestClient, until};

const FIRST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Uploads that a server receives at once, and parts of downloads that it holds at once.
const UPLOADS: usize = 32;
const PARTS: usize = 64;
/// More than the buffers of a connection take.
const LARGE: usize = 24 << 20;
/// Receive buffer of a client that reads nothing.
const SMALL_BUFFER: u32 = 4 << 10;

/// A connection from this address to the server.
async fn connect(from: Ipv4Addr, server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(SMALL_BUFFER).unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(host(server).parse().unwrap()).await.unwrap()
}

fn host(server: &Server) -> &str {
    server.url().strip_prefix("http://").unwrap()
}

/// Announces an upload of so many bytes; returns its path on the server, and the answer.
async fn announced(client: &TestClient, name: &str, bytes: usize) -> (String, Value) {
    let asset = json!({ "book_id": BOOK, "asset_type": "videos", "filename": name, "file_size": bytes });
    let begun = client.call("upload_asset", asset).await.expect_ok();
    (text(&begun["upload_url"]).replace(client.url(), ""), begun)
}

/// Sends a request with a body; returns the status, the head and the body of the answer.
async fn send(from: Ipv4Addr, server: &Server, request: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = connect(from, server).await;
    let (host, length) = (host(server), body.len());
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer[end + 4..].to_vec())
}

/// The code of a refusal with a time after which to try again.
fn code((_, head, body): &(u16, String, Vec<u8>)) -> String {
    assert!(head.contains("\r\nretry-after: "), "{head}");
    text(&serde_json::from_slice::<Value>(body).unwrap()["error"]["code"])
}

/// Begins an upload that sends nothing, and waits until it is being received.
async fn stuck(from: Ipv4Addr, server: &Server, target: &str) -> TcpStream {
    let mut stream = connect(from, server).await;
    let head = format!(
        "PUT {target} HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n",
        host(server)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; 25];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(said, *b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_with_stuck_uploads_leaves_half_of_them_to_others() {
    let (_env, server, client) = fresh(TestBackend::new(Db::Sqlite, Storage::Fs)).await;
    let mut targets = Vec::new();
    for n in 0..UPLOADS {
        targets.push(announced(&client, &format!("{n}.mp4"), 1_000).await.0);
    }
    let (own, others) = targets.split_at(UPLOADS / 2);
    let mut sending = Vec::new();
    for target in own {
        sending.push(stuck(FIRST, &server, target).await);
    }
    let put = async |from, target: &str| send(from, &server, &format!("PUT {target}"), &[7; 1_000]).await;
    let refused = put(FIRST, &others[0]).await;
    assert_eq!((refused.0, code(&refused).as_str()), (429, "RATE_LIMITED"), "{}", refused.1);
    for target in &others[1..] {
        assert_eq!(put(SECOND, target).await.0, 200);
    }
    drop(sending.pop());
    until("an upload that broke off makes room", async || put(FIRST, &others[0]).await.0 == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_reads_no_download_leaves_half_of_the_parts_to_others() {
    let (_env, server, client) = fresh(TestBackend::new(Db::Sqlite, Storage::Fs)).await;
    let mut paths = Vec::new();
    for (name, bytes) in [("small.mp4", 1_000), ("large.mp4", LARGE)] {
        let (target, begun) = announced(&client, name, bytes).await;
        assert_eq!(send(SECOND, &server, &format!("PUT {target}"), &vec![7; bytes]).await.0, 200);
        let complete = json!({ "book_id": BOOK, "upload_id": begun["upload_id"] });
        client.call("complete_upload", complete).await.expect_ok();
        paths.push(text(&begun["cdn_url"]).replace(client.url(), ""));
    }
    let (small, large) = (format!("GET {}", paths[0]), format!("GET {}", paths[1]));

    let mut unread = Vec::new();
    let refused = loop {
        let mut stream = connect(FIRST, &server).await;
        let head = format!("{large} HTTP/1.1\r\nHost: {}\r\n\r\n", host(&server));
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut begin = [0; 13];
        stream.read_exact(&mut begin).await.unwrap();
        if begin != *b"HTTP/1.1 200 " {
            break begin;
        }
        unread.push(stream);
        assert!(unread.len() <= PARTS, "nobody is refused");
    };
    assert_eq!(refused, *b"HTTP/1.1 503 ", "{}", String::from_utf8_lossy(&refused));
    let (status, _, body) = send(SECOND, &server, &large, b"").await;
    assert_eq!((status, body.len()), (200, LARGE), "another caller is served");
    let refused = send(FIRST, &server, &large, b"").await;
    assert_eq!((refused.0, code(&refused).as_str()), (503, "TIMEOUT"), "{}", refused.1);
    assert_eq!(send(FIRST, &server, &small, b"").await.0, 200, "a small file needs no part");
    drop(unread);
    assert_eq!(send(FIRST, &server, &large, b"").await.0, 200, "its parts are free again");
}
