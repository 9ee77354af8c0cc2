//! Test harness: environments (a database, a storage), servers in them, and an MCP client. Contains no
//! tests.

mod backend;
mod client;
mod command;
mod events;
mod log;
pub(crate) mod log_watch;
mod process;
mod template;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use panaversity_fs::{HttpServer, RuntimeLimits, StartPauses};
use panaversity_testkit::{postgres, s3};
use tempfile::TempDir;

use backend::StoredFiles;
pub(crate) use backend::{Db, Storage, TestBackend};
pub(crate) use client::{Answer, Reply, TestClient};
pub(crate) use command::{BinaryChild, BinaryCommand};
pub(crate) use events::Events;
pub(crate) use log::{Log, logged};
pub(crate) use process::ServerProcess;

/// Timeout of every wait in a test, after which it counts as hung.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Environment of a test: a database without rows and an empty storage, for any number of servers.
pub(crate) struct TestEnv {
    folder: TempDir,
    files: StoredFiles,
    database: String,
    more: BTreeMap<String, String>,
    limits: Box<RuntimeLimits>,
}

impl TestEnv {
    pub(crate) fn new(backend: impl Into<TestBackend>) -> Self {
        Self::with_database(backend.into(), |db, file| {
            match db {
                Db::Sqlite => template::copy_sqlite(file),
                Db::Postgres => return template::copy_postgres(),
            }
            format!("sqlite:{}", file.display())
        })
    }

    /// Without the schema: on `SQLite` there is no database, on `PostgreSQL` an empty one.
    pub(crate) fn unmigrated(backend: impl Into<TestBackend>) -> Self {
        Self::with_database(backend.into(), |db, file| match db {
            Db::Sqlite => format!("sqlite:{}", file.display()),
            Db::Postgres => postgres::shared().create_database(),
        })
    }

    fn with_database(backend: TestBackend, create: impl FnOnce(Db, &Path) -> String) -> Self {
        let folder = tempfile::Builder::new().prefix("panaversity-test-").tempdir().unwrap();
        let database = create(backend.db, &folder.path().join("journal.db"));
        let files = StoredFiles::new(backend.storage, folder.path());
        Self { folder, files, database, more: BTreeMap::new(), limits: Box::new(limits()) }
    }

    /// The same database, with another storage that is empty.
    pub(crate) fn on_another_storage(&self, storage: Storage) -> Self {
        let folder = tempfile::Builder::new().prefix("panaversity-test-").tempdir().unwrap();
        let files = StoredFiles::new(storage, folder.path());
        Self {
            folder,
            files,
            database: self.database.clone(),
            more: self.more.clone(),
            limits: self.limits.clone(),
        }
    }

    /// Sets a variable in the environment of every server that starts from now on.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.more.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets the limits of every server in this process that starts from now on.
    #[must_use]
    pub(crate) fn within(mut self, limits: RuntimeLimits) -> Self {
        *self.limits = limits;
        self
    }

    /// A temporary folder of this environment that no server reads, for a test's own files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The storage's folder; panics for a bucket.
    pub(crate) fn storage_root(&self) -> PathBuf {
        match &self.files {
            StoredFiles::Folder(root) => root.clone(),
            StoredFiles::Bucket(_) => panic!("this env stores in a bucket"),
        }
    }

    /// The storage's bucket; panics for a folder.
    pub(crate) fn bucket(&self) -> &s3::TestBucket {
        match &self.files {
            StoredFiles::Folder(_) => panic!("this env stores in a folder"),
            StoredFiles::Bucket(bucket) => bucket,
        }
    }

    /// Content of the object with this hash.
    pub(crate) fn object(&self, hash: &str) -> Option<Vec<u8>> {
        self.files.below(".panaversity/objects/").remove(&format!("{}/{hash}", &hash[..2]))
    }

