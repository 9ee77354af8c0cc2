//! Infrastructure of `PanaversityFS`: the journal on `SQLite` and PostgreSQL, objects and tree in a
//! folder or a bucket. The only crate that depends on a database driver.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{path::Path, time::Duration};
//!
//! use panaversity_store::{Backend, Database, DatabaseUrl, FileStorage, PoolOptions, SqlJournal, migrations};
//!
//! let url = DatabaseUrl::parse("sqlite:journal.db")?;
//! let pool = PoolOptions { size: 20, overflow: 10, timeout: Duration::from_secs(30) };
//! let database = Database::connect(&url, pool).await?;
//! migrations::upgrade(&database, None).await.map_err(|error| format!("{error:?}"))?;
//! let journal = SqlJournal::open(database, Backend::Fs).await?;
//! // The storage belongs to this database and to no other.
//! let storage = journal.pair(async |id, fresh| FileStorage::open(Path::new("data"), id, fresh)).await?;
//! # drop(storage);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go next
//! - [`Database`] and [`DatabaseUrl`]: the addresses of both databases, and the connections to them.
//! - [`migrations`]: the schema, up and down.
//! - [`SqlJournal`]: the ports of the journal; one transaction decides a change.
//! - [`SqlApiKeys`]: the API keys; [`SqlLinkKeys`]: the keys that links are signed with; [`SqlWebhooks`]: the
//!   webhooks.
//! - [`SharedRedis`]: rates and frequently read objects that servers share.
//! - [`FileStorage`] and [`S3Storage`]: the ports of objects, tree and uploads. [`Metered`] counts what is
//!   asked of them, [`StorageProbe`] tries a storage out.
//! - [`Backup`]: a copy of a store on `SQLite` and a folder, while servers serve it.

mod api_keys;
mod backend;
mod backup;
mod database;
mod exact_length;
mod file_identity;
mod fs;
mod journal;
mod keys;
pub mod limits;
mod link_keys;
mod metered;
pub mod migrations;
mod redis;
mod s3;
mod storage_probe;
mod store_identity;
mod web_sessions;
mod webhooks;

pub use api_keys::SqlApiKeys;
pub use backend::Backend;
pub use backup::{BACKUP_DATABASE, BACKUP_STORAGE, Backup, BackupError, CopiedObjects, DamagedObject};
pub use database::{Database, DatabaseUrl, PoolOptions};
pub use fs::FileStorage;
pub use journal::{DatabaseIdentity, SqlJournal};
pub use link_keys::SqlLinkKeys;
pub use metered::{Metered, OPERATIONS, OperationObserver};
pub use redis::{CachedObjects, RedisUrl, SharedRedis};
pub use s3::{Bucket, S3Storage};
pub use storage_probe::{ProbeFiles, ProbeStep, StorageProbe};
pub use web_sessions::SqlWebSessions;
pub use webhooks::SqlWebhooks;
