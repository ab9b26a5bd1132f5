//! The `migbench` command.

use std::process::ExitCode;

use clap::Parser;
use migbench::{cli::Cli, commands};

fn main() -> ExitCode {
    commands::start(Cli::parse())
}
