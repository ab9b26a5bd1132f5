//! `migbench generate`: what a shell and `man` want to know of the command line.

use std::path::PathBuf;

use clap::{Command, Subcommand};
use clap_complete::Shell;

use crate::error::Error;

/// Write shell completions and man pages.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to write.
    #[command(subcommand)]
    pub what: What,
}

/// What can be written.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Completions for a shell, on stdout.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// A man page for each command, as files.
    Man {
        /// The directory to write into.
        directory: PathBuf,
    },
}

/// Run the command, for a command line.
#[expect(clippy::unused_async, reason = "all commands have one signature")]
pub async fn execute(args: Args, mut line: Command) -> Result<(), Error> {
    match args.what {
        What::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut line, "migbench", &mut script);
            super::print(&script)
        }
        What::Man { directory } => {
            let written =
                std::fs::create_dir_all(&directory).and_then(|()| clap_mangen::generate_to(line, &directory));
            written.map_err(|error| Error::Usage(format!("cannot write {}: {error}", directory.display())))
        }
    }
}
