//! The acts of `PanaversityFS`: one file per act that a caller can ask for.
//!
//! An act takes parsed values, uses the ports it was given and returns values; it knows neither
//! the protocol above nor the engines below. The commit protocol stands in [`commit`].

pub mod archive;
pub mod assets;
pub mod audit;
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

pub use call::Call;
pub use service::{Engines, Limits, Service, Stats};
