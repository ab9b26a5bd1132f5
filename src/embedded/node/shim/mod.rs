//! The shim: this binary between the cluster process and a container, as containerd's shim stands between containerd and
//! runc. Everything that needs a process of its own (namespaces, PID 1, joining a cgroup) happens here, so that none of
//! it needs `unsafe`.
//!
//! ```text
//! cluster process ──control socket──► shim run   stage 1, outside the container's cgroup: unshares, forwards signals,
//!        ▲  Started, Failed, Exited      │       reports the end; the socket's end is the container's end
//!        └───────────────────────────────┤
//!                                        └► shim init   stage 2, PID 1: mounts, joins the cgroup, becomes the program
//! cluster process ─────────────────────► shim exec      joins a running container's cgroup and namespaces
//! ```
//!
//! The roles are dispatched before any thread exists: `setns` and `unshare` refuse processes that have several.

mod enter;
mod init;
mod kernel;
mod mounts;
mod privilege;
mod probe;
mod root;
mod sealed;
mod supervise;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

pub use enter::enter;
pub use init::init;
pub use probe::{Isolation, probe};
pub use supervise::supervise;

/// Name of the container's configuration in its bundle.
pub const CONFIG: &str = "config.json";
/// Name of the empty directory in a bundle that the root file system is put together on.
pub const SCRATCH: &str = "scratch";
/// Set in every process of a cluster: what a later start finds the left-overs of a killed one by.
pub const CLUSTER_VARIABLE: &str = "MIGBENCH_CLUSTER";
/// First program argument of the shim: kept recognisable in `ps`.
pub const ARG0: &str = "migbench-shim";

/// The program that the shim is: this very file, also after it was replaced on disk.
pub const SELF: &str = "/proc/self/exe";

/// What a container is made from, `config.json` of its bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory, made when it is not there.
    pub working_dir: PathBuf,
    /// Volumes.
    pub mounts: Vec<Mount>,
    /// Directory of the container's cgroup in each hierarchy.
    pub cgroups: Vec<PathBuf>,
    /// How it is kept apart.
    pub isolation: Isolation,
    /// What of the host it must not even see: this user's clusters, with their kubeconfigs and volumes.
    pub hidden: PathBuf,
}

/// A volume, or what is in it at a path, that the container sees elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Of the volume, on the host.
    pub source: PathBuf,
    /// Below it; empty for all of it. Resolved only when it is mounted, since other containers write there, too.
    pub sub_path: PathBuf,
    /// In the container, absolute.
    pub target: PathBuf,
    /// Whether writing is refused.
    pub read_only: bool,
}

