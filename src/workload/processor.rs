//! The built-in data-processor: spends CPU time, writes shards of data, and completes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::{
    Ending, Error,
    burner::Burner,
    durable::{sync, write_atomically},
    report, termination,
};
use crate::contract::workload::Progress;

/// Shards over the whole duration; the first is written at once.
const SHARDS: u32 = 8;
const SHARD_BYTES: usize = 64 * 1024;

/// What the processor is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the shards go.
    pub output: PathBuf,
    /// How long it works, wall clock.
    pub duration: Duration,
    /// CPU demand, millicores.
    pub millicores: u64,
    /// Memory, bytes.
    pub memory_bytes: usize,
}

/// Whether a first shard is there.
pub(crate) fn data_exists(dir: &Path) -> bool {
    shard(dir, 0).exists()
}

fn shard(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("shard-{number:04}.bin"))
}

/// Work for the duration and say what was produced.
pub async fn run(options: Options) -> Result<Ending, Error> {
    let mut term = termination()?;
    tokio::select! {
        finished = produce(options) => finished.map(|()| Ending::Finished),
        _ = term.recv() => Ok(Ending::Terminated),
    }
}

async fn produce(options: Options) -> Result<(), Error> {
    let started = Instant::now();
    fs::create_dir_all(&options.output).map_err(Error::at(&options.output))?;
    let burner = Burner::new(options.millicores, options.memory_bytes);
    burner.resume();
    let mut outputs = Vec::new();
    for number in 0..SHARDS {
        sleep_until(started + options.duration * number / SHARDS).await;
        let path = shard(&options.output, number);
        write_atomically(&path, &vec![u8::try_from(number).unwrap_or(0); SHARD_BYTES])?;
        outputs.push(path);
    }
    sleep_until(started + options.duration).await;
    outputs.iter().try_for_each(|path| sync(path))?;
    let outputs = outputs.iter().map(|path| path.display().to_string()).collect();
    report(&Progress::Done { outputs });
    Ok(())
}
