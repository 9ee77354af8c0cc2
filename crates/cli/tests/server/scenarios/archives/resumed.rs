//! Interrupted downloads: the rest is requested again, from any running server.

use std::collections::BTreeMap;

use serde_json::json;

use super::{ask, fill, header, http, linked, noise, path_of, unzipped};
use crate::fixtures::{fresh, sha256};
use crate::harness::{Db, Storage, TEST_TIMEOUT, TestBackend, TestClient, TestEnv};

on_every_backend!(a_download_cut_a_hundred_times_is_the_same_over_a_restart);

const CUTS: usize = 100;

/// A download that its client interrupts repeatedly.
struct Broken {
    path: String,
    tag: String,
    bytes: Vec<u8>,
    length: usize,
}

impl Broken {
    /// Continues the download and interrupts it at random, `cuts` times.
    async fn cut(&mut self, servers: &[TestClient], cuts: usize) {
        let random = noise(self.bytes.len() as u64 + 3, 2 * cuts).into_bytes();
        for pair in random.chunks(2) {
            let most = (self.length - self.bytes.len()) / 12 + 1;
            let until = 1 + (usize::from(pair[0]) * 256 + usize::from(pair[1])) % most;
            let server = &servers[usize::from(pair[0]) % servers.len()];
            let whole = self.read_on(server, until).await;
            assert!(!whole, "there was more to cut");
        }
    }

    /// Requests the rest and reads at least up to offset `until`, or all.
    async fn read_on(&mut self, server: &TestClient, until: usize) -> bool {
        let from = self.bytes.len();
        let range = format!("bytes={from}-");
        let headers = [("range", range.as_str()), ("if-range", self.tag.as_str())];
        let mut answer = ask(&http(), server, &self.path, &headers).await;
        assert_eq!(answer.status(), 206);
        assert_eq!(
            header(&answer, "content-range"),
            format!("bytes {from}-{}/{}", self.length - 1, self.length)
        );
        let mut got = 0;
        while got < until {
            let next = tokio::time::timeout(TEST_TIMEOUT, answer.chunk()).await.unwrap().unwrap();
            let Some(some) = next else { break };
            // Cut in the middle of the received bytes.
            let some = &some[..some.len().min(until - got)];
            got += some.len();
            self.bytes.extend_from_slice(some);
        }
        self.bytes.len() == self.length
    }
}

async fn broken(server: &TestClient) -> (Broken, BTreeMap<String, Vec<u8>>, String) {
    let client = server.client();
    let files = fill(&client, 12).await;
    let link = linked(&client, json!({})).await;
    let path = path_of(&link);
    let whole = ask(&http(), server, &path, &[]).await;
    let tag = header(&whole, "etag").to_owned();
    let whole = whole.bytes().await.unwrap();
    (Broken { path, tag, bytes: Vec::new(), length: whole.len() }, files, sha256(&whole))
}

async fn a_download_cut_a_hundred_times_is_the_same_over_a_restart(on: TestBackend) {
    let (env, server, _) = fresh(on).await;
    let (mut broken, files, hash) = broken(&server).await;
    broken.cut(&[server.client()], CUTS / 2).await;
    server.stop().await;
    let server = env.start().await;
    broken.cut(&[server.client()], CUTS / 2).await;
    assert!(broken.read_on(&server, usize::MAX).await);
    assert_eq!(sha256(&broken.bytes), hash);
    assert!(unzipped(&broken.bytes) == files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_from_three_servers_in_turn_is_that_of_one() {
    let env = TestEnv::new(TestBackend::new(Db::Postgres, Storage::S3));
    let servers = [env.start().await, env.start().await, env.start().await];
    let (mut broken, files, hash) = broken(&servers[0]).await;
    broken.cut(&servers.each_ref().map(|one| one.client()), CUTS).await;
    assert!(broken.read_on(&servers[2], usize::MAX).await);
    assert_eq!(sha256(&broken.bytes), hash);
    assert!(unzipped(&broken.bytes) == files);
}
