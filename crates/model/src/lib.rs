//! Domain model of `PanaversityFS`: types, rules and ports.
//!
//! Nothing here reads a clock, a disk, a socket or the environment: all external input is passed in.
//! Values are validated when parsed here, so the crates that use them never check a path, an id or a
//! hash again.
//!
//! ```
//! use panaversity_model::precondition::{Effect, TargetContent, decide};
//! use panaversity_model::{BookPath, ContentHash, ErrorCode, Schema};
//!
//! let path = BookPath::parse("content/01-Part/01-Chapter/01-lesson.md")?;
//! Schema::Strict.admit(&path)?;
//!
//! // Whoever replaces a file names the version they have read.
//! let (old, new) = (ContentHash::of(b"one"), ContentHash::of(b"two"));
//! assert_eq!(decide(Some(old), TargetContent::Present(new), Some(old))?, Effect::Updated);
//! let refusal = decide(Some(old), TargetContent::Present(new), None).unwrap_err();
//! assert_eq!(refusal.code(), ErrorCode::HashRequired);
//! # Ok::<(), panaversity_model::Refusal>(())
//! ```
//!
//! # Where to go next
//! - What callers name: [`book`], [`path`], [`layer`], [`agent`], [`asset`].
//! - The rules: [`grammar`] says which paths a book admits, [`precondition`] which changes are permitted,
//!   [`change`] what is committed together, [`audit`] and [`chain`] how the log shows tampering.
//! - Errors: a [`Refusal`] is the caller's to correct, a [`Fault`] is the infrastructure's; each has an
//!   [`ErrorCode`].
//! - [`ports`]: the interfaces that the engines implement, and the fakes of the tests.

pub mod agent;
pub mod api_key;
pub mod asset;
pub mod audit;
pub mod audit_export;
pub mod blame;
pub mod blob;
pub mod book;
pub mod browsing;
pub mod chain;
pub mod change;
pub mod conflict;
pub mod connection_pool;
pub mod delta;
pub mod edit;
pub mod error_code;
pub mod fault;
pub mod feed;
pub mod file;
pub mod gc;
pub mod grammar;
pub mod hash;
pub mod ids;
pub mod layer;
pub mod line_diff;
pub mod lines;
pub mod link_key;
pub mod manifest;
pub mod markdown;
pub mod masked_url;
pub mod media;
pub mod merge;
pub mod outline;
pub mod path;
pub mod permission;
pub mod ports;
pub mod precondition;
pub mod publication;
pub mod refusal;
pub mod storage_listing;
pub mod suggestion;
pub mod timestamp;
pub mod upload;
pub mod validation;
pub mod version;
pub mod web_session;
pub mod webhook;
pub mod word_diff;
pub mod zip;

pub use agent::AgentId;
pub use book::{Book, BookId, Schema};
pub use error_code::ErrorCode;
pub use fault::{Error, Fault};
pub use hash::ContentHash;
pub use layer::{Layer, UserId, View};
pub use path::BookPath;
pub use refusal::Refusal;
pub use timestamp::Timestamp;
