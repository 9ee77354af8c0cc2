//! Private journal for tests: a migrated `SQLite` database in a file of its own, with fault injection.
//!
//! # Order
//! A call runs to its end on the thread of its caller, and no other task of that thread runs meanwhile.
//! So the tasks of a test on one thread interleave in the same way in every run, and a fault can be placed
//! by the number of a call. [`Faults::side_by_side`] lets them take turns between calls.
//!
//! # Time
//! The time of a journal is its database's and has no hook. A test lets time pass by moving what is stored
//! into the past: see [`TestJournal::age`].

mod ports;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use panaversity_model::Fault;
use panaversity_model::fault::FaultKind;
use panaversity_model::ports::Journal;
use panaversity_store::{Backend, Database, DatabaseUrl, PoolOptions, SqlJournal, migrations};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::Faults;

/// One reader beside the writer, as no two calls overlap.
const POOL: PoolOptions = PoolOptions { size: 1, overflow: 0, timeout: Duration::from_secs(20) };

/// A private journal. Clones, and handles with other faults, share its database, which is removed with the
/// last of them.
#[derive(Clone)]
pub struct TestJournal {
    inner: Arc<dyn Journal>,
    folder: Arc<TempDir>,
    faults: Faults,
}

impl TestJournal {
    /// An empty journal without faults.
    pub fn open() -> Self {
        let folder = private_folder();
        fs::write(file_in(&folder), &template().database).unwrap();
        Self::open_in(folder)
    }

    /// A new journal with the content of this one, without faults.
    #[must_use]
    pub fn copy(&self) -> Self {
        let folder = private_folder();
        for file in ["journal.db", "journal.db-wal"] {
            fs::copy(self.folder.path().join(file), folder.path().join(file)).unwrap();
        }
        Self::open_in(folder)
    }

    fn open_in(folder: TempDir) -> Self {
        let file = file_in(&folder);
        let inner = run(async { SqlJournal::open_shared(connect(&file).await, Backend::Fs).await.unwrap() });
        Self { inner, folder: Arc::new(folder), faults: Faults::new() }
    }

    /// Another handle of the same journal, behind this hook.
    #[must_use]
    pub fn behind(&self, faults: &Faults) -> Self {
        Self { faults: faults.clone(), ..self.clone() }
    }

    /// Lets whole seconds pass: moves every stored time into the past, so that leases, guards, uploads and
    /// retentions end as if it were later. The audit log stays, because its hashes cover its times, and so
    /// do the chains, whose next entry must be later than the last.
    pub fn age(&self, by: Duration) {
        assert_eq!(by.subsec_nanos(), 0, "whole seconds");
        let script = template().aging.replace(SECONDS, &by.as_secs().to_string());
        let file = file_in(&self.folder);
        connect_directly(&file).execute_batch(&script).unwrap();
    }

    async fn pass<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, Fault>> + Send,
    ) -> Result<T, Fault> {
        self.faults.pass(name, FaultKind::Database, async { run(call) }).await
    }
}

/// Runs a future to its end on this thread. The tasks that it starts run on one thread of all journals, the
/// connections on threads of their own.
fn run<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
    let _context = RUNTIME.enter();
    // The budget of the caller's task would end while it does not yield.
    futures::executor::block_on(tokio::task::unconstrained(future))
}

/// A folder in memory, where the system has one: a commit need not reach a disk.
fn private_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("panaversity-journal-").tempdir_in(place).unwrap()
}

fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join("journal.db")
}

async fn connect(file: &Path) -> Database {
    let url = DatabaseUrl::Sqlite { file: file.to_owned() };
    Database::connect(&url, POOL).await.unwrap()
}

fn connect_directly(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.busy_timeout(POOL.timeout).unwrap();
    connection
}

/// A migrated database without rows, which each journal copies, and the script that ages it.
struct Template {
    database: Vec<u8>,
    aging: String,
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = private_folder();
        let file = file_in(&folder);
        run(async {
            let database = connect(&file).await;
            migrations::upgrade(&database, None).await.unwrap();
            database.close().await;
        });
        let aging = aging_script(&connect_directly(&file));
        Template { database: fs::read(file).unwrap(), aging }
    })
}

/// Place of the number of seconds in the script.
const SECONDS: &str = "{seconds}";

/// A statement for each table. A time is known by its form, so that none is missed for its name.
fn aging_script(connection: &Connection) -> String {
    let columns = "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
        WHERE t.type = 'table' AND c.type = 'TEXT' AND t.name NOT IN ('audit_log', 'chains') ORDER BY 1";
    let mut columns = connection.prepare(columns).unwrap();
    let columns = columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let columns: Vec<(String, String)> = columns.collect::<Result<_, _>>().unwrap();
    let statements = columns.chunk_by(|one, next| one.0 == next.0).map(|columns| {
        let set = |(_, column): &(String, String)| {
            format!(
                "\"{column}\" = CASE WHEN \"{column}\" LIKE '____-__-__T__:__:__.______Z' \
                 THEN strftime('%Y-%m-%dT%H:%M:%S', substr(\"{column}\", 1, 19), '-{SECONDS} seconds') \
                 || substr(\"{column}\", 20) ELSE \"{column}\" END"
            )
        };
        let sets: Vec<_> = columns.iter().map(set).collect();
        format!("UPDATE \"{}\" SET {};", columns[0].0, sets.join(", "))
    });
    format!("BEGIN IMMEDIATE; {} COMMIT;", statements.collect::<String>())
}
