//! Database URLs in all the spellings people use.
//!
//! `postgresql+asyncpg://`, `postgresql://`, `postgres://`, with `sslmode` or `ssl` and
//! `pgbouncer=true`; `sqlite+aiosqlite:///file`, `sqlite:///file`, `sqlite://file`, `sqlite:file`.
//! As in SQLAlchemy, three slashes are a relative path and four an absolute one.

use std::path::PathBuf;

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite {
        /// The file; relative to the working directory.
        file: PathBuf,
    },
    /// A server.
    Postgres {
        /// In the form libpq knows.
        url: String,
        /// Behind a transaction pooler: no prepared statements, no start-up options.
        pooler: bool,
    },
}

impl DatabaseUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// A message for the operator, without the URL's password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once(':')
            .ok_or("it must start with `postgresql://` or `sqlite:`, such as `sqlite:./panaversity_fs.db`")?;
        match scheme {
            "sqlite" | "sqlite+aiosqlite" => sqlite(rest),
            "postgres" | "postgresql" | "postgresql+asyncpg" => postgres(rest),
            _ => {
                Err(format!("`{scheme}` is no database this server knows; use `postgresql://` or `sqlite:`"))
            }
        }
    }

    /// The URL with its password hidden.
    pub fn masked(&self) -> String {
        match self {
            Self::Sqlite { file } => format!("sqlite:{}", file.display()),
            Self::Postgres { url, .. } => {
                let (address, query) = url.split_once('?').unwrap_or((url, ""));
                let address = match address.rsplit_once('@') {
                    Some((credentials, host)) => {
                        let user = credentials.trim_start_matches("postgres://").split(':').next();
                        format!("postgres://{}:***@{host}", user.unwrap_or_default())
                    }
                    None => address.to_owned(),
                };
                let shown = query.split('&').filter(|pair| pair.starts_with("sslmode="));
                let shown: Vec<&str> = shown.collect();
                if shown.is_empty() { address } else { format!("{address}?{}", shown.join("&")) }
            }
        }
    }

    /// Whether this is an SQLite file that does not exist yet.
    pub fn is_new_file(&self) -> bool {
        matches!(self, Self::Sqlite { file } if !file.exists())
    }

    /// `sqlite` or `postgresql`.
    pub fn backend(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres { .. } => "postgresql",
        }
    }
}

fn sqlite(rest: &str) -> Result<DatabaseUrl, String> {
    let (path, _) = rest.split_once('?').unwrap_or((rest, ""));
    let file = path.strip_prefix("///").or_else(|| path.strip_prefix("//")).unwrap_or(path);
    if file.is_empty() || file.contains(":memory:") {
        return Err(
            "SQLite needs a file, such as `sqlite:./panaversity_fs.db`: memory is lost at a stop".to_owned()
        );
    }
    Ok(DatabaseUrl::Sqlite { file: PathBuf::from(file) })
}

fn postgres(rest: &str) -> Result<DatabaseUrl, String> {
    if !rest.starts_with("//") {
        return Err("it must read `postgresql://user:password@host:5432/database`".to_owned());
    }
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut kept, mut pooler) = (Vec::new(), false);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "true")) {
            ("pgbouncer", value) => pooler = value == "true" || value == "1",
            ("ssl" | "sslmode", value) => kept.push(format!("sslmode={}", ssl_mode(value)?)),
            // asyncpg's own knobs: prepared statements are ours to decide.
            ("prepared_statement_cache_size" | "statement_cache_size", "0") => pooler = true,
            (name, value) => kept.push(format!("{name}={value}")),
        }
    }
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    Ok(DatabaseUrl::Postgres { url: format!("postgres:{address}{query}"), pooler })
}

fn ssl_mode(value: &str) -> Result<&str, String> {
    match value {
        "true" | "1" | "on" => Ok("require"),
        "false" | "0" | "off" => Ok("disable"),
        "disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full" => Ok(value),
        _ => Err(format!(
            "sslmode `{value}` is not one of disable, allow, prefer, require, verify-ca, verify-full"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(url: &str) -> PathBuf {
        match DatabaseUrl::parse(url).unwrap() {
            DatabaseUrl::Sqlite { file } => file,
            DatabaseUrl::Postgres { .. } => panic!("{url}"),
        }
    }

    #[test]
    fn sqlite_is_spelled_in_many_ways() {
        for url in [
            "sqlite:a/b.db",
            "sqlite://a/b.db",
            "sqlite:///a/b.db",
            "sqlite+aiosqlite:///a/b.db",
            "sqlite:a/b.db?mode=rwc",
        ] {
            assert_eq!(file(url), PathBuf::from("a/b.db"), "{url}");
        }
        assert_eq!(file("sqlite+aiosqlite:////var/b.db"), PathBuf::from("/var/b.db"));
        assert_eq!(file("sqlite:/var/b.db"), PathBuf::from("/var/b.db"));
        assert_eq!(file("sqlite:///./b.db"), PathBuf::from("./b.db"));
    }

    #[test]
    fn postgresql_is_spelled_in_many_ways() {
        for scheme in ["postgres", "postgresql", "postgresql+asyncpg"] {
            let url = format!("{scheme}://u:p@h:5432/d?ssl=true&pgbouncer=true");
            let wanted =
                DatabaseUrl::Postgres { url: "postgres://u:p@h:5432/d?sslmode=require".into(), pooler: true };
            assert!(DatabaseUrl::parse(&url).unwrap() == wanted, "{url}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_next_step() {
        for bad in
            ["", "mysql://h/d", "sqlite:", "sqlite::memory:", "postgres:h", "postgres://h/d?sslmode=maybe"]
        {
            assert!(DatabaseUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let url = DatabaseUrl::parse("postgresql://u:secret@h/d").unwrap();
        assert_eq!(url.masked(), "postgres://u:***@h/d");
        for hiding in ["postgresql://u:se:cr:et@h/d", "postgresql://u@h/d?password=secret&sslmode=require"] {
            let shown = DatabaseUrl::parse(hiding).unwrap().masked();
            assert!(!shown.contains("se") || shown.ends_with("?sslmode=require"), "{shown}");
            assert!(!shown.contains("cr"), "{shown}");
        }
    }
}
