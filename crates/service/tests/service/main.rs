//! Tests of the service: the crash matrix (I9, I10), the use cases over the fakes, and random walks with
//! random failures (R2, R3, R5).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod fixture;
mod invariants;
mod matrix;
mod properties;
mod trees;
mod use_cases;
