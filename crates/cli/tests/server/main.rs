//! Tests of the server: the real binary, called through its public interfaces.

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
