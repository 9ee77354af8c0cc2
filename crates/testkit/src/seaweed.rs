//! A private `SeaweedFS`: an independent S3 implementation, for a smoke test of behavior that this
//! crate's own S3 may be too lenient about. It lists by folder, so not in bytewise order.
//!
//! The server is killed when the thread that started it ends; that thread only waits for it. Only
//! its folder outlives the process; the next process that starts a server removes it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::postgres::free_port;
use crate::s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};

const BUCKET: &str = "test-bucket";
/// Prefix of the names of its folders.
const FOLDERS: &str = "panaversity-weed-";
/// Name of a lock file in each folder, locked for the lifetime of its process.
const LOCK: &str = "lock";
const READY_TIMEOUT: Duration = Duration::from_mins(1);
/// Every port that the server opens by default, to be set so that none is fixed.
const PORTS: [&str; 9] = [
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
];

/// A running server with one bucket.
#[derive(Debug)]
pub struct SeaweedFs {
    port: u16,
    _folder: TempDir,
    _lock: File,
}

/// The server of this process, started on first use; takes a second.
pub fn shared() -> &'static SeaweedFs {
    static SHARED: OnceLock<SeaweedFs> = OnceLock::new();
    SHARED.get_or_init(SeaweedFs::start)
}

impl SeaweedFs {
    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its bucket, which all tests share.
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }

    fn start() -> Self {
        sweep();
        let folder = tempfile::Builder::new().prefix(FOLDERS).tempdir().expect("a temporary folder");
        let lock = lock(folder.path()).expect("the folder's lock");
        let keys = folder.path().join("s3.json");
        let identity = format!(
            r#"{{"identities":[{{"name":"test","credentials":[{{"accessKey":"{ACCESS_KEY_ID}","secretKey":"{SECRET_ACCESS_KEY}"}}],"actions":["Admin","Read","Write","List"]}}]}}"#
        );
        fs::write(&keys, identity).expect("the server's keys");
        let port = free_port();
        let log = File::create(folder.path().join("log")).expect("the server's log");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program()).arg("mini");
        command.arg(format!("-dir={}", folder.path().join("data").display()));
        command.arg(format!("-s3.config={}", keys.display())).arg(format!("-s3.port={port}"));
        command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false", "-webdav=false"]);
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-metricsPort=0", "-s3.metricsPort=0"]);
        command.arg("-master.telemetry=false").arg(format!("-bucket={BUCKET}"));
        let ports = PORTS.map(|name| (name, free_port()));
        command.args(ports.map(|(name, port)| format!("-{name}={port}")));
        command.env("TMPDIR", folder.path()).current_dir(folder.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the server's log")).stderr(log);
        thread::spawn(move || {
            let child = command.spawn();
            let mut child = child.expect("`setpriv` of util-linux is needed to start SeaweedFS");
            let _ = child.wait();
        });
        let start = Instant::now();
        let filer = ports.iter().find(|(name, _)| *name == "filer.port").expect("a port of the list").1;
        // The gateway answers anonymous requests with 403 before the bucket exists; the filer has
        // it shortly after.
        let is_ready = || {
            status(port, &format!("/{BUCKET}")) == Some(403)
                && status(filer, &format!("/buckets/{BUCKET}/")) == Some(200)
        };
        while !is_ready() {
            if start.elapsed() > READY_TIMEOUT {
                let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                panic!("SeaweedFS is not ready after {READY_TIMEOUT:?}:\n{log}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Self { port, _folder: folder, _lock: lock }
    }
}

/// Creates the locked file of a new folder. It is locked before it gets its name.
fn lock(folder: &Path) -> io::Result<File> {
    let beside = folder.join("new-lock");
    let lock = File::create_new(&beside)?;
    lock.try_lock().map_err(io::Error::from)?;
    fs::rename(beside, folder.join(LOCK))?;
    Ok(lock)
}

/// Removes folders of processes that have ended.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(FOLDERS));
        if ours && File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The status of the response to an anonymous request, if there is one.
fn status(port: u16, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).ok()?;
    std::str::from_utf8(&start[9..]).ok()?.parse().ok()
}

/// Path of the program: `TEST_WEED`, else the one that scripts/install-test-tools has put beside
/// the build.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("TEST_WEED") {
        return PathBuf::from(program);
    }
    let build = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")), PathBuf::from);
    let program = build.join("test-tools/bin/weed");
    assert!(
        program.exists(),
        "no SeaweedFS found: run scripts/install-test-tools, or name `weed` in TEST_WEED"
    );
    program
}
