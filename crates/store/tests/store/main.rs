//! The store's tests: every engine keeps the contract (I11), the schema goes forward and back,
//! and tampering behind the log's back is found (R6).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod bucket;
mod changes;
mod engines;
mod folder;
mod migrations;
mod power;
mod seaweed;
mod servers;
mod store_identity;
mod tampering;
