//! Minimal HTTP client for signed URLs.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;

use panaversity_model::upload::SignedPut;

/// Uploads bytes to a signed URL, with the headers returned with it; returns the status.
pub async fn put(signed: &SignedPut, bytes: &[u8]) -> u16 {
    let (signed, bytes) = (signed.clone(), bytes.to_vec());
    let send = move || {
        let (host, target) = signed.url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut head = format!("PUT /{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        for (name, value) in &signed.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(head, "Content-Length: {}\r\n\r\n", bytes.len()).unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses may do so before it has read everything.
        let _ = stream.write_all(&bytes);
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        std::str::from_utf8(&start[9..]).unwrap().parse().unwrap()
    };
    tokio::task::spawn_blocking(send).await.unwrap()
}
