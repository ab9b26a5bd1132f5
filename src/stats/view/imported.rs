//! A phase of samples that were taken elsewhere.

use std::collections::BTreeMap;

use super::{
    figure::Figure,
    phase::Phase,
    timeline::ABSENT,
    usage::{Distribution, MemoryUse, Usage},
};
use crate::{
    record::{imported::Samples, run::RunSettings},
    stats::trimmed_mean::trimmed_mean,
};

/// The phase; an error where the file has no samples of it.
pub(super) fn phase(samples: &Samples, settings: &RunSettings) -> Result<Phase, String> {
    let Samples {
        cpu_millicores,
        memory_bytes,
    } = samples;
    let count = count(samples);
    if count == 0 {
        return Err("the imported file has no samples of the phase".into());
    }
    // Another number of samples is trimmed by the same share.
    let trim = count * settings.trim as usize / settings.samples.max(1) as usize;
    let unknown = || Figure::unknown(ABSENT);
    let anon = trimmed_mean(memory_bytes, trim);
    Ok(Phase {
        pod: String::new(),
        node: String::new(),
        from_s: 0.0,
        until_s: 0.0,
        late_ms: 0.0,
        contention: Figure::unknown(ABSENT),
        total: Usage {
            cpu: Distribution::new(cpu_millicores.clone(), trim),
            memory: MemoryUse {
                anon: Figure::or_reason(anon, ABSENT),
                anon_samples: Figure::known(memory_bytes.clone()),
                working_set: unknown(),
                current: unknown(),
                peak: unknown(),
            },
            throttled_periods: Figure::unknown(ABSENT),
        },
        containers: BTreeMap::new(),
        throttled_by_pod: Figure::unknown(ABSENT),
    })
}

/// Samples there are, of what there are the most.
pub(super) fn count(samples: &Samples) -> usize {
    samples.cpu_millicores.len().max(samples.memory_bytes.len())
}
