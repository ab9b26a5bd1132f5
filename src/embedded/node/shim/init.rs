//! Stage 2: PID 1 of the container, until it becomes the container's program.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{fd::AsFd, unix::net::UnixStream, unix::process::CommandExt},
    path::Path,
};

use anyhow::Context;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
    unistd,
};

use super::{Config, not_started, privilege, root, sealed, supervise::control_socket};

/// Become the program of a bundle. Returns only when that comes to nothing, after stage 1 was told the reason.
pub fn init(bundle: &Path) -> anyhow::Result<()> {
    let mut report = control_socket()?;
    if let Err(error) = become_program(bundle, &report) {
        // Without a reader stage 1 is dead, and there is nobody to tell.
        let _ = write!(report, "{error:#}");
    }
    Ok(())
}

fn become_program(bundle: &Path, report: &UnixStream) -> anyhow::Result<()> {
    unistd::dup2_stdin(File::open("/dev/null")?)?;
    die_with_parent(report)?;
    unistd::setsid()?;
    SigSet::empty().thread_set_mask()?;
    let config = Config::load(bundle)?;
    let cgroups = open_cgroups(&config)?;
    if config.isolation.mounts {
        sealed::let_go(bundle)?;
        root::enter(bundle, &config).context("root file system")?;
    }
    config.enter_working_dir()?;
    let mut program = config.program(&config.command)?;
    join(cgroups)?;
    if config.isolation.mounts {
        privilege::limit(config.isolation)?;
    }
    let error = program.exec();
    anyhow::bail!(not_started(&program.get_program().to_string_lossy(), &error))
}

/// Have the kernel kill this process when stage 1 dies. A parent that died before that is seen by its closed socket.
fn die_with_parent(report: &UnixStream) -> anyhow::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut peer = [PollFd::new(report.as_fd(), PollFlags::empty())];
    poll(&mut peer, PollTimeout::ZERO)?;
    let gone = peer[0]
        .revents()
        .is_some_and(|events| events.contains(PollFlags::POLLHUP));
    anyhow::ensure!(!gone, "the shim died");
    Ok(())
}

/// The cgroups' paths are the host's, so they are opened first; but they are joined last, so that what the shim itself
/// uses is not charged to the container.
pub(super) fn open_cgroups(config: &Config) -> anyhow::Result<Vec<File>> {
    let open = |directory: &std::path::PathBuf| {
        let path = directory.join("cgroup.procs");
        OpenOptions::new()
            .write(true)
            .open(&path)
            .with_context(|| path.display().to_string())
    };
    config.cgroups.iter().map(open).collect()
}

pub(super) fn join(cgroups: Vec<File>) -> io::Result<()> {
    cgroups
        .into_iter()
        .try_for_each(|mut procs| procs.write_all(b"0"))
}
