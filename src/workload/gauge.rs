//! The built-in gauge: spends CPU time at a set pace, and tells how much by its own clock.

use std::time::Duration;

use super::{
    Ending, Error,
    burner::{Burner, process_cpu},
    report, termination, unix_seconds,
};
use crate::contract::workload::Progress;

/// Time between two lines; between them the pace is even to a millisecond.
const EVERY: Duration = Duration::from_millis(100);

/// Burn until SIGTERM.
pub async fn run(millicores: u64, memory_bytes: usize) -> Result<Ending, Error> {
    let mut term = termination()?;
    tokio::select! {
        () = tell(millicores, memory_bytes) => Ok(Ending::Finished),
        _ = term.recv() => Ok(Ending::Terminated),
    }
}

async fn tell(millicores: u64, memory_bytes: usize) {
    let burner = Burner::new(millicores, memory_bytes);
    burner.resume();
    loop {
        report(&Progress::Cpu {
            t: unix_seconds(),
            used: process_cpu().as_secs_f64(),
            work: burner.work(),
        });
        tokio::time::sleep(EVERY).await;
    }
}
