//! A private `PgBouncer` in transaction mode, in front of a private `PostgreSQL`.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Postgres, READY_TIMEOUT, as_server, create_folder, free_port, keep};

/// A running `PgBouncer`; dropping it ends it.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    pid: u32,
    keeper: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl PgBouncer {
    /// Number of connections to the server per database.
    pub const POOL: usize = 3;

    /// Starts one in front of all databases of a cluster; `None` if the machine has none. `TEST_PGBOUNCER`
    /// names the program.
    pub fn start(postgres: &Postgres) -> Option<Self> {
        let program = program()?;
        let folder = create_folder(postgres.account.as_ref());
        let (port, file) = (free_port(), folder.path().join("pgbouncer.ini"));
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
             default_pool_size = {}\nmax_client_conn = 200\n",
            postgres.port,
            Self::POOL
        );
        fs::write(&file, settings).expect("the settings of PgBouncer");
        let mut command = as_server(postgres.account.as_ref(), &program);
        command.arg("-q").arg(&file);
        let (pid, keeper) = keep(command);
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < READY_TIMEOUT && !keeper.is_finished(), "PgBouncer does not start");
            thread::sleep(Duration::from_millis(10));
        }
        Some(Self { port, pid, keeper: Some(keeper), _folder: folder })
    }

    /// The URL of a database, by that of the cluster.
    pub fn url(&self, direct: &str) -> String {
        let database = direct.rsplit('/').next().expect("a database's URL");
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // Once the keeper is done the id may be another process's.
        if let Some(keeper) = self.keeper.take().filter(|keeper| !keeper.is_finished()) {
            let _ = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status();
            let _ = keeper.join();
        }
    }
}

fn program() -> Option<PathBuf> {
    let named = std::env::var_os("TEST_PGBOUNCER").map(PathBuf::from);
    let usual = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].map(PathBuf::from);
    named.into_iter().chain(usual).find(|program| Path::exists(program))
}
