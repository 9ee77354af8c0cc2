//! libpq's environment variables and password file: what an address leaves out.

use std::path::PathBuf;

use super::hosts::At;
use super::parameters::{as_libpq_does, ssl_mode};
use super::password_file;
use super::postgres::Tls;

/// Folders where servers put their sockets.
const SOCKET_FOLDERS: [&str; 3] = ["/run/postgresql", "/var/run/postgresql", "/tmp"];
const PORT: u16 = 5432;

/// Reader of the environment.
pub(super) struct Environment(pub(super) fn(&str) -> Option<String>);

impl Environment {
    /// That of the process.
    pub(super) fn of_process() -> Self {
        Self(|name| std::env::var(name).ok())
    }

    /// A variable that is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    pub(super) fn port(&self) -> u16 {
        self.get("PGPORT").and_then(|port| port.parse().ok()).unwrap_or(PORT)
    }

    /// libpq's default without a host: a variable, else the machine's socket, else localhost.
    pub(super) fn host(&self, port: u16) -> At {
        if let Some(host) = self.get("PGHOSTADDR").or_else(|| self.get("PGHOST")) {
            return if host.starts_with('/') { At::Socket(host) } else { At::Tcp(host) };
        }
        let folder = SOCKET_FOLDERS
            .into_iter()
            .find(|folder| std::fs::exists(format!("{folder}/.s.PGSQL.{port}")).unwrap_or(false));
        folder.map_or_else(|| At::Tcp("localhost".to_owned()), |folder| At::Socket(folder.to_owned()))
    }

    /// User of the database: a variable, else the user of the process.
    pub(super) fn user(&self) -> String {
        self.get("PGUSER").or_else(|| whoami::username().ok()).unwrap_or_else(|| "unknown".to_owned())
    }

    /// Completes TLS settings.
    pub(super) fn tls(&self, given: &Tls) -> Result<Tls, String> {
        let mode = || self.get("PGSSLMODE").map(|mode| ssl_mode(&mode)).transpose();
        let mode = match given.mode {
            None => mode().map_err(|why| format!("PGSSLMODE: {why}"))?,
            mode => mode,
        };
        Ok(as_libpq_does(Tls {
            mode,
            root: given.root.clone().or_else(|| self.get("PGSSLROOTCERT")),
            certificate: given.certificate.clone().or_else(|| self.get("PGSSLCERT")),
            key: given.key.clone().or_else(|| self.get("PGSSLKEY")),
        }))
    }

    /// Password for a server: a variable, else that of the password file.
    pub(super) fn password(&self, host: &At, port: u16, database: &str, user: &str) -> Option<String> {
        let file = || match self.get("PGPASSFILE") {
            Some(file) => Some(PathBuf::from(file)),
            None => std::env::home_dir().map(|home| home.join(".pgpass")),
        };
        self.get("PGPASSWORD").or_else(|| {
            // A socket stands for this machine.
            let names = match host {
                At::Tcp(name) => vec![name.as_str()],
                At::Socket(folder) => vec![folder.as_str(), "localhost"],
                At::Default => vec!["localhost"],
            };
            password_file::password(&file()?, &names, port, database, user)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::postgres::TlsMode;
    use super::*;

    #[test]
    fn what_an_address_leaves_out_is_taken_from_libpqs_variables() {
        let set = Environment(|name| {
            let value = match name {
                "PGHOST" => "db.example.com",
                "PGPORT" => "5433",
                "PGUSER" => "pfs",
                "PGPASSWORD" => "secret",
                "PGSSLMODE" => "require",
                "PGSSLROOTCERT" => "/ca.pem",
                _ => "",
            };
            Some(value.to_owned())
        });
        assert_eq!(
            (set.host(1), set.port(), set.user()),
            (At::Tcp("db.example.com".to_owned()), 5433, "pfs".to_owned())
        );
        assert_eq!(set.password(&At::Default, 1, "d", "u").as_deref(), Some("secret"));
        let tls = set.tls(&Tls::default()).unwrap();
        assert_eq!((tls.mode, tls.root.as_deref()), (Some(TlsMode::VerifyCa), Some("/ca.pem")));
        let given = Tls { mode: Some(TlsMode::Disable), ..Tls::default() };
        assert_eq!(set.tls(&given).unwrap().mode, Some(TlsMode::Disable), "the address counts more");
    }

    #[test]
    fn a_socket_may_be_a_variable_and_a_wrong_mode_is_refused() {
        let set = Environment(|name| match name {
            "PGHOST" => Some("/run/pg".to_owned()),
            "PGSSLMODE" => Some("verify_full".to_owned()),
            _ => None,
        });
        assert_eq!(set.host(1), At::Socket("/run/pg".to_owned()));
        assert!(set.tls(&Tls::default()).unwrap_err().contains("PGSSLMODE"), "it asked to verify");
        let none = Environment(|_| None);
        assert_eq!((none.port(), none.tls(&Tls::default()).unwrap()), (5432, Tls::default()));
    }
}
