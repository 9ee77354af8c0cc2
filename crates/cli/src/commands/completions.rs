//! `completions`: prints the script by which a shell completes commands and flags.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::failure::{Failure, print};

/// Arguments of `completions`.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    panaversity-fs completions bash > /etc/bash_completion.d/panaversity-fs\n  \
    panaversity-fs completions zsh > \"${fpath[1]}/_panaversity-fs\"\n  \
    panaversity-fs completions fish > ~/.config/fish/completions/panaversity-fs.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Runs `completions` for this parser of the command line.
pub(crate) fn run(args: &CompletionsArgs, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(args.shell, &mut command, "panaversity-fs", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())
}
