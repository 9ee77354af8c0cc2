//! Tests of the server through its public interfaces: whole servers in this process, and the real binary where
//! the process is what is tested.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod auth;
mod crashes;
mod faults;
mod fixtures;
mod gc_races;
mod harness;
mod history;
mod inputs;
mod operations;
mod pipeline;
mod publishers;
mod races;
mod scenarios;
mod surface;
mod tampering;
mod web;
mod webhooks;
