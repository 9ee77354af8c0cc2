//! A primary and its synchronous standby, which has a commit before the primary acknowledges it.

use super::{Account, Postgres, as_server, create_folder, programs, run};

/// Not durable across a power cut, and with the log that a standby needs.
const SETTINGS: &[&str] = &["fsync=off", "full_page_writes=off", "wal_level=replica", "max_wal_senders=4"];

impl Postgres {
    /// Starts a primary and a standby of it; takes about three seconds.
    pub fn with_standby() -> (Self, Self) {
        let primary = Self::start_with(SETTINGS);
        let account = Account::of_server();
        let folder = create_folder(account.as_ref());
        let programs = programs();
        run(as_server(account.as_ref(), &programs.join("pg_basebackup"))
            .arg("--pgdata")
            .arg(folder.path().join("data"))
            .args(["--dbname", &primary.url("postgres")])
            .args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]));
        let standby = Self::start_on(programs, account, folder, SETTINGS);
        let url = primary.url("postgres");
        primary.query(&url, "ALTER SYSTEM SET synchronous_standby_names = '*'");
        primary.query(&url, "SELECT pg_reload_conf()");
        primary.wait_until(&url, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'", "1");
        (primary, standby)
    }

    /// Freezes a standby, and ends the stream to it: what is in the sockets would still reach it.
    pub fn cut_off(&self, standby: &Self) {
        standby.freeze();
        let streams = "SELECT pg_terminate_backend(pid) FROM pg_stat_replication";
        self.query(&self.url("postgres"), streams);
    }

    /// Makes a standby the primary, and waits for it.
    pub fn promote(&self) {
        assert_eq!(self.query(&self.url("postgres"), "SELECT pg_promote()"), "t");
    }

    /// URL of a database of this server or of the other, whichever can be written to.
    pub fn url_beside(&self, other: &Self, database: &str) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{database}?target_session_attrs=read-write",
            self.port, other.port
        )
    }
}
