//! The server's tests: the real binary, asked through its doors as its users ask it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod collecting;
mod crashes;
mod faults;
mod harness;
mod history;
mod inputs;
mod lessons;
mod operations;
mod pipeline;
mod publishers;
mod races;
mod scenarios;
mod surface;
mod tampering;
