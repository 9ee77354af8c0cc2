//! Validity of links: they open what they were signed for, while they are valid, and nothing else;
//! and the end of a download that takes too long.

use std::time::Duration;

use reqwest::{Method, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::{ask, download, fill, header as of, http, linked, path_of};
use crate::fixtures::{created, fresh, sha256};
use crate::harness::{Db, TEST_TIMEOUT, TestBackend, TestEnv, until};

on_every_backend!(an_archive_answers_as_a_file_does);

on_one_backend!(whatever_is_changed_in_a_link_closes_it);

async fn whatever_is_changed_in_a_link_closes_it(on: TestBackend) {
    let (_env, server, client) = fresh(on).await;
    let http = http();
    created(&client, "content/README.md", "a page", json!({})).await;
    let old = linked(&client, json!({})).await;
    created(&client, "content/index.md", "another", json!({})).await;
    let link = path_of(&linked(&client.clone().of_agent("builder-9"), json!({})).await);
    let (path, query) = link.split_once('?').unwrap();
    let pairs: Vec<(&str, &str)> = query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    let names: Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["manifest", "scope", "layout", "agent", "expires", "signature"]);
    let mut changed = vec![
        link.replace("ai-python", "ai-pythoo"),
        path.to_owned(),
        format!("{link}&more=1"),
        link.replace("scope=all", "scope=all&scope=all"),
        link.replace("scope=all", "scope=assets"),
        link.replace("builder-9", "somebody"),
        link.replace(pairs[0].1, old["manifest_hash"].as_str().unwrap()),
        link.replace(pairs[2].1, &sha256("another layout")),
    ];
    for (n, (name, value)) in pairs.iter().enumerate() {
        let without: Vec<_> =
            pairs.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, (a, b))| format!("{a}={b}")).collect();
        changed.push(format!("{path}?{}", without.join("&")));
        let flip = if value.ends_with('1') { "2" } else { "1" };
        let other = format!("{}{flip}", &value[..value.len() - 1]);
        changed.push(link.replace(&format!("{name}={value}"), &format!("{name}={other}")));
    }
    for changed in &changed {
        let answer = ask(&http, &server, changed, &[]).await;
        assert_eq!(answer.status(), 403, "{changed}");
        let error: Value = answer.json().await.unwrap();
        assert_eq!(error["error"]["code"], "FORBIDDEN");
    }
    assert_eq!(changed.len(), 20);
    download(&server, &link).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_closes_when_its_time_is_over() {
    let env = TestEnv::new(Db::Sqlite).with("PANAVERSITY_PRESIGN_EXPIRY_SECONDS", "1");
    let server = env.start().await;
    let client = server.client();
    created(&client, "content/README.md", "a page", json!({})).await;
    let link = linked(&client, json!({})).await;
    assert_eq!(link["valid_for_seconds"], 1);
    let (http, path) = (http(), path_of(&link));
    until("the link is closed", async || ask(&http, &server, &path, &[]).await.status() == 403).await;
    let error: Value = ask(&http, &server, &path, &[]).await.json().await.unwrap();
    assert_eq!(error["error"]["message"], "The link has expired.");
}

async fn an_archive_answers_as_a_file_does(on: TestBackend) {
    let (_env, server, client) = fresh(on).await;
    fill(&client, 1).await;
    let path = path_of(&linked(&client, json!({})).await);
    let (http, whole) = (http(), download(&server, &path).await);
    let length = whole.len().to_string();
    let all = ask(&http, &server, &path, &[]).await;
    let tag = of(&all, "etag").to_owned();
    assert_eq!((of(&all, "content-length"), of(&all, "accept-ranges")), (length.as_str(), "bytes"));
    assert_eq!(of(&all, "content-type"), "application/zip");
    assert_eq!(of(&all, "content-disposition"), r#"attachment; filename="ai-python.zip""#);
    assert_eq!(of(&all, "cache-control"), "private");
    assert!(tag.len() == 66 && tag.starts_with('"'), "a strong tag: {tag}");

    let url = format!("{}{path}", server.url());
    let head = http.request(Method::HEAD, &url).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), of(&head, "content-length"), of(&head, "etag")),
        (200, length.as_str(), tag.as_str())
    );
    assert!(head.bytes().await.unwrap().is_empty());

    let part = ask(&http, &server, &path, &[("range", "bytes=1000-300999"), ("if-range", &tag)]).await;
    assert_eq!((part.status().as_u16(), of(&part, "content-length")), (206, "300000"));
    assert_eq!(of(&part, "content-range"), format!("bytes 1000-300999/{length}"));
    assert!(part.bytes().await.unwrap() == whole[1_000..301_000]);
    let last = ask(&http, &server, &path, &[("range", "bytes=-22")]).await;
    assert!(last.bytes().await.unwrap() == whole[whole.len() - 22..]);
    let other = ask(&http, &server, &path, &[("range", "bytes=5-9"), ("if-range", "\"other\"")]).await;
    assert_eq!((other.status().as_u16(), of(&other, "content-length")), (200, length.as_str()));
    let beyond = ask(&http, &server, &path, &[("range", &format!("bytes={length}-"))]).await;
    assert_eq!(
        (beyond.status().as_u16(), of(&beyond, "content-range")),
        (416, format!("bytes */{length}").as_str())
    );
    let same = ask(&http, &server, &path, &[(header::IF_NONE_MATCH.as_str(), &tag)]).await;
    let head = http.request(Method::HEAD, &url).header(header::IF_NONE_MATCH, &tag).send().await.unwrap();
    for unsent in [&same, &head] {
        let told = of(unsent, "content-length");
        assert!(unsent.status().as_u16() == 304 && ["", &length].contains(&told), "{told}");
    }
    assert!(same.bytes().await.unwrap().is_empty());
}

/// Reads the beginning of an answer and then no more, with a small receive buffer.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_whose_client_stops_reading_ends_when_its_time_is_over() {
    let env = TestEnv::new(Db::Sqlite).with("PANAVERSITY_ARCHIVE_TIMEOUT_SECONDS", "2");
    let server = env.start().await;
    let client = server.client();
    fill(&client, 40).await;
    let path = path_of(&linked(&client, json!({})).await);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 1_000];
    stream.read_exact(&mut start).await.unwrap();
    assert!(start.starts_with(b"HTTP/1.1 200"));
    let held = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("panaversityfs_archive_memory_bytes")).unwrap();
        line.split_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    let while_it_waits = held(&server.get("/metrics").await.text());
    let ended = r#"panaversityfs_archive_total{book_id="ai-python",scope="all",status="timeout"} 1"#;
    until("the download is over", async || server.get("/metrics").await.text().contains(ended)).await;
    let (mut rest, mut bytes) = (vec![0; 1 << 16], 0);
    let reading = async {
        loop {
            match stream.read(&mut rest).await {
                Ok(0) | Err(_) => break,
                Ok(more) => bytes += more,
            }
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, reading).await.expect("the connection is closed");
    assert!(bytes < 15 << 20, "{bytes} of 16 million bytes came");
    until("what it held is given back", async || {
        let now = held(&server.get("/metrics").await.text());
        now < while_it_waits && now < f64::from(1 << 20)
    })
    .await;
    tokio::time::timeout(Duration::from_secs(30), server.stop()).await.expect("nothing keeps it");
}
