//! Sources of values: flags, the environment, `.env`, and the files that `NAME_FILE` names. The
//! process's environment is read once and never changed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::Path;

use panaversity_model::suggestion::nearest_name;
use secrecy::SecretString;

use super::dotenv::{self, DotEnv};
use super::flags::file_flag;
use super::{ConfigError, Key, NAMES_ELSEWHERE, SETTINGS, Setting};

/// Prefix of the names that only this program uses.
const OURS: &str = "PANAVERSITY_";
/// Maximum size of a secret's file, in bytes. A longer one is the wrong file.
const LONGEST_SECRET: u64 = 64 * 1024;

/// A value, and the name it was set under.
#[derive(PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) text: String,
    pub(crate) name: String,
}

/// Without the text, which may be a secret.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Given({}=***)", self.name)
    }
}

/// The values of all sources.
#[derive(Default)]
pub(crate) struct Sources {
    flags: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    dotenv: DotEnv,
}

impl Sources {
    /// Reads the flags, the process's environment and `.env` of the working directory.
    pub(crate) fn gather(flags: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let environment = environment(std::env::vars_os())?;
        let names = dotenv::Names { is_ours: matters, is_public };
        let dotenv = dotenv::read(Path::new(".env"), names, |name| std::env::var(name).ok())?;
        Ok(Self { flags, environment, dotenv })
    }

    /// Sources with the given values as the environment and nothing else.
    pub(crate) fn of_environment(given: &[(&str, &str)]) -> Self {
        let environment = given.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { environment, ..Self::default() }
    }

