//! The client library against a whole server in this process, with a faulty proxy between them: what
//! `ingest` and `hydrate` do, what they never touch, and what a fault leaves.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod author;
mod faulty_proxy;
mod hydrate;
mod ingest;
mod test_server;
