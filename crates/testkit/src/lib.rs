//! Test support: fakes of every port, fault injection for any port call, the contract suites that
//! fakes and engines both pass (I11), a private `PostgreSQL` and a private S3.
//!
//! Test code only: it panics where a test should fail, so nothing here may be linked into the
//! server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "test code fails by panicking"
)]

pub mod client;
pub mod clock;
pub mod contract;
pub mod disk;
pub mod faults;
pub mod memory;
pub mod postgres;
pub mod proxy;
pub mod s3;
pub mod samples;
pub mod seaweed;

pub use clock::{TestClock, TestIds};
pub use faults::{FaultMode, Faults, FaultyInbox, FaultyJournal, FaultyObjects, FaultyTree};
pub use memory::{MemoryInbox, MemoryJournal, MemoryObjects, MemoryTree};
