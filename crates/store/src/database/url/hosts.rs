//! Hosts of a PostgreSQL URL. libpq has three parallel lists, of hosts, addresses and ports; they
//! are merged into one list of servers.

use std::net::{IpAddr, Ipv6Addr};

/// Prefix of a socket's file name; its port follows.
const SOCKET: &str = "/.s.PGSQL.";

/// Address of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(super) at: At,
    /// `None`: libpq's default, `PGPORT` or 5432.
    pub(super) port: Option<u16>,
}

/// Endpoint of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    /// libpq's default without a host: `PGHOST`, else the machine's socket, else localhost.
    Default,
    /// Name or IP address, IPv6 without brackets.
    Tcp(String),
    /// Folder of a Unix-domain socket.
    Socket(String),
}

/// libpq's lists, as given.
#[derive(Default)]
pub(super) struct HostLists {
    pub(super) hosts: Vec<String>,
    pub(super) addresses: Vec<String>,
    pub(super) ports: Vec<String>,
}

impl HostLists {
    /// Merges the lists into one server per entry.
    pub(super) fn servers(self) -> Result<Vec<Host>, String> {
        let Self { hosts, addresses, ports } = self;
        let count = hosts.len().max(addresses.len()).max(1);
        if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
            return Err(format!("it names {} hosts and {} in `hostaddr`", hosts.len(), addresses.len()));
        }
        if ports.len() > 1 && ports.len() != count {
            return Err(format!(
                "it names {count} hosts and {} ports: give one port, or one each",
                ports.len()
            ));
        }
        let port_of = |index: usize| ports.get(if ports.len() == 1 { 0 } else { index });
        let mut servers = Vec::with_capacity(count);
        for index in 0..count {
            let port = port_of(index).map(|text| port(text)).transpose()?.flatten();
            let mut host = match hosts.get(index) {
                Some(text) => Host::parse(text)?,
                None => Host { at: At::Default, port: None },
            };
            if let Some(text) = addresses.get(index).filter(|text| !text.is_empty()) {
                let address: IpAddr = text.parse().map_err(|_| "`hostaddr` must be an IP address")?;
                host.at = At::Tcp(address.to_string());
            }
            servers.push(Host { port: host.port.or(port), ..host });
        }
        Ok(servers)
    }
}

impl Host {
    /// Parses one entry of a list: a name, an address, a socket's folder, or the socket itself. A port may
    /// follow the first two, as in SQLAlchemy.
    fn parse(text: &str) -> Result<Self, String> {
        const BAD: &str = "a host must be a name, an IP address or the folder of a socket";
        if text.is_empty() {
            return Ok(Self { at: At::Default, port: None });
        }
        if text.starts_with('@') {
            return Err("abstract sockets (`@...`) are not supported: give the folder of a socket".to_owned());
        }
        if text.starts_with('/') {
            let (folder, number) = match text.rsplit_once(SOCKET) {
                Some((folder, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                    (folder, number)
                }
                _ => (text, ""),
            };
            let folder = if folder.is_empty() { "/" } else { folder };
            return Ok(Self { at: At::Socket(folder.to_owned()), port: port(number)? });
        }
        let (name, number) = if let Some(rest) = text.strip_prefix('[') {
            let (address, after) = rest.split_once(']').ok_or("an IPv6 address lacks its `]`")?;
            address.parse::<Ipv6Addr>().map_err(|_| "in `[...]` an IPv6 address must stand")?;
            (address, if after.is_empty() { "" } else { after.strip_prefix(':').ok_or(BAD)? })
        } else if text.parse::<Ipv6Addr>().is_ok() {
            (text, "")
        } else {
            text.split_once(':').unwrap_or((text, ""))
        };
        if !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':')) {
            return Err(BAD.to_owned());
        }
        let at = if name.is_empty() { At::Default } else { At::Tcp(name.to_owned()) };
        Ok(Self { at, port: port(number)? })
    }

    /// Display form, also valid in a URL.
    pub(super) fn shown(&self) -> String {
        let at = match &self.at {
            At::Default => String::new(),
            At::Tcp(name) if name.contains(':') => format!("[{name}]"),
            At::Tcp(name) => name.clone(),
            At::Socket(folder) => folder.clone(),
        };
        match (&self.at, self.port) {
            (_, None) => at,
            (At::Socket(_), Some(port)) => format!("{}{SOCKET}{port}", at.trim_end_matches('/')),
            (_, Some(port)) => format!("{at}:{port}"),
        }
    }
}

/// Parses an optional port. The text may be part of a password, so no error shows it.
fn port(text: &str) -> Result<Option<u16>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let bad = || "the port must be a number from 1 to 65535".to_owned();
    text.parse().ok().filter(|port| *port > 0).map(Some).ok_or_else(bad)
}
