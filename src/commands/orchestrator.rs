//! `migbench orchestrator`.

use crate::error::Error;

/// Run the AI Storage Orchestrator.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Run the command.
pub async fn execute(_args: Args) -> Result<(), Error> {
    Err(Error::Usage("not built yet".into()))
}
