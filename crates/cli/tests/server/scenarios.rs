//! Scenario suite through the MCP client, on both databases with both storages (I11): the behavior
//! that agents rely on.

/// Generates four tests of each scenario, one per combination of database and storage.
macro_rules! on_every_backend {
    ($($scenario:ident),+ $(,)?) => {
        on_every_backend! { in sqlite_fs: Sqlite, Fs; $($scenario),+ }
        on_every_backend! { in sqlite_s3: Sqlite, S3; $($scenario),+ }
        on_every_backend! { in postgres_fs: Postgres, Fs; $($scenario),+ }
        on_every_backend! { in postgres_s3: Postgres, S3; $($scenario),+ }
    };
    (in $backend:ident: $db:ident, $storage:ident; $($scenario:ident),+) => {
        mod $backend {
            use crate::harness::{Db, TestBackend, Storage};

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                super::$scenario(TestBackend::new(Db::$db, Storage::$storage)).await;
            })+
        }
    };
}
pub(crate) use on_every_backend;

/// Generates two tests of each scenario, one per database, with a folder: for what the storage does not
/// decide.
macro_rules! on_both_databases {
    ($($scenario:ident),+ $(,)?) => {
        on_every_backend! { in sqlite_fs: Sqlite, Fs; $($scenario),+ }
        on_every_backend! { in postgres_fs: Postgres, Fs; $($scenario),+ }
    };
}

/// Generates one test of each scenario, on SQLite with a folder: for what neither database nor storage
/// decides.
macro_rules! on_one_backend {
    ($($scenario:ident),+ $(,)?) => {
        mod one_backend {
            use crate::harness::{Db, Storage, TestBackend};

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                super::$scenario(TestBackend::new(Db::Sqlite, Storage::Fs)).await;
            })+
        }
    };
}

mod archives;
pub(crate) mod assets;
mod audit;
mod books;
mod builds;
mod change_sets;
mod deltas;
mod editing;
mod feed;
mod files_beside_pages;
mod history;
mod merging;
mod overlays;
mod paging;
mod random;
mod reading;
mod reading_parts;
mod resources;
mod search;
mod static_files;
mod subscriptions;
mod uploads;
mod validation;
mod writing;
