//! `exec`: a command in a running container.

use std::{fs::File, os::unix::process::CommandExt, path::Path, process::Command};

use anyhow::Context;
use nix::sched::{CloneFlags, setns, unshare};

use super::{
    ARG0, Config, Isolation, exit_code,
    init::{join, open_cgroups},
    mounts, not_started, privilege, sealed,
};

/// Exit code of a command that cannot be started, as of a shell.
const NOT_STARTED: i32 = 127;

/// Run a command in the cgroup and the namespaces of the container of a bundle, whose PID 1 is `pid` on the host. Returns
/// the command's exit code. Where there are mount namespaces, this process starts itself again first, `sealed`.
#[allow(
    clippy::print_stderr,
    reason = "standard error is the one that the user of exec sees"
)]
pub fn enter(bundle: &Path, pid: i32, sealed: bool, command: &[String]) -> anyhow::Result<i32> {
    let config = Config::load(bundle)?;
    if config.isolation.mounts && !sealed {
        return enter_sealed(bundle, pid, config.isolation, command);
    }
    join(open_cgroups(&config)?).context("the container's cgroup")?;
    enter_namespaces(&config.isolation.namespaces(sealed), pid)?;
    config.enter_working_dir()?;
    if config.isolation.mounts {
        privilege::limit(config.isolation)?;
    }
    let mut program = config.program(command)?;
    match program.status() {
        Ok(status) => Ok(exit_code(status)),
        Err(error) => {
            eprintln!("{}", not_started(&command[0], &error));
            Ok(NOT_STARTED)
        }
    }
}

/// Become the program that no container can write to, in the container's user namespace, where there is one: what may be
/// mounted elsewhere may not be here.
fn enter_sealed(bundle: &Path, pid: i32, isolation: Isolation, command: &[String]) -> anyhow::Result<i32> {
    if isolation.user {
        enter_namespaces(&[("user", CloneFlags::CLONE_NEWUSER)], pid)?;
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    mounts::make_private()?;
    let mut shim = Command::new(sealed::seal(bundle)?);
    shim.arg0(ARG0).args(["shim", "exec", "--sealed", "--bundle"]);
    shim.arg(bundle)
        .args(["--pid", &pid.to_string(), "--"])
        .args(command);
    Err(shim.exec()).context("the shim's own program")
}

fn enter_namespaces(wanted: &[(&str, CloneFlags)], pid: i32) -> anyhow::Result<()> {
    // All are opened before the first is entered: afterwards `/proc` is another one.
    let open = |(name, flag): &(&str, CloneFlags)| -> anyhow::Result<(File, CloneFlags)> {
        let path = format!("/proc/{pid}/ns/{name}");
        Ok((File::open(&path).with_context(|| path.clone())?, *flag))
    };
    let namespaces: Vec<_> = wanted.iter().map(open).collect::<Result<_, _>>()?;
    for (file, flag) in namespaces {
        setns(file, flag).with_context(|| format!("{flag:?} of process {pid}"))?;
    }
    Ok(())
}
