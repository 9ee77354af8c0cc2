//! Benchmarks of the archive of a book of 500 files and 200 MB, against `zip -r` and `cat` of the
//! same files in the same minute, and its memory (R4).

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use panaversity_testkit::s3;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{BenchServer, folder};
use crate::table::Table;
use panaversity_testkit::load::Connection;

const LESSONS: usize = 350;
const IMAGES: usize = 150;
const IMAGE_BYTES: usize = 1_290_000;
const DOWNLOADS: usize = 5;
/// Maximum peak memory of a server, in MB.
const MOST_MEMORY: f64 = 64.0;

pub(crate) async fn archives(table: &mut Table) {
    let work = folder();
    let source = work.join("book");
    generate(&source);
    let server = BenchServer::on_sqlite().await;
    one_storage(table, "fs", server, &source).await;
    let bucket = s3::shared().create_bucket();
    let server = BenchServer::on_bucket(&bucket).await;
    one_storage(table, "S3", server, &source).await;
}

async fn one_storage(table: &mut Table, storage: &str, server: BenchServer, source: &Path) {
    upload(&server, source).await;
    // A fresh process, so that its memory is that of archives alone.
    let server = server.restarted().await;
    let (_, before) = server.memory();
    let mut times = Vec::with_capacity(DOWNLOADS);
    let mut bytes = 0;
    for _ in 0..DOWNLOADS {
        let began = Instant::now();
        bytes = download(&server).await;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let (zip, cat) = (zip_r(source), cat(source));
    let yardstick = format!("zip -r: {zip:.0} ms, cat: {cat:.0} ms");
    let name = format!("archive, 500 files / {} MB, {storage}, link and download", bytes / 1_000_000);
    table.at_most(&name, times[DOWNLOADS / 2], yardstick, zip / 4.0);
    let (_, peak) = server.memory();
    let (name, idle) = (format!("archive, {storage}, memory at its peak"), format!("idle: {before:.0} MB"));
    table.add(&name, format!("{peak:.0} MB"), idle, format!("{MOST_MEMORY:.0} MB"), peak < MOST_MEMORY);
}

/// Bytes that do not compress, like those of images.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes.div_ceil(8)).flat_map(|_| word()).take(bytes).collect()
}

fn generate(folder: &Path) {
    let words = "Every chapter begins with what the reader already knows and ends where the next begins. ";
    let put = |path: String, bytes: &[u8]| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a write");
    };
    for n in 0..LESSONS {
        let text = format!("# Lesson {n}\n\n{}", words.repeat(100 + n * 37 % 250));
        put(format!("content/{:02}/{n:03}.md", n / 20), text.as_bytes());
    }
    for n in 0..IMAGES {
        put(format!("static/img/{n:03}.png"), &noise(n as u64, IMAGE_BYTES));
    }
}

async fn upload(server: &BenchServer, source: &Path) {
    let mut connection = Connection::open(&server.address).await;
    connection.call("create_book", json!({ "book_id": "bench-book", "schema": "docusaurus" })).await;
    for n in 0..LESSONS {
        let path = format!("content/{:02}/{n:03}.md", n / 20);
        let text = std::fs::read_to_string(source.join(&path)).expect("a lesson");
        let write = json!({ "book_id": "bench-book", "path": path, "content": text });
        connection.call("write_content", write).await;
    }
    for n in 0..IMAGES {
        let name = format!("{n:03}.png");
        let bytes = std::fs::read(source.join("static/img").join(&name)).expect("an image");
        let upload = json!({
            "book_id": "bench-book", "asset_type": "img", "filename": name,
            "binary_data": BASE64_STANDARD.encode(bytes),
        });
        connection.call("upload_asset", upload).await;
    }
}

/// Requests a link and downloads it; returns the number of bytes.
async fn download(server: &BenchServer) -> u64 {
    let link = Connection::open(&server.address)
        .await
        .call("get_book_archive", json!({ "book_id": "bench-book" }))
        .await;
    assert_eq!(link["status"], "success");
    let url = link["archive_url"].as_str().expect("a link");
    let path = &url[url.find("/books/").expect("a path")..];
    let mut stream = TcpStream::connect(&server.address).await.expect("the server listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let (mut room, mut bytes, mut head) = (vec![0; 1 << 18], 0, None);
    loop {
        let read = stream.read(&mut room).await.expect("the server answers");
        if read == 0 {
            break;
        }
        head.get_or_insert_with(|| {
            assert!(room.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&room[..read.min(300)]));
            room.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") as u64 + 4
        });
        bytes += read as u64;
    }
    let body = bytes - head.unwrap_or_default();
    assert_eq!(Some(body), link["archive_size_bytes"].as_u64());
    body
}

fn zip_r(source: &Path) -> f64 {
    let archive = source.with_extension("zip");
    let began = Instant::now();
    let done = Command::new("zip").args(["-r", "-q"]).arg(&archive).arg(".").current_dir(source).status();
    assert!(done.expect("zip is installed").success());
    let took = began.elapsed().as_secs_f64() * 1e3;
    std::fs::remove_file(archive).expect("the archive goes");
    took
}

fn cat(source: &Path) -> f64 {
    let began = Instant::now();
    let mut all = Command::new("sh");
    all.args(["-c", "find . -type f -exec cat {} + | cat"]).current_dir(source).stdout(Stdio::null());
    assert!(all.status().expect("sh").success());
    began.elapsed().as_secs_f64() * 1e3
}
