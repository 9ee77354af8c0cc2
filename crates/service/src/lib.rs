//! Use cases of `PanaversityFS`: one file per operation that a caller can request.
//!
//! A use case takes parsed values, works through the given ports and returns values; it depends neither
//! on the protocol above nor on the engines below. The commit protocol is described in [`commit`].

pub mod archive;
pub mod assets;
pub mod audit;
mod authorize;
mod blob_reader;
pub mod books;
pub mod call;
pub mod commit;
pub mod delete;
pub mod delta;
pub mod gc;
pub mod glob;
pub mod health;
pub mod json_size;
mod manifest_cache;
mod object_repair;
pub mod plan;
pub mod publish;
pub mod read;
pub mod reconcile;
mod service;
mod spool;
mod upload_cleanup;
pub mod uploads;
mod utf8;
pub mod verify;
pub mod write;

pub use call::{Call, Caller, EndedCall};
pub use service::{Engines, Limits, Service, Stats};
