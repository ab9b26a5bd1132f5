//! `migbench cluster`.

use crate::error::Error;

/// Run the embedded cluster.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Run the command.
pub async fn execute(_args: Args) -> Result<(), Error> {
    Err(Error::Usage("not built yet".into()))
}
