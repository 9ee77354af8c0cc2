//! Domain model of `PanaversityFS`: types, rules and ports.
//!
//! Nothing here reads a clock, a disk, a socket or the environment: all external input is passed in.
//! Values are validated when parsed here, so the crates that use them never check a path, an id or a
//! hash again.

pub mod agent;
pub mod asset;
pub mod audit;
pub mod blob;
pub mod book;
pub mod chain;
pub mod change;
pub mod delta;
pub mod fault;
pub mod file;
pub mod gc;
pub mod grammar;
pub mod hash;
pub mod ids;
pub mod layer;
pub mod manifest;
pub mod masked_url;
pub mod media;
pub mod path;
pub mod ports;
pub mod precondition;
pub mod publication;
pub mod refusal;
pub mod storage_listing;
pub mod suggestion;
pub mod timestamp;
pub mod upload;
pub mod zip;

pub use agent::AgentId;
pub use book::{Book, BookId, Schema};
pub use fault::{Error, Fault};
pub use hash::ContentHash;
pub use layer::{Layer, UserId, View};
pub use path::BookPath;
pub use refusal::Refusal;
pub use timestamp::Timestamp;
