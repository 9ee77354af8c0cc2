//! Several servers over one PostgreSQL: one of them sends, and another goes on when it ends.

use std::collections::BTreeMap;

use panaversity_testkit::postgres;
use serde_json::Value;

use super::{README, Reaction, Receiver, create_hook, hashes, hashes_of, numbered};
use crate::fixtures::text;
use crate::harness::{Db, ServerProcess, TestEnv, until};

/// Ends all leases, as if their time were over.
fn end_leases(env: &TestEnv) {
    postgres::shared().query(env.database_url(), "UPDATE hooks SET lease_until = clock_timestamp()");
}

/// Number of the server that has sent something.
async fn sender(servers: &[ServerProcess]) -> usize {
    for (n, server) in servers.iter().enumerate() {
        let metrics = server.get("/metrics").await.text();
        let sent = metrics.lines().filter(|line| line.starts_with("panaversityfs_webhook_deliveries_total"));
        if sent.into_iter().any(|line| !line.ends_with(" 0")) {
            return n;
        }
    }
    panic!("no server has sent anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_servers_one_sends_and_if_it_is_killed_another_goes_on_and_misses_nothing() {
    let env = TestEnv::new(Db::Postgres);
    let mut servers = vec![env.start_process().await, env.start_process().await, env.start_process().await];
    numbered(&servers[0], 0..=0).await;
    let receiver = Receiver::start().await;
    let hook = create_hook(&env, &receiver.url("/"));
    let mut written = 0;
    while servers.len() > 1 {
        numbered(&servers[0], written + 1..=written + 3).await;
        written += 3;
        until("they are sent", async || receiver.accepted().len() >= written).await;
        // In the middle of the next delivery the server that sends is killed.
        receiver.react([Reaction::Hang]);
        let before = receiver.deliveries().len();
        numbered(&servers[1], written + 1..=written + 2).await;
        written += 2;
        until("it hangs", async || receiver.deliveries().len() > before).await;
        let sends = sender(&servers).await;
        servers.remove(sends).kill9().await;
        end_leases(&env);
        until("another has sent them", async || receiver.accepted().len() >= written).await;
    }
    let mut firsts: Vec<Value> = Vec::new();
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    for delivery in receiver.deliveries() {
        delivery.require_signature(&hook.secret);
        let hash = text(&delivery.body["files"][0]["new_hash"]);
        if let Some(id) = ids.insert(hash, delivery.id.clone()) {
            assert_eq!(id, delivery.id, "sent again under the same id");
        } else {
            assert_eq!(delivery.body["files"][0]["path"], README);
            firsts.push(delivery.body);
        }
    }
    assert_eq!(hashes_of(&firsts), hashes(1..=written), "each, in the order of the commits");
    let again = receiver.deliveries().len() - written;
    assert!((2..=4).contains(&again), "those that hung, and at most what was not recorded: {again}");
}
