//! Outages of a cluster: frozen, killed and restarted, a table locked, read-only, password or
//! encryption required.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::{Postgres, READY_TIMEOUT, keep, ready, server};

impl Postgres {
    /// Address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Suspends all its processes (SIGSTOP). The kernel still accepts connections for it.
    pub fn freeze(&self) {
        // The main process first, so that it starts no more.
        signal("-STOP", &[self.pid]);
        signal("-STOP", &self.children());
    }

    /// Resumes all its processes (SIGCONT).
    pub fn thaw(&self) {
        signal("-CONT", &self.children());
        signal("-CONT", &[self.pid]);
    }

    /// Kills all its processes at once, as a crash of the machine would.
    pub fn kill9(&mut self) {
        self.freeze();
        signal("-KILL", &self.children());
        signal("-KILL", &[self.pid]);
        if let Some(keeper) = self.keeper.take() {
            keeper.join().expect("the keeper");
        }
    }

    /// Starts the server again after [`Self::kill9`], on the same port and data.
    pub fn restart(&mut self) {
        assert!(self.keeper.is_none(), "it is running");
        let folder = self.folder.path();
        let command = server(self.account.as_ref(), &self.programs, folder, self.port, self.settings);
        let (pid, keeper) = keep(command);
        let up = ready(folder, pid, &keeper);
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(up, "PostgreSQL does not start again:\n{log}");
        (self.pid, self.keeper) = (pid, Some(keeper));
    }

    /// Locks a table of a database: all reads and writes of it wait.
    pub fn lock(&self, url: &str, table: &str) -> Lock {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-t", "-A", "-d", url]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut psql = psql.spawn().expect("psql");
        let script = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n");
        psql.stdin.as_mut().expect("its input").write_all(script.as_bytes()).expect("psql reads");
        let mut said = String::new();
        BufReader::new(psql.stdout.take().expect("its output")).read_line(&mut said).expect("psql answers");
        assert_eq!(said.trim(), "locked");
        Lock(psql)
    }

    /// Sets or clears `default_transaction_read_only`, as if the server became or stopped being a
    /// standby.
    pub fn set_read_only(&self, read_only: bool) {
        let url = self.url("postgres");
        let value = if read_only { "on" } else { "off" };
        // A read-only session may still set its own transactions to read-write.
        let writing = format!("{url}?options=-c%20default_transaction_read_only%3Doff");
        self.query(&writing, &format!("ALTER SYSTEM SET default_transaction_read_only = {value}"));
        self.query(&writing, "SELECT pg_reload_conf()");
        self.wait_until(&url, "SHOW default_transaction_read_only", value);
    }

    /// Requires a password for TCP connections from now on, and sets this one for `postgres`.
    pub fn require_password(&self, password: &str) {
        self.admit("host", password);
    }

    /// Encrypts TCP connections from now on, if the client wishes.
    pub fn encrypt(&self, certificate: &Path, key: &Path) {
        let data = self.folder.path().join("data");
        for (from, name) in [(certificate, "server.crt"), (key, "server.key")] {
            let file = data.join(name);
            fs::copy(from, &file).expect("a copy of the file");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its permissions");
            if let Some(account) = &self.account {
                chown(&file, Some(account.uid), Some(account.gid)).expect("its owner");
            }
        }
        let socket = self.socket_url("postgres");
        self.query(&socket, "ALTER SYSTEM SET ssl = on");
        self.query(&socket, "SELECT pg_reload_conf()");
        self.wait_until(&socket, "SHOW ssl", "on");
    }

    /// Requires encryption, and this password of `postgres`, for TCP connections from now on.
    pub fn require_encryption(&self, password: &str) {
        self.admit("hostssl", password);
    }

    /// Admits TCP connections of this kind, with this password of `postgres`.
    fn admit(&self, kind: &str, password: &str) {
        let socket = self.socket_url("postgres");
        self.query(&socket, &format!("ALTER ROLE postgres PASSWORD '{password}'"));
        let rules = format!("local all all trust\n{kind} all all 127.0.0.1/32 scram-sha-256\n");
        fs::write(self.folder.path().join("data/pg_hba.conf"), rules).expect("the server's rules");
        self.query(&socket, "SELECT pg_reload_conf()");
        let rules = "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'scram-sha-256'";
        self.wait_until(&socket, rules, "1");
    }

    /// Waits until a query has this result.
    pub(super) fn wait_until(&self, url: &str, sql: &str, wanted: &str) {
        let start = Instant::now();
        while self.query(url, sql) != wanted {
            assert!(start.elapsed() < READY_TIMEOUT, "{sql} is not {wanted}");
        }
    }

    fn children(&self) -> Vec<u32> {
        let list = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid));
        list.unwrap_or_default().split_whitespace().map(|pid| pid.parse().expect("a process id")).collect()
    }
}

fn signal(name: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let pids = pids.iter().map(u32::to_string);
    // A process that has ended meanwhile needs no signal.
    let _ = Command::new("kill").arg(name).args(pids).stderr(Stdio::null()).status();
}

/// A locked table; dropping this releases the lock.
#[derive(Debug)]
pub struct Lock(Child);

impl Drop for Lock {
    fn drop(&mut self) {
        // At the end of its input `psql` exits, and its transaction ends.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
