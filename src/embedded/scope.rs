//! cgroup mode C: a user without root on a systemd host may have a delegated cgroup for the asking, but a process must
//! be started in it.

use std::{
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};

use super::node::cgroup;
use crate::sample::mounts::Mounts;

/// Set in the process that was started in the scope, so that it does not try again.
const ENTERED: &str = "MIGBENCH_SCOPE";

/// Start this very command line again in a delegated scope, in place of this process, where that brings cgroups that are
/// not to be had otherwise. Returns where it does not.
pub fn enter_if_useful() -> io::Result<()> {
    let entered = std::env::var_os(ENTERED).is_some();
    if entered || cgroup::can_be_made(&Mounts::detect()?) || !is_available() {
        return Ok(());
    }
    let mut command = systemd_run();
    command
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(ENTERED, "1");
    Err(command.exec())
}

fn is_available() -> bool {
    if !Path::new("/run/systemd/system").is_dir() {
        return false;
    }
    let mut trial = systemd_run();
    trial
        .arg("true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    trial.status().is_ok_and(|status| status.success())
}

fn systemd_run() -> Command {
    let mut command = Command::new("systemd-run");
    command.args([
        "--user",
        "--scope",
        "--quiet",
        "--collect",
        "-p",
        "Delegate=yes",
        "--",
    ]);
    command
}
