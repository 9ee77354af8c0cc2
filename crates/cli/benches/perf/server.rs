//! The real server, started for a benchmark, and the yardsticks measured beside it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use panaversity_testkit::postgres::Postgres;
use panaversity_testkit::s3;
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_panaversity-fs");

/// CPU time in the files of proc(5) is counted in these.
const TICKS_PER_SECOND: f64 = 100.0;
/// Folder that contains those of all servers.
static ROOT: OnceLock<PathBuf> = OnceLock::new();

/// A running server on a folder and a database of its own; killed when dropped.
pub(crate) struct BenchServer {
    process: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    /// Seconds from the start of the process to its first answer.
    pub(crate) started_in: f64,
    folder: PathBuf,
    database: String,
    /// Process id of the database's server.
    postmaster: Option<u32>,
    settings: BenchSettings,
}

/// Settings of a server beyond its database and folder.
pub(crate) type BenchSettings = Vec<(&'static str, String)>;

impl BenchServer {
    pub(crate) async fn on_sqlite() -> Self {
        Self::with_settings(Vec::new()).await
    }

    /// A server on `SQLite` with more settings.
    pub(crate) async fn with_settings(settings: BenchSettings) -> Self {
        let folder = folder();
        let url = format!("sqlite:{}", folder.join("journal.db").display());
        Self::start(folder, &url, settings).await
    }

    /// A server with its objects and its tree in a bucket.
    pub(crate) async fn on_bucket(bucket: &s3::TestBucket) -> Self {
        let place = bucket.settings().map(|(name, value)| (name, value.to_owned()));
        Self::with_settings(place.into()).await
    }

    /// The same server after a kill: a new process on the same data.
    pub(crate) async fn restarted(mut self) -> Self {
        let _ = self.process.kill();
        let _ = self.process.wait();
        Self::start(self.folder.clone(), &self.database.clone(), std::mem::take(&mut self.settings)).await
    }

    pub(crate) async fn on_postgres(cluster: &Postgres) -> Self {
        let mut server = Self::start(folder(), &cluster.create_database(), Vec::new()).await;
        server.postmaster = Some(cluster.pid());
        server
    }

    async fn start(folder: PathBuf, url: &str, settings: BenchSettings) -> Self {
        let began = Instant::now();
        let mut process = Command::new(BINARY)
            .args(["serve", "--server-port", "0", "--log-format", "json"])
            .env("PANAVERSITY_RATE_LIMIT_PER_SECOND", "0")
            .env("DATABASE_URL", url)
            .env("PANAVERSITY_STORAGE_ROOT", folder.join("data"))
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .current_dir(&folder)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut log = BufReader::new(process.stderr.take().expect("a log"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).expect("a log") > 0, "the server ended");
            let entry: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            if let Some(address) = entry["address"].as_str() {
                break address.to_owned();
            }
        };
        // The log is discarded, but its pipe must be read.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let database = url.to_owned();
        let (started_in, postmaster) = (0.0, None);
        let mut server = Self { process, address, started_in, folder, database, postmaster, settings };
        // An answer of any status; where callers authenticate, this one does not.
        let answer = reqwest::get(format!("{}/health/ready", server.url())).await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
        server.started_in = began.elapsed().as_secs_f64();
        server
    }

    /// A command of the program on this server's database; its output.
    pub(crate) fn command(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new(BINARY).args(arguments).env("DATABASE_URL", &self.database).output();
        output.expect("the command runs").stdout
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Resets the peak (`clear_refs` of proc(5)).
    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").expect("the process is ours");
    }

    /// Memory in MB: current, and at its peak.
    pub(crate) fn memory(&self) -> (f64, f64) {
        (self.megabytes("status", "VmRSS:"), self.megabytes("status", "VmHWM:"))
    }

    /// Resident memory in MB: anonymous, and of mapped files.
    pub(crate) fn anonymous_and_mapped(&self) -> (f64, f64) {
        let anonymous = self.megabytes("smaps_rollup", "Anonymous:");
        (anonymous, self.megabytes("smaps_rollup", "Rss:") - anonymous)
    }

    /// A field in kilobytes of a file of the process in proc(5).
    fn megabytes(&self, file: &str, name: &str) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let kilobytes = line.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok());
        kilobytes.unwrap_or(f64::NAN) / 1024.0
    }

    /// CPU time so far, in seconds: of the server, and of PostgreSQL, its ended processes included.
    pub(crate) fn cpu(&self) -> (f64, f64) {
        let of_database = |postmaster: u32| {
            let children = std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
            let children = children.unwrap_or_default();
            let running = children.split_whitespace().map(|pid| cpu_of(pid, 2)).sum::<f64>();
            cpu_of(&postmaster.to_string(), 4) + running
        };
        (cpu_of(&self.process.id().to_string(), 2), self.postmaster.map_or(0.0, of_database))
    }

    /// Size of the write-ahead log of `SQLite` in MB.
    pub(crate) fn log_megabytes(&self) -> f64 {
        let log = std::fs::metadata(self.folder.join("journal.db-wal"));
        log.map_or(0.0, |log| log.len() as f64 / f64::from(1 << 20))
    }
}

