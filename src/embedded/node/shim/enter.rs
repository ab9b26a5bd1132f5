//! `exec`: a command in a running container.

use std::{fs::File, path::Path};

use anyhow::Context;
use nix::sched::{CloneFlags, setns};

use super::{
    Config, exit_code,
    init::{join, open_cgroups},
    not_started,
};

/// Exit code of a command that cannot be started, as of a shell.
const NOT_STARTED: i32 = 127;

/// Run a command in the cgroup and the namespaces of the container of a bundle, whose PID 1 is `pid` on the host. Returns
/// the command's exit code.
#[allow(
    clippy::print_stderr,
    reason = "standard error is the one that the user of exec sees"
)]
pub fn enter(bundle: &Path, pid: i32, command: &[String]) -> anyhow::Result<i32> {
    let config = Config::load(bundle)?;
    join(open_cgroups(&config)?).context("the container's cgroup")?;
    enter_namespaces(&config, pid)?;
    config.enter_working_dir()?;
    let mut program = config.program(command)?;
    match program.status() {
        Ok(status) => Ok(exit_code(status)),
        Err(error) => {
            eprintln!("{}", not_started(&command[0], &error));
            Ok(NOT_STARTED)
        }
    }
}

fn enter_namespaces(config: &Config, pid: i32) -> anyhow::Result<()> {
    let wanted = [
        (config.isolation.user, "user", CloneFlags::CLONE_NEWUSER),
        (config.isolation.pid, "pid", CloneFlags::CLONE_NEWPID),
        (config.isolation.mounts, "mnt", CloneFlags::CLONE_NEWNS),
    ];
    // All are opened before the first is entered: afterwards `/proc` is another one.
    let open = |(_, name, flag)| -> anyhow::Result<(File, CloneFlags)> {
        let path = format!("/proc/{pid}/ns/{name}");
        Ok((File::open(&path).with_context(|| path.clone())?, flag))
    };
    let namespaces: Vec<_> = wanted
        .into_iter()
        .filter(|(on, ..)| *on)
        .map(open)
        .collect::<Result<_, _>>()?;
    for (file, flag) in namespaces {
        setns(file, flag).with_context(|| format!("{flag:?} of process {pid}"))?;
    }
    Ok(())
}
