//! Tests of the store: every engine fulfils the contract (I11), the schema migrates up and down,
//! and tampering with the log is detected (R6).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod api_keys;
mod bucket;
mod changes;
mod engines;
mod folder;
mod link_keys;
mod lost_commits;
mod migrations;
mod pgbouncer;
mod power;
mod round_trips;
mod seaweed;
mod servers;
mod store_identity;
mod tampering;
mod tls;
mod web_sessions;
mod webhooks;
