//! Commands of the binary. What they print on stdout and stderr is searched for secrets when they end
//! (`log_watch`), except the stdout of `keys create` and `hooks create`, which show their secret once, and of
//! `mcp`, whose answers may contain links.

use std::ffi::OsStr;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::log_watch;

/// A command of the binary, built as a [`Command`] is.
pub(crate) struct BinaryCommand {
    command: Command,
    /// Number of arguments before those of the binary.
    own_arguments: usize,
}

/// A running command of the binary.
pub(crate) struct BinaryChild {
    child: Child,
    shows_secrets: bool,
}

impl BinaryCommand {
    /// A command whose arguments so far are not the binary's.
    pub(super) fn new(command: Command) -> Self {
        let own_arguments = command.get_args().count();
        Self { command, own_arguments }
    }

    /// Adds an argument; if it is a URL with a secret, no output may contain that from now on.
    pub(crate) fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        if let Some(text) = argument.as_ref().to_str() {
            log_watch::in_url(text);
        }
        self.command.arg(argument);
        self
    }

    pub(crate) fn args(&mut self, arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> &mut Self {
        for argument in arguments {
            self.arg(argument);
        }
        self
    }

    /// Sets a variable; if it is a secret, no output may contain it from now on.
    pub(crate) fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        if let Some(text) = value.as_ref().to_str() {
            log_watch::setting(name, text);
        }
        self.command.env(name, value);
        self
    }

    pub(crate) fn envs<V: AsRef<OsStr>>(&mut self, all: impl IntoIterator<Item = (String, V)>) -> &mut Self {
        for (name, value) in all {
            self.env(&name, value);
        }
        self
    }

    pub(crate) fn env_remove(&mut self, name: &str) -> &mut Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Self {
        self.command.current_dir(folder);
        self
    }

    pub(crate) fn stdin(&mut self, from: impl Into<Stdio>) -> &mut Self {
        self.command.stdin(from);
        self
    }

    pub(crate) fn stdout(&mut self, to: impl Into<Stdio>) -> &mut Self {
        self.command.stdout(to);
        self
    }

    pub(crate) fn stderr(&mut self, to: impl Into<Stdio>) -> &mut Self {
        self.command.stderr(to);
        self
    }

    /// Runs it to its end, and searches what it printed.
    pub(crate) fn output(&mut self) -> io::Result<Output> {
        let output = self.command.output()?;
        search(&output, self.shows_secrets());
        Ok(output)
    }

    /// Starts it.
    pub(crate) fn spawn(&mut self) -> io::Result<BinaryChild> {
        Ok(BinaryChild { child: self.command.spawn()?, shows_secrets: self.shows_secrets() })
    }

    /// The command itself; whoever runs it searches its output.
    pub(crate) fn into_unsearched(self) -> Command {
        self.command
    }

    fn shows_secrets(&self) -> bool {
        let arguments: Vec<_> = self.command.get_args().skip(self.own_arguments).take(2).collect();
        let is_create = arguments == ["keys", "create"] || arguments == ["hooks", "create"];
        is_create || arguments.first().is_some_and(|first| *first == "mcp")
    }
}

impl BinaryChild {
    /// Waits until it has ended, and searches what it printed and nobody has read.
    pub(crate) fn wait_with_output(self) -> io::Result<Output> {
        let output = self.child.wait_with_output()?;
        search(&output, self.shows_secrets);
        Ok(output)
    }
}

impl Deref for BinaryChild {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for BinaryChild {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

fn search(output: &Output, shows_secrets: bool) {
    for line in searched_lines(output, shows_secrets) {
        log_watch::search(&line);
    }
}

fn searched_lines(output: &Output, shows_secrets: bool) -> Vec<String> {
    let stdout = (!shows_secrets).then_some(&output.stdout);
    let texts = stdout.into_iter().chain([&output.stderr]).map(|bytes| String::from_utf8_lossy(bytes));
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn all_that_a_command_prints_is_searched_but_a_key_that_is_shown_once() {
    for (arguments, searched) in [
        (&["config", "check"][..], &["out", "err"][..]),
        (&["keys", "list", "create"], &["out", "err"]),
        (&["keys", "create", "--agent", "a"], &["err"]),
        (&["hooks", "create", "--book-id", "a"], &["err"]),
        (&["mcp"], &["err"]),
    ] {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo out; echo err >&2"]);
        let mut command = BinaryCommand::new(shell);
        command.args(arguments);
        let output = command.output().unwrap();
        assert_eq!(searched_lines(&output, command.shows_secrets()), searched, "{arguments:?}");
    }
}
