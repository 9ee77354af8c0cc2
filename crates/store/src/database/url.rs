//! Database URLs in all common spellings.
//!
//! `postgresql+asyncpg://`, `postgresql://`, `postgres://` and libpq's `keyword=value` form, see
//! [`postgres`]; `sqlite+aiosqlite:///file`, `sqlite:///file`, `sqlite://file`, `sqlite:file`. As in
//! SQLAlchemy, three slashes are a relative path and four an absolute one.

mod environment;
mod hosts;
mod keywords;
mod parameters;
mod password_file;
pub(super) mod postgres;
mod uri;

use std::path::PathBuf;

use postgres::PostgresUrl;

/// Address of the database.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite {
        /// The file; relative to the working directory.
        file: PathBuf,
    },
    /// A PostgreSQL server, or several of which one is used.
    Postgres(Box<PostgresUrl>),
}

impl DatabaseUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// A message for the operator, without the URL's password.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "it must start with `postgresql://` or `sqlite:`, such as `sqlite:./panaversity_fs.db`";
        if keywords::is_keyword_form(text) {
            return keywords::parse(text).map(Self::from);
        }
        let (scheme, rest) = text.split_once(':').ok_or(FORM)?;
        match scheme {
            "sqlite" | "sqlite+aiosqlite" => sqlite(rest),
            "postgres" | "postgresql" | "postgresql+asyncpg" => uri::parse(rest).map(Self::from),
            // Anything else before a colon may be part of a password.
            _ if rest.starts_with("//") && is_scheme(scheme) => {
                Err(format!("`{scheme}` is no database this server knows; use `postgresql://` or `sqlite:`"))
            }
            _ => Err(FORM.to_owned()),
        }
    }

    /// The URL with its password hidden.
    pub fn masked(&self) -> String {
        match self {
            Self::Sqlite { file } => format!("sqlite:{}", file.display()),
            Self::Postgres(server) => server.masked(),
        }
    }

    /// Warnings about parameters of the URL that have no effect, although a server starts without them.
    pub fn warnings(&self) -> &[String] {
        match self {
            Self::Sqlite { .. } => &[],
            Self::Postgres(server) => &server.warnings,
        }
    }

    /// True for an `SQLite` file that does not exist yet.
    pub fn is_new_file(&self) -> bool {
        matches!(self, Self::Sqlite { file } if !file.exists())
    }

    /// `sqlite` or `postgresql`.
    pub fn backend(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }
}

impl From<PostgresUrl> for DatabaseUrl {
    fn from(server: PostgresUrl) -> Self {
        Self::Postgres(Box::new(server))
    }
}

fn is_scheme(text: &str) -> bool {
    text.len() <= 40 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn sqlite(rest: &str) -> Result<DatabaseUrl, String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let file = path.strip_prefix("///").or_else(|| path.strip_prefix("//")).unwrap_or(path);
    let has = |wanted: &str| query.split('&').any(|pair| pair.eq_ignore_ascii_case(wanted));
    if file.is_empty() || file.contains(":memory:") || has("mode=memory") {
        return Err(
            "SQLite needs a file, such as `sqlite:./panaversity_fs.db`: memory is lost at a stop".to_owned()
        );
    }
    if has("mode=ro") || has("immutable=1") || has("immutable=true") {
        return Err("the SQLite file is written to: leave `mode=ro` and `immutable` out".to_owned());
    }
    Ok(DatabaseUrl::Sqlite { file: PathBuf::from(file) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(url: &str) -> PathBuf {
        match DatabaseUrl::parse(url).unwrap() {
            DatabaseUrl::Sqlite { file } => file,
            DatabaseUrl::Postgres(_) => panic!("{url}"),
        }
    }

    #[test]
    fn sqlite_is_spelled_in_many_ways() {
        for url in [
            "sqlite:a/b.db",
            "sqlite://a/b.db",
            "sqlite:///a/b.db",
            "sqlite+aiosqlite:///a/b.db",
            "sqlite+aiosqlite:///a/b.db?timeout=30",
            "sqlite:a/b.db?mode=rwc",
        ] {
            assert_eq!(file(url), PathBuf::from("a/b.db"), "{url}");
        }
        assert_eq!(file("sqlite+aiosqlite:////var/b.db"), PathBuf::from("/var/b.db"));
        assert_eq!(file("sqlite:/var/b.db"), PathBuf::from("/var/b.db"));
        assert_eq!(file("sqlite:///./b.db"), PathBuf::from("./b.db"));
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_next_step() {
        for (bad, said) in [
            ("", "must start with"),
            ("mysql://h/d", "`mysql` is no database"),
            ("se:cret", "must start with"),
            ("sqlite:", "needs a file"),
            ("sqlite::memory:", "needs a file"),
            ("sqlite:x.db?mode=memory", "needs a file"),
            ("sqlite:x.db?cache=shared&mode=ro", "leave `mode=ro`"),
            ("postgres:h", "must read `postgresql://"),
        ] {
            let why = DatabaseUrl::parse(bad).err().unwrap_or_else(|| panic!("{bad} was read"));
            assert!(why.contains(said) && !why.contains("cret"), "{bad}: {why}");
        }
    }
}