impl Config {
    /// Read it from a bundle.
    pub fn load(bundle: &Path) -> anyhow::Result<Self> {
        let path = bundle.join(CONFIG);
        let text = fs::read(&path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// Write it to a bundle.
    pub fn store(&self, bundle: &Path) -> std::io::Result<()> {
        fs::write(bundle.join(CONFIG), serde_json::to_vec_pretty(self)?)
    }

    /// The program, ready to run, with the container's environment and nothing else. Its path is looked up in the
    /// container's `PATH`.
    fn program(&self, command: &[String]) -> anyhow::Result<Command> {
        let command: Vec<String> = command.iter().map(|part| self.localize(part)).collect();
        let (program, arguments) = command.split_first().context("no command specified")?;
        let mut program = Command::new(program);
        program.args(arguments).env_clear();
        program.envs(self.env.iter().map(|(name, value)| (name, self.localize(value))));
        Ok(program)
    }

    /// Without a mount namespace the volumes are not where the manifest says; paths below their mount points are then
    /// replaced by those on the host, wherever they occur in command and environment.
    fn localize(&self, text: &str) -> String {
        if self.isolation.mounts {
            return text.to_owned();
        }
        let place = |mount: &Mount| {
            (
                mount.target.clone(),
                mount.source.join(&mount.sub_path).components().collect(),
            )
        };
        replace_paths(text, &self.mounts.iter().map(place).collect::<Vec<_>>())
    }

    fn enter_working_dir(&self) -> anyhow::Result<()> {
        let directory = PathBuf::from(self.localize(&self.working_dir.to_string_lossy()));
        if self.isolation.mounts {
            // As runc does. Never on the host's own file system.
            fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        }
        std::env::set_current_dir(&directory).with_context(|| format!("workingDir {}", directory.display()))
    }
}

/// Replace each path that stands in a text as a whole path, or as the beginning of one, by the other of its pair: the
/// longest that fits, and never in what was put in already.
fn replace_paths(text: &str, pairs: &[(PathBuf, PathBuf)]) -> String {
    let part_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('/') {
        let (before, path) = rest.split_at(at);
        result.push_str(before);
        let fits = |from: &Path| {
            let after = path.strip_prefix(&*from.to_string_lossy());
            after.filter(|after| !after.starts_with(part_of_name))
        };
        let inside = result.ends_with(|c: char| part_of_name(c) || c == '/');
        let found = pairs.iter().filter_map(|(from, to)| Some((to, fits(from)?)));
        if let Some((to, after)) = found.min_by_key(|(_, after)| after.len()).filter(|_| !inside) {
            result.push_str(&to.to_string_lossy());
            rest = after;
        } else {
            result.push('/');
            rest = &path[1..];
        }
    }
    result + rest
}

/// What stage 1 tells the cluster process, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// The program runs.
    Started {
        /// Its pid on the host.
        pid: i32,
    },
    /// It could not be started.
    Failed {
        /// Why.
        reason: String,
    },
    /// It has ended.
    Exited {
        /// Exit code, 128 + n for signal n.
        code: i32,
    },
}

/// What the cluster process tells stage 1, one byte each. The end of the stream means [`Order::Kill`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Order {
    /// Send SIGTERM to PID 1.
    Terminate = b'T',
    /// Send SIGKILL to everything in the container.
    Kill = b'K',
}

/// Exit code as Kubernetes counts it.
pub(super) fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(255)
}

/// Why a program could not be started, in the words of container runtimes.
fn not_started(program: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound if !program.contains('/') => {
            format!("exec: {program:?}: executable file not found in $PATH")
        }
        _ => format!("exec: {program:?}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_replaced_as_whole_paths_only() {
        let pairs = [
            ("/data", "/host/v"),
            ("/data/deep", "/host/w"),
            ("/tmp", "/tmp/v"),
        ];
        let pairs = pairs.map(|(from, to)| (from.into(), to.into()));
        for (text, expected) in [
            ("/data", "/host/v"),
            ("--out=/data/x,/data", "--out=/host/v/x,/host/v"),
            ("/database /my/data /data.old", "/database /my/data /data.old"),
            ("/data/deep/x /data/deeper", "/host/w/x /host/v/deeper"),
            ("/tmp/x /data", "/tmp/v/x /host/v"),
        ] {
            assert_eq!(replace_paths(text, &pairs), expected);
        }
    }

    #[test]
    fn a_config_survives_its_bundle() {
        let bundle = tempfile::tempdir().unwrap();
        let config = Config {
            command: vec!["sh".into(), "-c".into(), "exit 3".into()],
            env: vec![("PATH".into(), "/bin".into())],
            working_dir: "/".into(),
            mounts: vec![Mount {
                source: "/host/v".into(),
                sub_path: "a".into(),
                target: "/data".into(),
                read_only: true,
            }],
            cgroups: vec!["/sys/fs/cgroup/x".into()],
            isolation: Isolation::default(),
            hidden: "/tmp/migbench-0".into(),
        };
        config.store(bundle.path()).unwrap();
        assert_eq!(Config::load(bundle.path()).unwrap(), config);
    }

    #[test]
    fn signals_count_from_128() {
        let status = |script| Command::new("sh").args(["-c", script]).status().unwrap();
        assert_eq!(exit_code(status("exit 3")), 3);
        assert_eq!(exit_code(status("kill -9 $$")), 137);
    }
}
