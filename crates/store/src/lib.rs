//! The matter of `PanaversityFS`: the journal on SQLite and PostgreSQL, objects and tree in a
//! folder. The only room that knows `sqlx`.

mod backend;
mod database;
mod fs;
mod journal;
mod keys;
pub mod migrations;
mod pairing;
mod s3;
mod summed;
mod trial;

pub use backend::Backend;
pub use database::{Database, DatabaseUrl, PoolOptions};
pub use fs::FileStorage;
pub use journal::{Identity, SqlJournal};
pub use s3::{Bucket, S3Storage};
pub use trial::{Exposed, Step, Trial};
