//! The `migbench` command.

use std::process::ExitCode;

use clap::Parser;
use migbench::cli::{self, Cli};

fn main() -> ExitCode {
    cli::start(Cli::parse())
}