    /// Removes the object with this hash behind the server's back.
    pub(crate) fn remove_object(&self, hash: &str) {
        let key = format!(".panaversity/objects/{}/{hash}", &hash[..2]);
        match &self.files {
            StoredFiles::Folder(root) => std::fs::remove_file(root.join(key)).unwrap(),
            StoredFiles::Bucket(bucket) => bucket.remove(&key),
        }
    }

    /// The URL of its database.
    pub(crate) fn database_url(&self) -> &str {
        &self.database
    }

    /// The binary with the variables of this environment and nothing else, for any command.
    pub(crate) fn command(&self) -> BinaryCommand {
        let mut command = binary(self.folder.path());
        command.envs(self.settings());
        command
    }

    /// The settings of its servers, named as in the environment.
    fn settings(&self) -> BTreeMap<String, String> {
        let mut settings = self.files.settings();
        settings.insert("DATABASE_URL".to_owned(), self.database.clone());
        settings.extend(self.more.clone());
        for (name, value) in &settings {
            log_watch::setting(name, value);
        }
        settings
    }

    /// Starts a server in this process.
    pub(crate) async fn start(&self) -> Server {
        log_watch::begin();
        let settings = self.settings();
        // Every connection is a process of the database; the servers of all tests share one cluster.
        let mut all = BTreeMap::from([
            ("DATABASE_POOL_SIZE", "4"),
            ("DATABASE_MAX_OVERFLOW", "2"),
            ("PANAVERSITY_SERVER_PORT", "0"),
        ]);
        all.extend(settings.iter().map(|(name, value)| (&**name, &**value)));
        let settings: Vec<_> = all.into_iter().collect();
        let http = HttpServer::start_within(&settings, (*self.limits).clone()).await;
        let http = http.unwrap_or_else(|failure| panic!("{failure}"));
        Server { client: TestClient::to(http.address()), http }
    }

    /// Starts the binary and waits until it serves.
    pub(crate) async fn start_process(&self) -> ServerProcess {
        ServerProcess::spawn(self.command().into_unsearched(), "listening on ").await
    }

    /// Starts the binary and waits until it waits for a dependency.
    pub(crate) async fn start_waiting(&self) -> ServerProcess {
        ServerProcess::spawn(self.command().into_unsearched(), "waiting for ").await
    }

    /// All files of the storage.
    pub(crate) fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        self.files.below("")
    }

    /// All published files: those below `books/`, by the rest of their path.
    pub(crate) fn published(&self) -> BTreeMap<String, Vec<u8>> {
        self.files.below("books/")
    }

    /// Files that servers have begun to write; their locks do not count.
    pub(crate) fn temporary_files(&self) -> Vec<String> {
        let files = self.files.below(".panaversity/tmp/").into_keys();
        files.filter(|name| Path::new(name).extension().is_none_or(|end| end != "lock")).collect()
    }
}

/// Limits of servers in this process: those of a server, with short pauses of a start that waits.
fn limits() -> RuntimeLimits {
    let start_pauses =
        StartPauses { shortest: Duration::from_millis(50), longest: Duration::from_millis(200) };
    RuntimeLimits { start_pauses, ..RuntimeLimits::default() }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            log_watch::require_none();
        }
    }
}

/// The binary in this folder, without any settings; it ends with the thread that starts it.
fn binary(folder: &Path) -> BinaryCommand {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_panaversity-fs")]);
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    for kept in ["HOME", "PATH"] {
        command.envs(std::env::var_os(kept).map(|value| (kept, value)));
    }
    BinaryCommand::new(command)
}

/// A server in this process, which ends with the test. Dropped, it stops listening; see
/// [`HttpServer`].
pub(crate) struct Server {
    client: TestClient,
    http: HttpServer,
}

impl Server {
    /// Stops it, as SIGTERM stops the binary.
    pub(crate) async fn stop(self) {
        self.http.stop().await;
    }
}

impl Deref for Server {
    type Target = TestClient;

    fn deref(&self) -> &TestClient {
        &self.client
    }
}

/// Polls a condition until it holds.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < TEST_TIMEOUT, "not within {TEST_TIMEOUT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
