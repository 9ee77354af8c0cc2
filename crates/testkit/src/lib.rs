//! Test support: a private journal on `SQLite`, fakes of the storage's ports, fault injection for any port
//! call, the contract suites that fakes and engines both pass (I11), a private `PostgreSQL` and a private S3.
//!
//! Test code only: it panics where a test should fail, so nothing here may be linked into the
//! server.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use std::sync::Arc;
//!
//! use panaversity_model::{ContentHash, ports::Objects};
//! use panaversity_testkit::{FaultMode, Faults, FaultyObjects, MemoryObjects};
//!
//! let faults = Faults::new();
//! let objects = FaultyObjects::new(Arc::new(MemoryObjects::new()), &faults);
//! let hash = ContentHash::of(b"text");
//!
//! // The first call is carried out, but its answer is lost.
//! faults.arm(0, FaultMode::FailAfter);
//! assert!(objects.put(hash, b"text").await.is_err());
//! assert_eq!(objects.stat(hash).await.unwrap(), Some(4));
//! # });
//! ```
//!
//! # Where to go next
//! - [`TestJournal`] and [`memory`]: the journal, and the fakes of the storage; [`samples`] and [`clock`]: what
//!   a test fills and drives them with.
//! - [`faults`]: calls that fail before or after, and processes that die there.
//! - [`contract`]: the suites, for a new engine or a new port call.
//! - Real servers: [`postgres`], [`s3`], [`seaweed`], [`redis`]; [`proxy`] cuts connections to them, [`disk`] lets
//!   disks fill up and lose power, [`client`] follows signed URLs, [`load`] calls tools without a pause,
//!   [`authorization_server`] issues tokens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "test code fails by panicking"
)]

pub mod authorization_server;
pub mod client;
pub mod clock;
pub mod contract;
pub mod disk;
pub mod faults;
mod journal;
pub mod load;
pub mod memory;
pub mod postgres;
pub mod proxy;
pub mod redis;
pub mod s3;
pub mod samples;
pub mod seaweed;

pub use clock::{TestClock, TestIds};
pub use faults::{FaultMode, Faults, FaultyObjects, FaultyTree, FaultyUploadStore};
pub use journal::TestJournal;
pub use memory::{MemoryObjects, MemoryTree, MemoryUploadStore};
