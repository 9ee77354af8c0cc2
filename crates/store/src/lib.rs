//! Infrastructure of `PanaversityFS`: the journal on `SQLite` and PostgreSQL, objects and tree in a
//! folder or a bucket. The only crate that depends on `sqlx`.

mod backend;
mod database;
mod exact_length;
mod fs;
mod journal;
mod keys;
mod metered;
pub mod migrations;
mod s3;
mod storage_probe;
mod store_identity;

pub use backend::Backend;
pub use database::{Database, DatabaseUrl, PoolOptions};
pub use fs::FileStorage;
pub use journal::{DatabaseIdentity, SqlJournal};
pub use metered::{Metered, OPERATIONS, OperationObserver};
pub use s3::{Bucket, S3Storage};
pub use storage_probe::{ProbeFiles, ProbeStep, StorageProbe};
