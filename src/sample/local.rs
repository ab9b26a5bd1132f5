//! The meter of this host: its own cgroup files, or process trees where no cgroup can be written.

use std::{path::PathBuf, sync::Arc};

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Error, Meter, Schedule, locate,
    mounts::Mounts,
    probe::{CgroupProbe, Probe},
    processes::ProcessProbe,
    sampler::{self, Followed},
};
use crate::record::reading::{ContainerRef, Description, Epoch, EpochId, Sweep};

/// A [`Meter`] that reads this host.
#[derive(Debug)]
pub struct LocalMeter {
    source: Arc<Source>,
    followed: Followed,
}

#[derive(Debug)]
enum Source {
    Cgroups(Mounts),
    Processes(PathBuf),
}

impl LocalMeter {
    /// Read the cgroups below these mounts.
    pub fn cgroups(mounts: Mounts) -> Self {
        Self::of(Source::Cgroups(mounts))
    }

    /// Sum over process trees; `pid_directory/<container id>` holds the pid of each container's first process.
    pub fn processes(pid_directory: PathBuf) -> Self {
        Self::of(Source::Processes(pid_directory))
    }

    fn of(source: Source) -> Self {
        Self {
            source: Arc::new(source),
            followed: Followed::default(),
        }
    }
}

impl Meter for LocalMeter {
    fn describe(&self) -> Description {
        let (kind, cgroup, from_cgroup) = match &*self.source {
            Source::Cgroups(mounts) => ("local cgroup files", mounts.mode(), true),
            Source::Processes(_) => ("local processes", "not cgroup", false),
        };
        Description {
            kind: kind.into(),
            cgroup: cgroup.into(),
            from_cgroup,
            capped: None,
        }
    }

    fn follow(&self, id: EpochId, container: ContainerRef) -> BoxFuture<'_, Result<Epoch, Error>> {
        let source = Arc::clone(&self.source);
        Box::pin(async move {
            let (probe, epoch) = tokio::task::spawn_blocking(move || source.open(id, container))
                .await
                .map_err(|error| Error::Stopped(error.to_string()))??;
            self.followed.add(id, probe);
            Ok(epoch)
        })
    }

    fn forget(&self) {
        self.followed.clear();
    }

    fn sweeps(
        &self,
        schedule: Schedule,
        stop: CancellationToken,
    ) -> mpsc::UnboundedReceiver<Result<Sweep, Error>> {
        sampler::spawn(self.followed.clone(), schedule, stop)
    }
}

impl Source {
    fn open(&self, id: EpochId, container: ContainerRef) -> Result<(Box<dyn Probe>, Epoch), Error> {
        match self {
            Self::Processes(directory) if container.is_pod() => Err(Error::NotFound {
                container: container.pod,
                id: container.pod_uid,
                below: directory.display().to_string(),
                reason: "a pod as a whole has no process of its own".into(),
            }),
            Self::Cgroups(mounts) => open_cgroup(mounts, id, container),
            Self::Processes(directory) => {
                let (probe, missing) = ProcessProbe::open(directory, &container.container_id)?;
                let epoch = Epoch {
                    id,
                    container,
                    cgroup: None,
                    inode: None,
                    missing,
                };
                Ok((Box::new(probe), epoch))
            }
        }
    }
}

/// Find a container's cgroup below `mounts` and open its counter files.
pub fn open_cgroup(
    mounts: &Mounts,
    id: EpochId,
    container: ContainerRef,
) -> Result<(Box<dyn Probe>, Epoch), Error> {
    let location = locate::find(mounts, &container)?;
    let inode = location.inode();
    let (probe, missing) = CgroupProbe::open(&location);
    if probe.is_empty() {
        return Err(Error::NotFound {
            container: container.container,
            id: container.container_id,
            below: location.below(mounts).unwrap_or_default(),
            reason: missing.into_values().next().unwrap_or_default(),
        });
    }
    let epoch = Epoch {
        id,
        container,
        cgroup: location.below(mounts),
        inode,
        missing,
    };
    Ok((Box::new(probe), epoch))
}
