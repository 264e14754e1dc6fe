//! The `dormouse` program: see `dormouse::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dormouse::cli::main()
}
