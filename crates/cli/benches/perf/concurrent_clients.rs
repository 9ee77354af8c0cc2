//! Benchmarks of memory: many large files are transferred at once, and the server's memory stays
//! small. Each row is the server's peak during one load, and its duration.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::join_all;
use panaversity_testkit::s3;
use reqwest::{Body, Client, Response};
use serde_json::{Value, json};

use crate::server::BenchServer;
use crate::table::Table;
use panaversity_testkit::load::Connection;

const CROWD: usize = 32;
const LARGE: usize = 16 << 20;
const DIRECT: usize = 9 << 20;
const BOOK: &str = "concurrent-clients-book";
/// Bytes that a download reads of an archive.
const DOWNLOADED: usize = 64 << 20;
/// A slow client's read size, the delay between reads, and its duration.
const SLOW: (usize, Duration, Duration) = (256 << 10, Duration::from_millis(100), Duration::from_secs(5));
/// Maximum peak in MB; more would not be bounded by a few MiB per client.
const BAR_MB: f64 = 256.0;

pub(crate) async fn large_files(table: &mut Table) {
    on(table, "fs", BenchServer::on_sqlite().await).await;
    let bucket = s3::shared().create_bucket();
    on(table, "S3", BenchServer::on_bucket(&bucket).await).await;
}

async fn on(table: &mut Table, storage: &str, server: BenchServer) {
    let mut agent = Connection::open(&server.address).await;
    agent.call("create_book", json!({"book_id": BOOK, "schema": "docusaurus"})).await;
    let clients: Vec<Client> = (0..CROWD).map(client).collect();
    let mut row = async |what: String, concurrent_clients: &mut (dyn Future<Output = ()> + Unpin)| {
        server.forget_peak();
        let began = Instant::now();
        concurrent_clients.await;
        let (_, peak) = server.memory();
        let took = began.elapsed().as_secs_f64();
        let work = format!("{storage}: {CROWD} at once: {what}");
        table.add(
            &work,
            format!("peak {peak:.0} MB"),
            format!("in {took:.1} s"),
            format!("{BAR_MB} MB"),
            peak < BAR_MB,
        );
    };
    let uploads = join_all(clients.iter().enumerate().map(|(n, client)| upload(&server.address, client, n)));
    row("16 MiB put by a signed link".to_owned(), &mut Box::pin(async { drop(uploads.await) })).await;
    let direct = join_all((0..CROWD).map(|n| upload_inside(&server.address, n)));
    row("9 MiB in base64".to_owned(), &mut Box::pin(async { drop(direct.await) })).await;
    let assets = join_all(clients.iter().enumerate().map(|(n, client)| read_asset(&server, client, n)));
    row("16 MiB from static/".to_owned(), &mut Box::pin(async { drop(assets.await) })).await;
    let archive = agent.call("get_book_archive", json!({"book_id": BOOK})).await;
    let link = reached(&server.address, &archive["archive_url"]);
    let link = link.as_str();
    let fast = join_all(clients.iter().enumerate().map(|(n, client)| read_archive(client, link, n)));
    row("64 MiB of an archive".to_owned(), &mut Box::pin(async { drop(fast.await) })).await;
    let slow = join_all(clients.iter().map(|client| read_slowly(client, link)));
    row("an archive read at 2.5 MiB/s".to_owned(), &mut Box::pin(async { drop(slow.await) })).await;
}

/// A link of the server's own, with the server's port in place of the host that the load client
/// sent.
fn reached(address: &str, link: &Value) -> String {
    link.as_str().expect("a link").replacen("http://localhost/", &format!("http://{address}/"), 1)
}

/// Bytes that differ for every number.
fn bytes(number: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(number % 251).expect("a byte"); size];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    bytes
}

/// Local address of a client: no caller gets more than half of what a server has for all.
fn local_address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, u8::try_from(number + 1).expect("few clients"))
}

fn client(number: usize) -> Client {
    Client::builder().local_address(IpAddr::from(local_address(number))).build().expect("a client")
}

async fn upload(address: &str, client: &Client, number: usize) {
    let mut agent = Connection::open_from(local_address(number), address).await;
    let filename = format!("large-{number}.bin");
    let arguments =
        json!({"book_id": BOOK, "asset_type": "videos", "filename": filename, "file_size": LARGE});
    let permit = agent.call("upload_asset", arguments).await;
    let url = reached(address, &permit["upload_url"]);
    let mut put = client.put(url).body(Body::from(bytes(number, LARGE)));
    for (name, value) in permit["headers"].as_object().into_iter().flatten() {
        put = put.header(name, value.as_str().expect("text"));
    }
    let answer = put.send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
    let arguments = json!({"book_id": BOOK, "upload_id": permit["upload_id"]});
    assert_eq!(agent.call("complete_upload", arguments).await["file_size"], json!(LARGE));
}

async fn upload_inside(address: &str, number: usize) {
    let data: Value = BASE64.encode(bytes(1_000 + number, DIRECT)).into();
    let filename = format!("direct-{number}.bin");
    let arguments =
        json!({"book_id": BOOK, "asset_type": "videos", "filename": filename, "binary_data": data});
    let mut agent = Connection::open_from(local_address(number), address).await;
    agent.call("upload_asset", arguments).await;
}

async fn read_asset(server: &BenchServer, client: &Client, number: usize) {
    let url = format!("{}/books/{BOOK}/static/videos/large-{number}.bin", server.url());
    let mut answer = client.get(url).send().await.expect("an answer");
    assert_eq!(read(&mut answer, usize::MAX).await, LARGE);
}

/// Reads a range of the archive; each client starts at another offset.
async fn read_archive(client: &Client, link: &str, number: usize) {
    let from = number * (4 << 20) + number;
    let range = format!("bytes={from}-{}", from + DOWNLOADED - 1);
    let mut answer = client.get(link).header("range", range).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 206);
    assert_eq!(read(&mut answer, usize::MAX).await, DOWNLOADED);
}

async fn read_slowly(client: &Client, link: &str) {
    let mut answer = client.get(link).send().await.expect("an answer");
    let (bytes, pause, lasting) = SLOW;
    let began = Instant::now();
    while began.elapsed() < lasting {
        tokio::time::sleep(pause).await;
        assert!(read(&mut answer, bytes).await > 0, "it goes on");
    }
}

/// Reads at least `enough` bytes, or all there are.
async fn read(answer: &mut Response, enough: usize) -> usize {
    let mut seen = 0;
    while seen < enough {
        let Some(part) = answer.chunk().await.expect("the download goes on") else { break };
        seen += part.len();
    }
    seen
}
