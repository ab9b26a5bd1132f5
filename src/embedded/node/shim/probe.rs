//! What isolation this host permits: found by trying, not by guessing from versions and user ids.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context;
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};
use serde::{Deserialize, Serialize};

use super::{ARG0, Config, Mount, SCRATCH, mounts};

/// The namespaces that containers get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Inside a user namespace (without root, nothing else is to be had).
    pub user: bool,
    /// A PID namespace.
    pub pid: bool,
    /// A mount namespace with an overlay over `/`.
    pub mounts: bool,
}

impl Isolation {
    /// From the most to the least.
    const ATTEMPTS: [Self; 5] = [
        Self {
            user: false,
            pid: true,
            mounts: true,
        },
        Self {
            user: true,
            pid: true,
            mounts: true,
        },
        Self {
            user: false,
            pid: true,
            mounts: false,
        },
        Self {
            user: true,
            pid: true,
            mounts: false,
        },
        Self {
            user: false,
            pid: false,
            mounts: false,
        },
    ];

    /// The best that this host permits, and why containers get no mount namespace, if they do not. `program` is the
    /// migbench binary, `scratch` an empty directory.
    pub fn detect(program: &Path, scratch: &Path) -> anyhow::Result<(Self, Option<String>)> {
        let mut refused = None;
        for isolation in Self::ATTEMPTS {
            match isolation.attempt(program, scratch) {
                Ok(()) => return Ok((isolation, refused.filter(|_| !isolation.mounts))),
                // Without root it is not the first attempt that could have come to something.
                Err(error) if isolation.mounts && isolation.user != geteuid().is_root() => {
                    refused = Some(format!("{error:#}"));
                }
                Err(_) => {}
            }
        }
        anyhow::bail!("not even a plain process can be started here")
    }

    /// In words.
    pub fn describe(self) -> String {
        let pid = if self.pid {
            "own PID namespaces"
        } else {
            "no PID namespaces (a program without a handler ends on SIGTERM, unlike PID 1 of a container)"
        };
        let mounts = match (self.mounts, self.user) {
            (true, false) => "own mount namespaces (host directories are below overlays, or read-only)",
            (true, true) => {
                "own mount namespaces (host directories are below overlays; those with mounts in them are read-only)"
            }
            (false, _) => {
                "no mount namespaces (containers write to this host's files, as this user; mount paths in commands and \
                 environment are replaced by host paths)"
            }
        };
        let user = if self.user { ", inside user namespaces" } else { "" };
        format!("{pid}, {mounts}{user}")
    }

    fn attempt(self, program: &Path, bundle: &Path) -> anyhow::Result<()> {
        use std::os::unix::process::CommandExt;
        let trial = Config {
            command: vec!["true".into()],
            env: vec![("PATH".into(), std::env::var("PATH").unwrap_or_default())],
            working_dir: "/".into(),
            mounts: vec![Mount {
                source: bundle.into(),
                target: "/migbench-trial".into(),
                read_only: true,
                ..Mount::default()
            }],
            cgroups: Vec::new(),
            isolation: self,
            hidden: bundle.into(),
        };
        trial.store(bundle)?;
        fs::create_dir_all(bundle.join(SCRATCH))?;
        let output = Command::new(program)
            .arg0(ARG0)
            .args(["shim", "probe", "--bundle"])
            .arg(bundle)
            .stdin(Stdio::null())
            .output()?;
        anyhow::ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// The namespaces by their names below `/proc/<pid>/ns`; the user's first, since it permits the others. Not that one
    /// for a process that is in it already.
    pub(super) fn namespaces(self, in_user: bool) -> Vec<(&'static str, CloneFlags)> {
        let all = [
            (self.user && !in_user, "user", CloneFlags::CLONE_NEWUSER),
            (self.pid, "pid", CloneFlags::CLONE_NEWPID),
            (self.mounts, "ipc", CloneFlags::CLONE_NEWIPC),
            (self.mounts, "mnt", CloneFlags::CLONE_NEWNS),
        ];
        let wanted = all.into_iter().filter(|(on, ..)| *on);
        wanted.map(|(_, name, flag)| (name, flag)).collect()
    }

    /// Leave the parent's namespaces. The next child is PID 1 of the new PID namespace.
    pub(super) fn unshare(self) -> anyhow::Result<()> {
        let flags: CloneFlags = self.namespaces(false).into_iter().map(|(_, flag)| flag).collect();
        let (user, group) = (geteuid(), getegid());
        unshare(flags).with_context(|| format!("unshare {flags:?}"))?;
        if self.user {
            // The kernel lets a process without root map only itself, and its group only once setgroups is denied.
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
            fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
        }
        if self.mounts {
            mounts::make_private()?;
        }
        Ok(())
    }
}

/// Try to run the container of a bundle; an error says what is not permitted.
pub fn probe(bundle: &Path) -> anyhow::Result<()> {
    let config = Config::load(bundle)?;
    config.isolation.unshare()?;
    super::supervise::start_init(bundle, config.isolation)?.wait()?;
    Ok(())
}
