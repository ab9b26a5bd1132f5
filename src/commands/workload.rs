//! `migbench workload`.

use crate::error::Error;

/// The built-in workload, as containers run it.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Run the command.
pub async fn execute(_args: Args) -> Result<(), Error> {
    Err(Error::Usage("not built yet".into()))
}
