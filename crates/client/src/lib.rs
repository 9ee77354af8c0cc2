//! Client of `PanaversityFS` servers.
//!
//! [`Client`] calls tools over HTTP, downloads archives and files by ranges, and uploads assets;
//! [`ingest`](ingest::ingest) uploads folders into a book, and [`hydrate`](hydrate::hydrate)
//! downloads a book into folders; [`Client::watch`] follows its changes. The crate does not depend on the
//! server's code, only on its contract.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use panaversity_client::Client;
//! use panaversity_model::BookId;
//!
//! let client = Client::new("http://127.0.0.1:8000", "my-pipeline")?;
//! let plan = client.plan(&BookId::parse("ai-python")?, None).await?;
//! println!("{} files, manifest {}", plan.files.len(), plan.manifest_hash);
//! # Ok(())
//! # }
//! ```

mod archive;
mod client;
mod digest;
mod download;
pub mod health;
mod http_clients;
pub mod hydrate;
pub mod ingest;
mod links;
pub mod progress;
pub mod report;
mod response;
mod server_events;
mod state;
mod sync;
mod tools;
mod uploads;
pub mod watch;
mod workspace;

pub use client::{CallError, Client};
pub use response::ServerError;
pub use sync::SyncError;
pub use tools::{BuildPlan, PlannedFile};