    /// The value of a setting, if any source sets it. An empty value counts as not set, because
    /// Compose files produce one for a missing variable.
    pub(crate) fn given(&self, key: Key) -> Result<Option<Given>, ConfigError> {
        let setting = Setting::of(key);
        let flag = setting.flag();
        let file = setting.secret.then(|| file_flag(setting));
        let in_flags = one_of(&self.flags, &flag, file.as_deref(), "--")?;
        if in_flags.is_some() {
            return Ok(in_flags);
        }
        for source in [&self.environment, &self.dotenv.values] {
            for name in setting.names {
                let file = setting.secret.then(|| format!("{name}_FILE"));
                let found = one_of(source, name, file.as_deref(), "")?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// The value of a setting, or its default.
    pub(crate) fn text(&self, key: Key) -> Result<Option<Given>, ConfigError> {
        let setting = Setting::of(key);
        let default =
            setting.default.map(|text| Given { text: text.to_owned(), name: setting.names[0].to_owned() });
        Ok(self.given(key)?.or(default))
    }

    /// Warnings for the operator: about lines of `.env`, and about `PANAVERSITY_*` names that set
    /// nothing.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let names: std::collections::BTreeSet<_> =
            self.environment.keys().chain(self.dotenv.values.keys()).collect();
        let names = names.into_iter().filter(|name| name.starts_with(OURS));
        let of_lines = self.dotenv.warnings.iter().cloned();
        of_lines.chain(names.filter_map(|name| warning(name))).collect()
    }

    /// Logs them.
    pub(crate) fn log_warnings(&self) {
        for warning in self.warnings() {
            tracing::warn!(target: "panaversity_fs.config", "{warning}");
        }
    }
}

fn warning(name: &str) -> Option<String> {
    let known = || SETTINGS.iter().flat_map(|setting| setting.names).chain(NAMES_ELSEWHERE).copied();
    let secret_file = |name: &str| {
        let base = name.strip_suffix("_FILE");
        base.is_some_and(|base| SETTINGS.iter().any(|s| s.secret && s.names.contains(&base)))
    };
    if known().any(|one| one == name) || secret_file(name) {
        return None;
    }
    // All names share the prefix: with it, every name would be similar to every other.
    let bare = |name: &'static str| name.strip_prefix(OURS);
    let nearest = nearest_name(&name[OURS.len()..], known().filter_map(bare));
    Some(match nearest {
        Some(nearest) => format!("{name} is no setting and has no effect; did you mean {OURS}{nearest}?"),
        None => format!("{name} is no setting and has no effect"),
    })
}

fn one_of(
    source: &BTreeMap<String, String>,
    name: &str,
    file: Option<&str>,
    dashes: &str,
) -> Result<Option<Given>, ConfigError> {
    let get = |name: &str| source.get(name).filter(|text| !text.is_empty());
    let from_file = file.and_then(|file| get(file).map(|path| (file, path)));
    match (get(name), from_file) {
        (Some(_), Some((file, _))) => {
            Err(ConfigError(format!("{dashes}{name} and {dashes}{file} are both set; set one of them")))
        }
        (Some(text), None) => Ok(Some(Given { text: text.clone(), name: format!("{dashes}{name}") })),
        (None, Some((file, path))) => {
            let text = secret(Path::new(path)).map_err(|error| {
                ConfigError(format!("{dashes}{file} is {path:?}, which cannot be read: {error}"))
            })?;
            Ok(Some(Given { text, name: format!("{dashes}{file}") }))
        }
        (None, None) => Ok(None),
    }
}

/// A secret of a command that reads no other settings: the variable itself, or the file that `NAME_FILE`
/// names.
pub(crate) fn secret_of_environment(name: &str) -> Result<Option<SecretString>, ConfigError> {
    let file = format!("{name}_FILE");
    let set = [name, &file].into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    let given = one_of(&set.collect(), name, Some(&file), "")?;
    Ok(given.map(|given| given.text.trim().into()))
}

/// Reads the file of a secret, without the final line end that editors add.
fn secret(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    // Limits the read itself: a device has no length, and may never end.
    file.take(LONGEST_SECRET + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LONGEST_SECRET {
        return Err("it is too long for a secret".to_owned());
    }
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text) }
}

/// The process's variables that may be relevant to this program.
fn environment(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut found = BTreeMap::new();
    for (name, value) in all {
        let Ok(name) = name.into_string() else { continue };
        if !matters(&name) {
            continue;
        }
        let value = value.into_string().map_err(|_| ConfigError(format!("{name} is not valid UTF-8")))?;
        found.insert(name, value);
    }
    Ok(found)
}

fn matters(name: &str) -> bool {
    let base = name.strip_suffix("_FILE").unwrap_or(name);
    name.starts_with(OURS) || SETTINGS.iter().any(|setting| setting.names.contains(&base))
}

/// Returns true for the name of a setting whose value may be shown. An unknown name may be a
/// mistyped secret, or one of another version.
fn is_public(name: &str) -> bool {
    SETTINGS.iter().any(|setting| !setting.secret && setting.names.contains(&name))
}

#[cfg(test)]
impl Sources {
    /// Sources for tests: flags, environment, `.env`.
    pub(crate) fn of(flags: &[(&str, &str)], environment: &[(&str, &str)], dotenv: &[(&str, &str)]) -> Self {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        let dotenv = DotEnv { values: map(dotenv), ..DotEnv::default() };
        Self { flags: map(flags), environment: map(environment), dotenv }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sources: &Sources, key: Key) -> String {
        sources.text(key).unwrap().unwrap().text
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let name = "PANAVERSITY_STORAGE_ROOT";
        let all = Sources::of(&[("storage-root", "a")], &[(name, "b")], &[(name, "c")]);
        assert_eq!(text(&all, Key::StorageRoot), "a");
        assert_eq!(text(&Sources::of(&[], &[(name, "b")], &[(name, "c")]), Key::StorageRoot), "b");
        assert_eq!(text(&Sources::of(&[], &[(name, "")], &[(name, "c")]), Key::StorageRoot), "c");
        assert_eq!(text(&Sources::of(&[], &[], &[]), Key::StorageRoot), "./panaversity-data");
    }

