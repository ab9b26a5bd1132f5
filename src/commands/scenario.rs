//! `migbench scenario`.

use crate::error::Error;

/// List, show and validate scenarios.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Run the command.
pub async fn execute(_args: Args) -> Result<(), Error> {
    Err(Error::Usage("not built yet".into()))
}
