//! The binary `panaversity-fs`. All commands are in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    panaversity_fs::run()
}
