//! Address of one or more PostgreSQL servers, interpreted as by libpq: host, user, password, database
//! and port default to `PGHOST`, `PGUSER` and so on, the password also to `.pgpass`. Two differences:
//! with `hostaddr`, TLS verifies the address and not the name; and `channel_binding` is not checked.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_postgres::Config;

use super::environment::Environment;
use super::hosts::{At, Host};
use crate::database::error::{Sql, SqlError};

/// Characters escaped where a URL is displayed.
const IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Servers and connection parameters.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PostgresUrl {
    /// At least one; tried in this order.
    pub(super) hosts: Vec<Host>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: Option<String>,
    pub(super) application_name: Option<String>,
    /// Command-line options for the server, as sent by libpq.
    pub(super) options: Option<String>,
    pub(super) tls: Tls,
    pub(super) target: TargetSession,
    /// Connect timeout per host.
    pub(super) connect_timeout: Option<Duration>,
    /// Behind a transaction pooler: no prepared statements, no start-up options.
    pub(super) pooler: bool,
    /// Messages about requested features without effect.
    pub(super) warnings: Vec<String>,
}

/// TLS settings of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::database) struct Tls {
    pub(in crate::database) mode: Option<TlsMode>,
    /// File names.
    pub(in crate::database) root: Option<String>,
    pub(in crate::database) certificate: Option<String>,
    pub(in crate::database) key: Option<String>,
}

/// Whether a connection is encrypted, and how the server's certificate is verified: libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::database) enum TlsMode {
    Disable,
    /// Encrypted only if the server refuses it otherwise.
    Allow,
    /// Encrypted if the server can.
    Prefer,
    Require,
    /// The certificate must be trusted; its name does not matter.
    VerifyCa,
    VerifyFull,
}

/// Parameters of connections to one server.
pub(in crate::database) struct ConnectOptions {
    pub(in crate::database) config: Config,
    pub(in crate::database) tls: Tls,
}

/// Kind of server required: libpq's `target_session_attrs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TargetSession {
    #[default]
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl PostgresUrl {
    /// Connection options of each host, with its display name. `start_up` are further options for the
    /// server.
    pub(in crate::database) fn candidates(
        &self,
        start_up: Option<&str>,
    ) -> Sql<Vec<(String, ConnectOptions)>> {
        let environment = Environment::of_process();
        let options = |host: &Host| Ok((host.shown(), self.options_for(host, &environment, start_up)?));
        self.hosts.iter().map(options).collect()
    }

    /// Kind of server required.
    pub(crate) fn target(&self) -> TargetSession {
        self.target
    }

    /// Connect timeout per host, if given.
    pub(crate) fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// True if the servers are behind a transaction pooler.
    pub(crate) fn is_behind_pooler(&self) -> bool {
        self.pooler
    }

    fn options_for(
        &self,
        host: &Host,
        environment: &Environment,
        start_up: Option<&str>,
    ) -> Sql<ConnectOptions> {
        let port = host.port.unwrap_or_else(|| environment.port());
        let at = if host.at == At::Default { environment.host(port) } else { host.at.clone() };
        let user = self.user.clone().unwrap_or_else(|| environment.user());
        let database = self.database.clone().or_else(|| environment.get("PGDATABASE"));
        let database = database.unwrap_or_else(|| user.clone());
        let mut tls = environment.tls(&self.tls).map_err(SqlError::Driver)?;
        let mut config = Config::new();
        match &at {
            At::Tcp(name) => config.host(name),
            At::Socket(folder) => {
                // As in libpq: a socket, which cannot be intercepted, is not encrypted.
                tls.mode = Some(TlsMode::Disable);
                config.host_path(folder)
            }
            At::Default => &mut config,
        };
        config.port(port).user(&user).dbname(&database);
        if let Some(password) =
            self.password.clone().or_else(|| environment.password(&at, port, &database, &user))
        {
            config.password(password);
        }
        let name = self.application_name.clone().or_else(|| environment.get("PGAPPNAME"));
        config.application_name(name.as_deref().unwrap_or("panaversity-fs"));
        let options = [environment.get("PGOPTIONS"), self.options.clone(), start_up.map(str::to_owned)];
        let options: Vec<String> = options.into_iter().flatten().collect();
        if !options.is_empty() {
            config.options(options.join(" "));
        }
        Ok(ConnectOptions { config, tls })
    }

    /// URL without the password and other parts that may contain a secret.
    pub(super) fn masked(&self) -> String {
        let user = self.user.as_deref().map(encoded).unwrap_or_default();
        let credentials = match &self.password {
            Some(_) => format!("{user}:***@"),
            None if user.is_empty() => String::new(),
            None => format!("{user}@"),
        };
        let hosts = self.hosts.iter().map(Host::shown).collect::<Vec<_>>().join(",");
        let has_socket = self.hosts.iter().any(|host| matches!(host.at, At::Socket(_)));
        let database = self.database.as_deref().map(encoded);
        let mut query = Vec::new();
        query.extend(has_socket.then(|| format!("host={hosts}")));
        query.extend(self.tls.mode.map(|mode| format!("sslmode={}", mode.name())));
        let target = self.target.name();
        query.extend(target.map(|target| format!("target_session_attrs={target}")));
        let authority = if has_socket { "" } else { &hosts };
        let path = database.map(|name| format!("/{name}")).unwrap_or_default();
        let path = if path.is_empty() && has_socket { "/" } else { &path };
        let mark = if query.is_empty() { "" } else { "?" };
        format!("postgres://{credentials}{authority}{path}{mark}{}", query.join("&"))
    }
}

