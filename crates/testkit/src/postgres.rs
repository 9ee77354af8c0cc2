//! A private `PostgreSQL` for tests: its own cluster on its own port, which ends with the process,
//! however that ends.
//!
//! # Lifetime
//! The kernel sends the server SIGQUIT when the *thread* that started it ends. So the server is
//! started by a keeper thread that only waits for it, and lives as long as the process. Only the
//! folder outlives a killed process; the next start removes the folders of processes that have
//! ended.
//!
//! # Account
//! The server refuses to run as root; then it runs as the user `postgres`, or else `nobody`.
//! `setpriv` switches the user by `exec`, so the child process is the server itself.
//!
//! # Failures
//! On request, see `outages`.

mod outages;
mod pgbouncer;
mod replication;

pub use outages::Lock;
pub use pgbouncer::PgBouncer;

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const FOLDER: &str = "panaversity-pg-";
const READY_TIMEOUT: Duration = Duration::from_mins(1);
/// Attempts to start, because a port found free may be taken before the server listens on it.
const ATTEMPTS: usize = 3;

/// A running cluster; dropping it ends it.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    account: Option<Account>,
    settings: &'static [&'static str],
    pid: u32,
    port: u16,
    databases: AtomicU32,
    keeper: Option<JoinHandle<()>>,
    /// Removed once the server has ended.
    folder: TempDir,
}

/// The cluster of this process, started on first use.
pub fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(Postgres::start)
}

impl Postgres {
    /// Starts a cluster of its own; takes about a second. It is fast and not durable across a power
    /// cut.
    pub fn start() -> Self {
        Self::start_with(&["fsync=off", "synchronous_commit=off", "full_page_writes=off"])
    }

    /// Starts a cluster that syncs to the disk as in production, for benchmarks.
    pub fn durable() -> Self {
        Self::start_with(&[])
    }

    fn start_with(settings: &'static [&'static str]) -> Self {
        sweep();
        let programs = programs();
        let account = Account::of_server();
        let folder = create_folder(account.as_ref());
        run(as_server(account.as_ref(), Path::new("cp"))
            .arg("-R")
            .arg(initialized(account.as_ref(), &programs))
            .arg(folder.path().join("data")));
        Self::start_on(programs, account, folder, settings)
    }

    /// Starts a server on the data in this folder.
    fn start_on(
        programs: PathBuf,
        account: Option<Account>,
        folder: TempDir,
        settings: &'static [&'static str],
    ) -> Self {
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let (pid, keeper) = keep(server(account.as_ref(), &programs, folder.path(), port, settings));
            if ready(folder.path(), pid, &keeper) {
                let (databases, keeper) = (AtomicU32::new(0), Some(keeper));
                return Self { programs, account, settings, pid, port, databases, keeper, folder };
            }
        }
        let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        panic!("PostgreSQL does not start:\n{log}");
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The URL of a database of the cluster.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a database over the cluster's Unix-domain socket, in the form that libpq
    /// documents.
    pub fn socket_url(&self, database: &str) -> String {
        format!("postgresql://postgres@/{database}?host={}&port={}", self.folder.path().display(), self.port)
    }

    /// Creates an empty database and returns its URL.
    pub fn create_database(&self) -> String {
        self.create("template1")
    }

    /// Creates a copy of a database that has no connections, and returns its URL.
    pub fn copy_database(&self, url: &str) -> String {
        self.create(url.rsplit('/').next().expect("a database's URL"))
    }

    /// Runs SQL in a database; returns the values of the rows, one row per line.
    pub fn query(&self, url: &str, sql: &str) -> String {
        let psql = self.programs.join("psql");
        run(Command::new(psql).args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]))
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The folder of the server's programs, `pgbench` among them.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    fn create(&self, template: &str) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.query(
            &self.url("postgres"),
            &format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"),
        );
        self.url(&name)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Once the keeper is done the id may be another process's.
        if let Some(keeper) = self.keeper.take().filter(|keeper| !keeper.is_finished()) {
            // A frozen server would not receive the signal to end.
            self.thaw();
            let _ = Command::new("kill").args(["-QUIT", &self.pid.to_string()]).status();
            let _ = keeper.join();
        }
    }
}

/// The data folder of a cluster that was never started, for every cluster of this process to copy:
/// `initdb` takes seconds.
fn initialized(account: Option<&Account>, programs: &Path) -> PathBuf {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    let folder = TEMPLATE.get_or_init(|| {
        let folder = create_folder(account);
        run(as_server(account, &programs.join("initdb"))
            .arg("-D")
            .arg(folder.path().join("data"))
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"])
            .arg("--no-instructions")
            .env("LC_ALL", "C.UTF-8"));
        folder
    });
    folder.path().join("data")
}

