//! The built-in model-monitor: spends CPU time and reads the newest checkpoint again and again.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Ending, Error,
    burner::Burner,
    checkpoint::{self, State},
    epoch::Claims,
    termination,
};

/// Time between two looks at the checkpoints.
const EVERY: Duration = Duration::from_millis(500);

/// What the monitor is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where checkpoints are.
    pub checkpoints: PathBuf,
    /// CPU demand, millicores.
    pub millicores: u64,
    /// Memory, bytes.
    pub memory_bytes: usize,
}

/// Watch until SIGTERM.
pub async fn run(options: Options) -> Result<Ending, Error> {
    let mut term = termination()?;
    tokio::select! {
        () = watch(options) => Ok(Ending::Finished),
        _ = term.recv() => Ok(Ending::Terminated),
    }
}

async fn watch(options: Options) {
    let burner = Burner::new(options.millicores, options.memory_bytes);
    burner.resume();
    let mut seen = None;
    loop {
        // A checkpoint may be removed while it is read; the next one will do.
        if let Some(state) = newest(&options.checkpoints).filter(|state| seen != Some(state.step)) {
            seen = Some(state.step);
            tracing::info!(step = state.step, "checkpoint read");
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn newest(dir: &Path) -> Option<State> {
    let claimed = Claims::of(dir).list().ok()?;
    let newest = checkpoint::lineage(dir, &claimed).into_iter().next()?;
    checkpoint::read(&newest.path).ok()
}