impl TlsMode {
    pub(super) const ALL: [Self; 6] =
        [Self::Disable, Self::Allow, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// libpq's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl TargetSession {
    /// libpq's name, unless it is the default.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Any => None,
            Self::ReadWrite => Some("read-write"),
            Self::ReadOnly => Some("read-only"),
            Self::Primary => Some("primary"),
            Self::Standby => Some("standby"),
            Self::PreferStandby => Some("prefer-standby"),
        }
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, IN_URL).to_string()
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host as DriverHost;

    use super::super::DatabaseUrl;
    use super::*;

    fn read(url: &str) -> PostgresUrl {
        match DatabaseUrl::parse(url) {
            Ok(DatabaseUrl::Postgres(server)) => *server,
            Ok(DatabaseUrl::Sqlite { .. }) => panic!("{url} is no file"),
            Err(why) => panic!("{url}: {why}"),
        }
    }

    /// Endpoints of the connections: host or socket, and port.
    fn places(url: &str) -> Vec<(String, u16)> {
        let candidates = read(url).candidates(None).unwrap();
        let place = |options: &ConnectOptions| {
            let host = match &options.config.get_hosts()[0] {
                DriverHost::Tcp(name) => name.clone(),
                DriverHost::Unix(folder) => folder.display().to_string(),
            };
            (host, options.config.get_ports()[0])
        };
        candidates.iter().map(|(_, options)| place(options)).collect()
    }

    fn refused(url: &str) -> String {
        DatabaseUrl::parse(url).err().unwrap_or_else(|| panic!("{url} was read"))
    }

    fn place(host: &str, port: u16) -> (String, u16) {
        (host.to_owned(), port)
    }

    #[test]
    fn a_host_is_spelled_in_many_ways() {
        for (url, host, port) in [
            ("postgresql+asyncpg://u:p@h:5433/d", "h", 5433),
            ("postgres://u@h/d", "h", 5432),
            ("postgresql://h", "h", 5432),
            ("postgresql:///d?host=h&port=5433", "h", 5433),
            ("postgresql://u:p@/d?host=h:5433", "h", 5433),
            ("postgresql://old:1/d?host=h", "h", 1),
            ("postgresql://h/d?hostaddr=10.0.0.7", "10.0.0.7", 5432),
            ("postgresql://[2001:db8::1]:5433/d", "2001:db8::1", 5433),
            ("postgresql://[::1]/d", "::1", 5432),
            ("postgresql:///d?host=::1", "::1", 5432),
            ("host=h port=5433 dbname=d", "h", 5433),
            ("hostaddr = 10.0.0.7", "10.0.0.7", 5432),
        ] {
            assert_eq!(places(url), [place(host, port)], "{url}");
        }
    }

    #[test]
    fn a_socket_is_spelled_in_many_ways() {
        for (url, folder, port) in [
            ("postgresql+asyncpg://u:p@/d?host=/run/pg", "/run/pg", 5432),
            (
                "postgresql://u:p@/d?host=/cloudsql/project:europe-west1:books",
                "/cloudsql/project:europe-west1:books",
                5432,
            ),
            ("postgresql+asyncpg://u:p@/d?host=/cloudsql/p:r:i/.s.PGSQL.5432", "/cloudsql/p:r:i", 5432),
            ("postgresql://u:p@/d?host=%2Frun%2Fpg&port=5433", "/run/pg", 5433),
            ("postgresql://u:p@%2Frun%2Fpg/d", "/run/pg", 5432),
            ("postgresql://%2Frun%2Fpg:5433/d", "/run/pg", 5433),
            ("postgresql://u:p@:5433/d?host=/run/pg", "/run/pg", 5433),
            ("postgresql://u:p@localhost:5432/d?host=/run/pg", "/run/pg", 5432),
            ("user=u password='a b' host=/run/pg port=5433", "/run/pg", 5433),
        ] {
            assert_eq!(places(url), [place(folder, port)], "{url}");
        }
    }

    #[test]
    fn several_hosts_are_kept_in_their_order() {
        let two = [place("h1", 5432), place("h2", 5433)];
        for url in [
            "postgresql://u:p@h1:5432,h2:5433/d",
            "postgresql:///d?host=h1,h2&port=5432,5433",
            "postgresql+asyncpg://u:p@/d?host=h1:5432&host=h2:5433",
            "postgresql://u:p@/d?port=,5433&host=h1,h2",
            "host=h1,h2 port=5432,5433",
        ] {
            assert_eq!(places(url), two, "{url}");
        }
        let mixed = places("postgresql://d1,[::1]:5433,d2:5434/d");
        assert_eq!(mixed, [place("d1", 5432), place("::1", 5433), place("d2", 5434)]);
        assert_eq!(places("postgresql:///d?host=/a,b&port=5433"), [place("/a", 5433), place("b", 5433)]);
        let three = refused("postgresql:///d?host=h1,h2,h3&port=5432,5433");
        assert_eq!(three, "it names 3 hosts and 2 ports: give one port, or one each");
    }

    #[test]
    fn every_part_reaches_the_connection() {
        let url = "postgresql+asyncpg://us%40er:p%2Fw%23%3A@h/da%20ta?ssl=verify-full&application_name=a+b\
                   &options=-c%20geqo%3Doff&connect_timeout=1&target_session_attrs=read-write";
        let server = read(url);
        let (_, ConnectOptions { config, tls }) = server.candidates(Some("-c x=1")).unwrap().remove(0);
        assert_eq!((config.get_user(), config.get_dbname()), (Some("us@er"), Some("da ta")));
        assert_eq!(
            (config.get_application_name(), config.get_options()),
            (Some("a+b"), Some("-c geqo=off -c x=1"))
        );
        assert_eq!((tls.mode, config.get_password()), (Some(TlsMode::VerifyFull), Some(&b"p/w#:"[..])));
        assert_eq!(
            (server.target, server.connect_timeout),
            (TargetSession::ReadWrite, Some(Duration::from_secs(2)))
        );
        let other = read("postgresql:///?user=u&password=p%26w&dbname=d");
        assert_eq!((other.user.as_deref(), other.password.as_deref()), (Some("u"), Some("p&w")));
        assert_eq!(other.database.as_deref(), Some("d"));
        assert_eq!(read("postgresql://u:a:b@h").password.as_deref(), Some("a:b"));
        let socket = read("postgresql:///d?host=/run/pg&sslmode=require").candidates(None).unwrap().remove(0);
        assert_eq!(socket.1.tls.mode, Some(TlsMode::Disable), "a socket is not encrypted");
    }

    #[test]
    fn encryption_is_understood_as_libpq_and_asyncpg_do() {
        for (query, mode, root) in [
            ("ssl=true", Some("require"), None),
            ("ssl=false", Some("disable"), None),
            ("sslmode=require&sslrootcert=/ca.pem", Some("verify-ca"), Some("/ca.pem")),
            ("sslrootcert=system", Some("verify-full"), None),
            ("requiressl=1", Some("require"), None),
            ("", None, None),
        ] {
            let Tls { mode: found, root: file, .. } = read(&format!("postgresql://h/d?{query}")).tls;
            assert_eq!((found.map(TlsMode::name), file.as_deref()), (mode, root), "{query}");
        }
    }

    #[test]
    fn parameters_that_change_nothing_are_left_out() {
        let url = "postgresql://h/d?keepalives=1&keepalives_idle=30&tcp_user_timeout=9&gssencmode=disable\
                   &channel_binding=prefer&sslsni=1&client_encoding=utf8&load_balance_hosts=disable\
                   &ssl_min_protocol_version=TLSv1.2&krbsrvname=postgres";
        assert_eq!(places(url), [place("h", 5432)]);
        assert!(read(url).warnings.is_empty());
        let hosted = read("postgresql://u:p@h/d?sslmode=require&channel_binding=require");
        assert_eq!(hosted.warnings.len(), 1, "a demand that is not met is told");
        assert!(read("postgresql://h/d?pgbouncer=true").pooler);
        assert!(read("postgresql://h/d?prepared_statement_cache_size=0").pooler);
        assert!(!read("postgresql://h/d?prepared_statement_cache_size=100&pgbouncer=false").pooler);
    }

    #[test]
    fn what_is_no_parameter_is_refused_by_name() {
        for (query, said) in [
            ("ssl_mode=require", "no parameter `ssl_mode`; did you mean `sslmode`?"),
            ("target_session_attr=any", "did you mean `target_session_attrs`?"),
            ("schema=public", "no parameter `schema`; leave it out"),
            ("sslmode=maybe", "not one of disable, allow, prefer"),
            ("target_session_attrs=master", "not one of any, read-write"),
            ("connect_timeout=soon", "a number of seconds"),
            ("service=books", "`service` is not supported: write the host"),
            ("require_auth=scram-sha-256", "`require_auth` is not supported"),
            ("gssencmode=require", "not supported"),
            ("port=0", "the port must be a number from 1 to 65535"),
            ("hostaddr=h", "`hostaddr` must be an IP address"),
            ("host=@pg", "abstract sockets"),
        ] {
            let why = refused(&format!("postgresql:///d?{query}"));
            assert!(why.contains(said), "{query}: {why}");
        }
    }

    #[test]
    fn what_a_password_must_not_hold_is_named_with_what_to_write() {
        for (url, said) in [
            ("postgresql://u:hun#ter2@h/d", "`#` must be written `%23`"),
            ("postgresql://u:#hunter2@h:5432/d?sslmode=require", "`#` must be written `%23`"),
            ("postgresql://u:hun/ter2@h/d", "`/` must be written `%2F`"),
            ("postgresql://u:1/ter2@h/d?sslmode=require", "`/` must be written `%2F`"),
            ("postgresql://u:hun?ter2@h/d", "`?` must be written `%3F`"),
            ("postgresql://u:hun?ter2=x@h/d", "`?` must be written `%3F`"),
            ("postgresql://u:123?ter2=x@h/d", "`?` must be written `%3F`"),
            ("postgresql://u:hun@ter2@h/d", "`@` must be written `%40`"),
            ("postgresql://u:hun ter2@h/d", "a space must be written `%20`"),
            ("postgresql://u:hun%ter2@h/d", "`%` must be written `%25`"),
            ("postgresql://u:hunter2%@h/d", "`%` must be written `%25`"),
            ("postgresql://u:hunter2%4@h/d", "`%` must be written `%25`"),
            ("postgresql://u:hunter2%00@h/d", "must not hold `%00`"),
            ("postgresql://u:hunter2%ff@h/d", "is not UTF-8"),
            ("postgresql://u:hun\nter2@h/d", "a line break"),
            ("postgresql://u:hunter2/d", "the port must be a number"),
            ("postgresql://u:p@h/d?password=hunter2#", "`#` must be written `%23`"),
            ("postgresql://u@h/d?password=hun&ter2=x", "`&` must be written `%26`"),
            ("user=u password=hun ter2 host=h", "must stand in '...'"),
            ("user=u password=hun ter2=x host=h", "must stand in '...'"),
            ("user=u password='hun'ter2' host=h", "must stand in '...'"),
        ] {
            let why = refused(url);
            assert!(why.contains(said), "{url}: {why}");
            assert!(!why.contains("hun") && !why.contains("ter2"), "{url}: {why}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("postgresql://u:hunter2@h/d", "postgres://u:***@h/d"),
            ("postgresql://u:hun:ter2@h:5433/d?sslmode=require", "postgres://u:***@h:5433/d?sslmode=require"),
            ("postgresql://u@h/d?password=hunter2", "postgres://u:***@h/d"),
            ("postgresql:///d?user=u&password=hunter2&host=h1,h2", "postgres://u:***@h1,h2/d"),
            ("postgresql://u:hunter2@/d?host=/run/pg", "postgres://u:***@/d?host=/run/pg"),
            ("postgresql://:hunter2@%2Frun%2Fpg:5433", "postgres://:***@/?host=/run/pg/.s.PGSQL.5433"),
            ("user=u password='hunter2' host=h", "postgres://u:***@h"),
            ("postgresql://[::1]:5433/d?options=-c%20x%3Dhunter2&sslkey=hunter2", "postgres://[::1]:5433/d"),
            (
                "postgresql://h1,h2/d?target_session_attrs=primary",
                "postgres://h1,h2/d?target_session_attrs=primary",
            ),
        ] {
            assert_eq!(DatabaseUrl::parse(url).unwrap().masked(), shown, "{url}");
        }
    }
}
