//! The real server, started for a benchmark, and the yardsticks measured beside it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use panaversity_testkit::postgres::Postgres;
use panaversity_testkit::s3;
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_panaversity-fs");

/// A running server on a folder and a database of its own; killed when dropped.
pub(crate) struct BenchServer {
    process: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    /// Seconds from the start of the process to its first answer.
    pub(crate) started_in: f64,
    folder: TempDir,
    database: String,
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
        let url = format!("sqlite:{}", folder.path().join("journal.db").display());
        Self::start(folder, &url, settings).await
    }

    /// A server with its objects and its tree in a bucket.
    pub(crate) async fn on_bucket(bucket: &s3::TestBucket) -> Self {
        let place = vec![
            ("PANAVERSITY_STORAGE_BACKEND", "s3".to_owned()),
            ("PANAVERSITY_S3_BUCKET", bucket.name().to_owned()),
            ("PANAVERSITY_S3_ENDPOINT", bucket.endpoint().to_owned()),
            ("PANAVERSITY_S3_REGION", s3::REGION.to_owned()),
            ("PANAVERSITY_S3_ACCESS_KEY_ID", s3::ACCESS_KEY_ID.to_owned()),
            ("PANAVERSITY_S3_SECRET_ACCESS_KEY", s3::SECRET_ACCESS_KEY.to_owned()),
        ];
        Self::with_settings(place).await
    }

    /// The same server after a kill: a new process on the same data.
    pub(crate) async fn restarted(mut self) -> Self {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let folder = std::mem::replace(&mut self.folder, folder());
        Self::start(folder, &self.database.clone(), std::mem::take(&mut self.settings)).await
    }

    pub(crate) async fn on_postgres(cluster: &Postgres) -> Self {
        Self::start(folder(), &cluster.create_database(), Vec::new()).await
    }

    async fn start(folder: TempDir, url: &str, settings: BenchSettings) -> Self {
        let began = Instant::now();
        let mut process = Command::new(BINARY)
            .args(["serve", "--server-port", "0", "--log-format", "json"])
            .env("PANAVERSITY_RATE_LIMIT_PER_SECOND", "0")
            .env("DATABASE_URL", url)
            .env("PANAVERSITY_STORAGE_ROOT", folder.path().join("data"))
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .current_dir(folder.path())
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
        let mut server = Self { process, address, started_in: 0.0, folder, database, settings };
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
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            let kilobytes = line.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok());
            kilobytes.unwrap_or(f64::NAN) / 1024.0
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

impl Drop for BenchServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder on a real disk: a temporary folder may be in memory.
pub(crate) fn folder() -> TempDir {
    tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// One client that commits to `SQLite`: commits per second, and the median in milliseconds.
pub(crate) fn sqlite_commits(seconds: f64) -> (f64, f64) {
    let folder = folder();
    let yardstick = Path::new(BINARY).with_file_name("examples").join("commit_yardstick");
    let output = Command::new(yardstick).arg(folder.path()).arg(seconds.to_string()).output();
    let output = output.expect("build it first: cargo build --release -p panaversity-store --examples");
    two_numbers(&output.stdout)
}

/// `pgbench -N` with this many clients: transactions per second, and the mean in milliseconds.
pub(crate) fn pgbench(cluster: &Postgres, clients: usize, seconds: u32) -> (f64, f64) {
    let url = cluster.create_database();
    let pgbench = || Command::new(cluster.programs().join("pgbench"));
    let prepared = pgbench().args(["-i", "-q", "-s", "10", &url]).output().expect("pgbench");
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
    let arguments = ["-N", "-c", &clients.to_string(), "-j", "2", "-T", &seconds.to_string(), &url];
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