/// Creates a folder of the server's account.
fn create_folder(account: Option<&Account>) -> TempDir {
    let prefix = format!("{FOLDER}{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir().expect("a temporary folder");
    if let Some(account) = account {
        chown(folder.path(), Some(account.uid), Some(account.gid)).expect("chown of the server's folder");
    }
    folder
}

/// An account to run the server as.
#[derive(Debug)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account for the server; `None` if this process may run it under its own.
    fn of_server() -> Option<Self> {
        if fs::metadata("/proc/self").expect("/proc").uid() != 0 {
            return None;
        }
        let passwd = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
        let account = ["postgres", "nobody"].into_iter().find_map(|name| Self::find(&passwd, name));
        Some(
            account.expect("PostgreSQL refuses to run as root, and there is no user `postgres` nor `nobody`"),
        )
    }

    fn find(passwd: &str, name: &str) -> Option<Self> {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut columns = line.split(':').skip(2).map(str::parse);
        Some(Self { uid: columns.next()?.ok()?, gid: columns.next()?.ok()? })
    }
}

/// A command run as the server's account that gets SIGQUIT when the thread that starts it ends.
fn as_server(account: Option<&Account>, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(Account { uid, gid }) = account {
        command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups");
    }
    // The working folder may be one that the account cannot enter.
    command.args(["--pdeathsig", "QUIT", "--"]).arg(program).current_dir("/").stdin(Stdio::null());
    command
}

fn server(
    account: Option<&Account>,
    programs: &Path,
    folder: &Path,
    port: u16,
    settings: &[&str],
) -> Command {
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("the server's log");
    let mut command = as_server(account, &programs.join("postgres"));
    command.arg("-D").arg(folder.join("data"));
    let sockets = format!("unix_socket_directories={}", folder.display());
    for setting in [
        &format!("port={port}"),
        "listen_addresses=127.0.0.1",
        &sockets,
        "wal_level=minimal",
        "max_wal_senders=0",
        "max_connections=1000",
        "shared_buffers=64MB",
        // Shared memory in files of its own folder is removed with it.
        "dynamic_shared_memory_type=mmap",
    ]
    .iter()
    .chain(settings)
    {
        command.args(["-c", setting]);
    }
    command.stdout(log.try_clone().expect("the server's log")).stderr(log);
    command
}

/// Starts a command from a thread that waits for its end.
fn keep(mut command: Command) -> (u32, JoinHandle<()>) {
    let (started, pid) = mpsc::channel();
    let keeper = thread::spawn(move || {
        let child: std::io::Result<Child> = command.spawn();
        let mut child = child.expect("`setpriv` of util-linux is needed to start PostgreSQL");
        let _ = started.send(child.id());
        let _: std::io::Result<ExitStatus> = child.wait();
    });
    (pid.recv().expect("the server's process"), keeper)
}

/// Waits until the server accepts connections; returns false if it ended instead.
fn ready(folder: &Path, pid: u32, keeper: &JoinHandle<()>) -> bool {
    let start = Instant::now();
    while !keeper.is_finished() {
        let text = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        if lines.first() == Some(&pid.to_string().as_str()) && lines.get(7) == Some(&"ready") {
            return true;
        }
        assert!(start.elapsed() < READY_TIMEOUT, "PostgreSQL is not ready after {READY_TIMEOUT:?}");
        thread::sleep(Duration::from_millis(10));
    }
    false
}

/// A port that nothing listens on at the moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Runs a command that must succeed; returns its output, trimmed.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The folder of the programs: `TEST_PG_BIN`, else the newest of the system, else one of `PATH`.
fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("TEST_PG_BIN") {
        return PathBuf::from(folder);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, folder)| folder.join("postgres").exists())
        .max();
    let path = std::env::var_os("PATH").unwrap_or_default();
    newest
        .map(|(_, folder)| folder)
        .or_else(|| std::env::split_paths(&path).find(|folder| folder.join("postgres").exists()))
        .expect(
            "no PostgreSQL found: run scripts/install-test-tools (see \"Testing\" in the README), \
             or name the folder of initdb, postgres and psql in TEST_PG_BIN",
        )
}

/// Removes the folders of clusters whose processes have ended.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.strip_prefix(FOLDER)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            // Another process may be sweeping too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