impl Drop for BenchServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// CPU time of a process so far, in seconds: the sum of `fields` numbers from `utime` on (proc(5)).
fn cpu_of(pid: &str, fields: usize) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program, in parentheses, may contain spaces.
    let numbers = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(fields);
    numbers.filter_map(|number| number.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

/// Creates the folder of this run, on a real disk: a temporary folder may be in memory. `PANAVERSITY_BENCH_FOLDER`
/// says in which one. It is deleted when the run ends and no earlier: after deletions `ext4` without a journal
/// searches long for the inode of a new file.
pub(crate) fn root() -> TempDir {
    let parent = std::env::var_os("PANAVERSITY_BENCH_FOLDER");
    let parent = parent.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let root = tempfile::Builder::new().prefix("bench-").tempdir_in(parent);
    let root = root.expect("a folder");
    ROOT.set(root.path().to_owned()).expect("one run");
    root
}

/// A new folder.
pub(crate) fn folder() -> PathBuf {
    tempfile::tempdir_in(ROOT.get().expect("the run has begun")).expect("a folder").keep()
}

/// One client that commits to `SQLite`: commits per second, and the median in milliseconds.
pub(crate) fn sqlite_commits(seconds: f64) -> (f64, f64) {
    let folder = folder();
    let yardstick = Path::new(BINARY).with_file_name("examples").join("commit_yardstick");
    let output = Command::new(yardstick).arg(folder).arg(seconds.to_string()).output();
    let output = output.expect("build it first: cargo build --release -p panaversity-store --examples");
    two_numbers(&output.stdout)
}

/// `pgbench -N` with this many clients: transactions per second, and the mean in milliseconds.
pub(crate) fn pgbench(cluster: &Postgres, clients: usize, seconds: u32) -> (f64, f64) {
    static DATABASE: OnceLock<String> = OnceLock::new();
    let pgbench = || Command::new(cluster.programs().join("pgbench"));
    let url = DATABASE.get_or_init(|| {
        let url = cluster.create_database();
        let prepared = pgbench().args(["-i", "-q", "-s", "10", &url]).output().expect("pgbench");
        assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
        url
    });
    let arguments = ["-N", "-c", &clients.to_string(), "-j", "2", "-T", &seconds.to_string(), url];
    let output = pgbench().args(arguments).output().expect("pgbench");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(f64::NAN)
    };
    (number("tps"), number("latency average"))
}

fn two_numbers(text: &[u8]) -> (f64, f64) {
    let text = String::from_utf8_lossy(text);
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
    (numbers.next().expect("a rate"), numbers.next().expect("a median"))
}