    #[test]
    fn the_first_of_two_names_wins() {
        let both = [("DATABASE_URL", "sqlite:b"), ("PANAVERSITY_DATABASE_URL", "sqlite:a")];
        assert_eq!(text(&Sources::of(&[], &both, &[]), Key::DatabaseUrl), "sqlite:a");
        let port = Sources::of(&[], &[("PORT", "1234")], &[]);
        assert_eq!(port.text(Key::Port).unwrap(), Some(Given { text: "1234".into(), name: "PORT".into() }));
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_only_from_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        std::fs::write(&file, "sqlite:x.db\r\n").unwrap();
        let path = file.to_str().unwrap();
        let given = Sources::of(&[], &[("DATABASE_URL_FILE", path)], &[]);
        assert_eq!(text(&given, Key::DatabaseUrl), "sqlite:x.db");
        let flag = Sources::of(&[("database-url-file", path)], &[("DATABASE_URL", "sqlite:y")], &[]);
        assert_eq!(text(&flag, Key::DatabaseUrl), "sqlite:x.db");
        let both = Sources::of(&[], &[("DATABASE_URL_FILE", path), ("DATABASE_URL", "sqlite:y")], &[]);
        let ConfigError(why) = both.text(Key::DatabaseUrl).unwrap_err();
        assert_eq!(why, "DATABASE_URL and DATABASE_URL_FILE are both set; set one of them");
        let endless = Sources::of(&[], &[("DATABASE_URL_FILE", "/dev/zero")], &[]);
        let ConfigError(why) = endless.text(Key::DatabaseUrl).unwrap_err();
        assert!(why.ends_with("too long for a secret"), "{why}");
        let gone = Sources::of(&[], &[("DATABASE_URL_FILE", "/nowhere/at/all")], &[]);
        let ConfigError(why) = gone.text(Key::DatabaseUrl).unwrap_err();
        assert!(why.starts_with("DATABASE_URL_FILE is \"/nowhere/at/all\", which cannot be read"), "{why}");
    }

    #[test]
    fn a_variable_is_named_only_where_a_known_setting_that_is_no_secret_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".env");
        let warning = |name: &str| {
            std::fs::write(&file, format!("{name}=abc$sEcReT")).unwrap();
            let names = dotenv::Names { is_ours: matters, is_public };
            dotenv::read(&file, names, |_| None).unwrap().warnings.concat()
        };
        let hidden = [
            "DATABASE_URL",
            "DATABASE_URL_FILE",
            "PANAVERSITY_S3_SECRET_ACCESS_KEY",
            "PANAVERSITY_REDIS_URL",
            "PANAVERSITY_SIGNIN_KEY",
            "PANAVERSITY_signing_key",
            "PANAVERSITY_",
        ];
        for name in hidden {
            let said = warning(name);
            assert!(said.contains(&format!("{name} names a variable that is not set")), "{name}: {said}");
            assert!(!said.contains("sEcReT"), "{said}");
        }
        for name in ["PANAVERSITY_STORAGE_ROOT", "DATABASE_POOL_SIZE", "PORT"] {
            assert!(warning(name).contains(&format!("{name} names $sEcReT, which is not set")), "{name}");
        }
    }

    #[test]
    fn unknown_names_are_reported_with_the_nearest_known_one() {
        let names = [
            "PANAVERSITY_STORAGE_ROT",
            "PANAVERSITY_QQ",
            "PANAVERSITY_WEB",
            "PANAVERSITY_ENV",
            "PANAVERSITY_URL",
            "PANAVERSITY_DATABASE_URL_FILE",
        ];
        let given: Vec<_> = names.iter().map(|name| (*name, "x")).collect();
        assert_eq!(
            Sources::of(&[], &given, &[("PANAVERSITY_LOG_LEVL", "x")]).warnings(),
            [
                "PANAVERSITY_LOG_LEVL is no setting and has no effect; did you mean PANAVERSITY_LOG_LEVEL?",
                "PANAVERSITY_QQ is no setting and has no effect",
                "PANAVERSITY_STORAGE_ROT is no setting and has no effect; did you mean PANAVERSITY_STORAGE_ROOT?",
            ]
        );
    }
}
