//! What can be known wrong about `scenario.yaml` before anything is deployed.

use std::time::Duration;

use super::{Deadlines, Error, Phases, Role, document::Document, file::ScenarioFile, overrides::Overrides};

/// Sampling faster than this measures the kernel's tick, which advances counters in steps of up to 4 ms.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// More samples than this is a slip of the keyboard.
const MAX_SAMPLES: u32 = 100_000;

/// The file with where its values came from.
pub(super) struct Settings<'a> {
    pub(super) document: &'a Document,
    pub(super) overrides: &'a Overrides,
    pub(super) file: &'a ScenarioFile,
}

impl Settings<'_> {
    /// An error about the value at this pointer, wherever the value came from.
    pub(super) fn error(&self, at: &str, message: &str) -> Error {
        match self.overrides.option_for(at) {
            Some(option) => Error::Invalid(format!("{option}: {message}")),
            None => self.document.error_at(at, message),
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        self.check_names()?;
        self.check_roles()?;
        self.check_samples()?;
        self.check_windows()?;
        self.check_mount()?;
        self.check_timeout()?;
        self.require(
            (0.0..=1.0).contains(&self.file.target_reduction),
            "/targetReduction",
            || "must lie between 0 and 1: 0.20 stands for 20 %".to_owned(),
        )
    }

    fn require(&self, holds: bool, at: &str, message: impl FnOnce() -> String) -> Result<(), Error> {
        if holds {
            Ok(())
        } else {
            Err(self.error(at, &message()))
        }
    }

    fn check_names(&self) -> Result<(), Error> {
        let file = self.file;
        self.require(is_label(&file.name), "/name", || {
            "must be a name of lower-case letters, digits and -, up to 63".to_owned()
        })?;
        self.require(file.workloads.contains_key(&file.workload), "/workload", || {
            let known: Vec<_> = file.workloads.keys().map(String::as_str).collect();
            format!("is none of the workloads: {}", known.join(", "))
        })?;
        self.require(file.nodes.source != file.nodes.target, "/nodes/target", || {
            "must be another node than the source".to_owned()
        })
    }

    fn check_roles(&self) -> Result<(), Error> {
        let count = |role| self.file.roles.values().filter(|found| **found == role).count();
        self.require(count(Role::Trainer) == 1, "/roles", || {
            format!("must name exactly one trainer, not {}", count(Role::Trainer))
        })?;
        self.require(count(Role::Processor) >= 1, "/roles", || {
            "must name a processor: the container that has completed when the pod is migrated".to_owned()
        })
    }

    fn check_samples(&self) -> Result<(), Error> {
        let Phases {
            samples,
            trim,
            interval,
            ..
        } = self.phases();
        self.require(samples <= MAX_SAMPLES, "/phases/samples", || {
            format!("must be at most {MAX_SAMPLES}")
        })?;
        let least = trim.saturating_mul(2).saturating_add(1);
        self.require(samples >= least, "/phases/samples", || {
            format!("must be at least {least}: {trim} are trimmed from each end")
        })?;
        self.require(interval >= MIN_INTERVAL, "/phases/interval", || {
            format!("must be at least {}", humantime::format_duration(MIN_INTERVAL))
        })
    }

    /// `after` lies within the processor's second life, and within the horizon.
    fn check_windows(&self) -> Result<(), Error> {
        let phases = self.phases();
        let ends = phases.settle.saturating_add(phases.window());
        let sum = || {
            format!(
                "settle {} + {} samples × {} = {}",
                humantime::format_duration(phases.settle),
                phases.samples,
                humantime::format_duration(phases.interval),
                humantime::format_duration(ends)
            )
        };
        if let Some(life) = self.file.processor_duration.map(|span| span.0) {
            self.require(ends <= life, "/processorDuration", || {
                format!("the phase after the migration must lie within it, but {}", sum())
            })?;
        }
        self.require(ends <= phases.horizon, "/phases/horizon", || {
            format!("the phase after the migration must lie within it, but {}", sum())
        })
    }

    fn check_mount(&self) -> Result<(), Error> {
        let is_path = |path: &String| {
            let mut parts = path.trim_end_matches('/').split('/');
            parts.next() == Some("") && path.len() > 1 && parts.all(is_path_part)
        };
        self.require(
            self.file.checkpoint_mount.as_ref().is_none_or(is_path),
            "/checkpointMount",
            || "must be an absolute path of letters, digits, -, _ and ., as in /checkpoints".to_owned(),
        )
    }

    fn check_timeout(&self) -> Result<(), Error> {
        let Deadlines { migration, .. } = (&self.file.deadlines).into();
        let Some(timeout) = self.file.orchestrator.timeout.map(|span| span.0) else {
            return Ok(());
        };
        let is_asked = timeout.subsec_nanos() == 0 && !timeout.is_zero();
        self.require(is_asked, "/orchestrator/timeout", || {
            "must be whole seconds, at least 1s: to an orchestrator 0 means its own default".to_owned()
        })?;
        self.require(timeout <= migration, "/orchestrator/timeout", || {
            format!(
                "must be at most deadlines.migration ({}): the run gives the migration up then",
                humantime::format_duration(migration)
            )
        })
    }

    fn phases(&self) -> Phases {
        (&self.file.phases).into()
    }
}

/// It is put into arguments and into the JSON of hooks as it is.
fn is_path_part(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !matches!(part, "" | "." | "..") && part.chars().all(plain)
}

/// Whether a name can be used as one in Kubernetes (RFC 1123 label).
pub(super) fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_part(name)
}

/// Whether a name can be that of a config map or a claim (RFC 1123 subdomain).
pub(super) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_part)
}

fn is_part(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}
