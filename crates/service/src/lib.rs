//! Use cases of `PanaversityFS`: one file per operation that a caller can request.
//!
//! A use case takes parsed values, works through the given ports and returns values; it depends neither
//! on the protocol above nor on the engines below. The commit protocol is described in [`commit`].
//!
//! ```no_run
//! # async fn example(service: panaversity_service::Service) -> Result<(), panaversity_model::Error> {
//! use panaversity_model::audit::Operation;
//! use panaversity_model::permission::Principal;
//! use panaversity_model::{AgentId, BookId, BookPath, Layer};
//! use panaversity_service::write::Write;
//!
//! let (book, path) =
//!     (BookId::parse("ai-python")?, BookPath::parse("content/01-Part/01-Chapter/01-lesson.md")?);
//! let caller = service.caller(Principal::unrestricted(AgentId::parse("writer-7")?));
//! let ended = service.run(caller, Operation::Write, async |call| {
//!     let access = call.may_write(book, Layer::Base)?;
//!     call.write_content(Write { access, path, content: "# One\n".to_owned(), expected: None }).await
//! });
//! let ended = ended.await;
//! println!("{} bytes", ended.result?.size);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go next
//! - [`Service`] holds the [`Engines`] behind the ports; [`call`] is the way of every request, from its
//!   authorization to its audit entry; [`authorize`] has the permissions that use cases ask for.
//! - Text: [`read`], [`mod@write`], [`delete`]. Search: [`glob`], [`grep`]. Other files: [`assets`], [`uploads`].
//! - Books and builds: [`books`], [`plan`], [`delta`], [`feed`], [`archive`], [`validate`].
//! - What people look at: [`browse`]. The audit log: [`audit`], [`verify`].
//! - Upkeep: [`publish`], [`reconcile`], [`gc`], [`health`].

pub mod archive;
pub mod assets;
pub mod audit;
pub mod authorize;
mod blob_reader;
pub mod books;
pub mod browse;
pub mod call;
pub mod change_set;
pub mod commit;
mod conflict;
pub mod delete;
mod delete_book;
pub mod delta;
pub mod edit;
pub mod feed;
pub mod gc;
pub mod glob;
pub mod grep;
pub mod health;
pub mod history;
pub mod json_size;
pub mod limits;
mod manifest_cache;
mod manifests;
mod merge;
mod object_repair;
mod off_thread;
pub mod plan;
pub mod publish;
pub mod read;
pub mod reconcile;
pub mod restore;
mod service;
mod spool;
#[cfg(test)]
mod test_service;
mod upload_cleanup;
pub mod uploads;
mod utf8;
pub mod validate;
pub mod verify;
mod view_files;
pub mod write;

pub use authorize::ReadAccess;
pub use call::{Call, Caller, EndedCall};
pub use limits::Limits;
pub use service::{Engines, Service, Stats};
