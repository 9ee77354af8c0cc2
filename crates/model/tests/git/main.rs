//! Differences, merges and blame compared with those of git, on random texts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod blame;
mod diff;
mod merge;
mod repository;
mod texts;
