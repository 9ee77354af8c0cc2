//! The flags of a command, generated from the table of settings. Invariants: every flag also has an
//! environment name, and both have a help line.

use std::collections::BTreeMap;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::{CommandScope, SETTINGS, Setting};

/// The flags given to a command that reads the settings up to scope `REACH`.
#[derive(Debug, Default)]
pub(crate) struct Flags<const REACH: u8> {
    given: BTreeMap<String, String>,
}

/// The flags of `serve`.
pub(crate) type ServeFlags = Flags<{ CommandScope::Serve as u8 }>;
/// The flags of `mcp`.
pub(crate) type McpFlags = Flags<{ CommandScope::Mcp as u8 }>;
/// The flags of `migrate`.
pub(crate) type MigrateFlags = Flags<{ CommandScope::Migrate as u8 }>;

impl<const REACH: u8> Flags<REACH> {
    /// The values by flag name, without dashes.
    pub(crate) fn into_given(self) -> BTreeMap<String, String> {
        self.given
    }

    fn settings() -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|setting| setting.scope as u8 <= REACH)
    }
}

/// Name of the flag that names a file containing a secret.
pub(crate) fn file_flag(setting: &Setting) -> String {
    format!("{}-file", setting.flag())
}

impl<const REACH: u8> Args for Flags<REACH> {
    fn augment_args(mut command: Command) -> Command {
        for setting in Self::settings() {
            command = command.arg(flag(setting.flag(), setting.value, help(setting)));
            if setting.secret {
                let help =
                    format!("The same, read from a file [env: {}]", names(setting, "_FILE").join(" or "));
                command = command.arg(flag(file_flag(setting), "FILE", help));
            }
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const REACH: u8> FromArgMatches for Flags<REACH> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self { given: BTreeMap::new() };
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in Self::settings() {
            let with_file = setting.secret.then(|| file_flag(setting));
            for flag in std::iter::once(setting.flag()).chain(with_file) {
                if let Some(value) = matches.get_one::<String>(&flag) {
                    self.given.insert(flag, value.clone());
                }
            }
        }
        Ok(())
    }
}

fn flag(name: String, value: &'static str, help: String) -> Arg {
    Arg::new(name.clone()).long(name).value_name(value).help(help).help_heading("Settings")
}

fn help(setting: &Setting) -> String {
    let mut text = format!("{} [env: {}]", setting.help, names(setting, "").join(" or "));
    if let Some(default) = setting.default {
        text.push_str(" [default: ");
        text.push_str(default);
        text.push(']');
    }
    text
}

fn names(setting: &Setting, end: &str) -> Vec<String> {
    setting.names.iter().map(|name| format!("{name}{end}")).collect()
}
