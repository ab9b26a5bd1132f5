//! The container runtime of the nodes: makes cgroup and bundle, starts the shim, and tells how it ended.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::{UnixStream, unix::OwnedReadHalf},
    process::{Child, Command},
    sync::watch,
};

use super::{
    cgroup::{self, Cgroups, Group, Limits, Mode},
    container::{Container, Exit},
    log::Log,
    reap,
    shim::{ARG0, CLUSTER_VARIABLE, Config, Isolation, Message, Mount, SCRATCH, SELF},
    state::State,
};
use crate::{embedded::images::Means, sample::mounts::Mounts};

/// Runs containers below one cluster's state directory and cgroups.
#[derive(Debug)]
pub struct Runtime {
    state: State,
    cgroups: Cgroups,
    isolation: Isolation,
    /// Why containers get no mount namespace; for people.
    refused: Option<String>,
    /// The migbench binary, for its shim.
    program: PathBuf,
    means: Means,
}

/// A container to be started.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// Uid of its pod.
    pub pod_uid: String,
    /// Name of the container.
    pub name: String,
    /// Which life of the container it is, from 0.
    pub life: i32,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub working_dir: PathBuf,
    /// Volumes.
    pub mounts: Vec<Mount>,
    /// Where it leaves a message about its end, absolute.
    pub termination_message: PathBuf,
    /// Limits.
    pub limits: Limits,
    /// Limits of its whole pod, where it has any of its own.
    pub pod_limits: Option<Limits>,
}

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its directory, cgroup or process could not be made.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's error.
        source: io::Error,
    },
    /// The program could not be started in it.
    #[error("{0}")]
    Start(String),
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = what.into();
    move |source| Error::Io { doing, source }
}

impl Runtime {
    /// A runtime that uses this process's own binary as shim.
    pub fn new(state: State, means: Means) -> anyhow::Result<Self> {
        Ok(Self {
            means,
            ..Self::with_program(state, PathBuf::from(SELF))?
        })
    }

    /// A runtime with the migbench binary at another place (in tests, which are another program).
    pub fn with_program(state: State, program: PathBuf) -> anyhow::Result<Self> {
        let cgroups = cgroup::detect(&Mounts::detect()?, state.id(), &|base| state.note_cgroup(base));
        let trial = tempfile::tempdir_in(state.directory())?;
        let (isolation, refused) = Isolation::detect(&program, trial.path())?;
        Ok(Self {
            state,
            cgroups,
            isolation,
            refused,
            program,
            means: Means::default(),
        })
    }

    /// How images are built.
    pub(super) fn means(&self) -> &Means {
        &self.means
    }

    /// The cluster's files.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The cgroup mode.
    pub fn mode(&self) -> Mode {
        self.cgroups.mode()
    }

    /// The namespaces that containers get.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// How containers are kept apart and limited here, in words.
    pub fn describe(&self) -> String {
        let refused = self.refused.iter().map(|reason| format!(" ({reason})"));
        let isolation = self.isolation.describe() + &refused.collect::<String>();
        format!("{}; {isolation}", self.cgroups.describe())
    }

    /// Start a container: returns once its program runs.
    pub async fn start(&self, spec: Spec) -> Result<Arc<Container>, Error> {
        let id = new_id();
        let bundle = self.bundle(&spec).map_err(doing("bundle"))?;
        let group = self.group(&spec, &id).map_err(doing("cgroup"))?;
        let started = self.launch(spec, &id, bundle, group.clone()).await;
        if started.is_err() {
            let _ = group.remove();
        }
        started
    }

    async fn launch(
        &self,
        spec: Spec,
        id: &str,
        bundle: PathBuf,
        group: Group,
    ) -> Result<Arc<Container>, Error> {
        self.configure(spec, &bundle, &group).map_err(doing("bundle"))?;
        let log = Arc::new(Log::create(bundle.join("log")).map_err(doing("log"))?);
        let (mut child, control) = self.spawn(&bundle).map_err(doing("shim"))?;
        capture(&log, &mut child);
        let (read, orders) = control.into_split();
        let mut messages = BufReader::new(read).lines();
        let pid = match next(&mut messages).await {
            Some(Message::Started { pid }) => pid,
            Some(Message::Failed { reason }) => return Err(Error::Start(reason)),
            other => return Err(Error::Start(format!("the shim ended early ({other:?})"))),
        };
        let pid_file = self.pid_file(id, pid).map_err(doing("pid file"))?;
        let (exit, exited) = watch::channel(None);
        let container = Container::new(id.to_owned(), pid, bundle, Arc::clone(&log), (orders, exited));
        tokio::spawn(async move {
            let ended = Ending {
                child,
                messages,
                group,
                log,
                pid_file,
            }
            .wait()
            .await;
            exit.send_replace(Some(ended));
        });
        Ok(Arc::new(container))
    }

    /// Make `pods/<uid>/<name>/<life>`.
    fn bundle(&self, spec: &Spec) -> io::Result<PathBuf> {
        let bundle = self
            .state
            .pod(&spec.pod_uid)
            .join(&spec.name)
            .join(spec.life.to_string());
        fs::create_dir_all(bundle.join(SCRATCH))?;
        let message = bundle.join(TERMINATION_LOG);
        fs::write(&message, "")?;
        // Whatever user the program becomes.
        fs::set_permissions(&message, fs::Permissions::from_mode(0o666))?;
        Ok(bundle)
    }

    fn group(&self, spec: &Spec, id: &str) -> io::Result<Group> {
        let pod = pod_path(&spec.pod_uid);
        if let Some(limits) = &spec.pod_limits {
            self.cgroups.create(&pod, limits)?;
        }
        let group = self.cgroups.create(&pod.join(id), &spec.limits)?;
        group.end_together()?;
        Ok(group)
    }

    fn configure(&self, spec: Spec, bundle: &Path, group: &Group) -> io::Result<()> {
        let mut mounts = spec.mounts;
        if spec.termination_message.has_root() && spec.termination_message.parent().is_some() {
            mounts.push(Mount {
                source: bundle.to_owned(),
                sub_path: TERMINATION_LOG.into(),
                target: spec.termination_message,
                read_only: false,
            });
        }
        let mut env = spec.env;
        env.push((CLUSTER_VARIABLE.to_owned(), self.state.id().to_owned()));
        let config = Config {
            command: spec.command,
            env,
            working_dir: spec.working_dir,
            mounts,
            cgroups: group.directories().to_vec(),
            isolation: self.isolation,
            hidden: self.state.clusters().to_owned(),
        };
        config.store(bundle)
    }

    /// The shim in a role, marked as this cluster's and out of reach of the terminal's Ctrl-C.
    pub(super) fn shim(&self, role: &str, bundle: &Path) -> Command {
        let mut command = std::process::Command::new(&self.program);
        command.arg0(ARG0).args(["shim", role, "--bundle"]).arg(bundle);
        command.env_clear().env(CLUSTER_VARIABLE, self.state.id());
        command.process_group(0);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Command::from(command)
    }

    fn spawn(&self, bundle: &Path) -> io::Result<(Child, UnixStream)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let theirs = Stdio::from(std::os::fd::OwnedFd::from(theirs));
        let child = self.shim("run", bundle).stdin(theirs).spawn()?;
        Ok((child, UnixStream::from_std(ours)?))
    }

    /// Where no cgroup tells which processes are a container's, a file tells its first.
    fn pid_file(&self, id: &str, pid: i32) -> io::Result<Option<PathBuf>> {
        if self.mode() != Mode::None {
            return Ok(None);
        }
        let path = self.state.pids().join(id);
        fs::write(&path, pid.to_string())?;
        Ok(Some(path))
    }

    /// Remove what a pod leaves: its cgroup, logs and ephemeral volumes. Blocks; its containers have ended.
    pub fn remove_pod(&self, uid: &str) -> io::Result<()> {
        let bases = self.cgroups.bases().into_iter();
        let removed = cgroup::all(bases.map(|base| cgroup::kill::remove_tree(&base.join(pod_path(uid)))));
        match fs::remove_dir_all(self.state.pod(uid)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => removed,
        }
    }

    /// End every container and remove all that the cluster made. Blocks until that is done.
    pub fn remove(&self) -> io::Result<()> {
        let cgroups = self.cgroups.remove();
        reap::end_processes(self.state.id());
        match cgroups {
            Ok(()) => self.state.remove(),
            failed => self.state.remove_all_but_notes().and(failed),
        }
    }
}

/// How long a container that has ended may still be printing.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Name of the file in a bundle that the container may leave a message in.
pub(super) const TERMINATION_LOG: &str = "termination-log";

fn pod_path(uid: &str) -> PathBuf {
    Path::new(cgroup::PODS).join(format!("pod{uid}"))
}

/// 64 hexadecimal digits, as container runtimes name containers.
fn new_id() -> String {
    let half = || uuid::Uuid::new_v4().simple().to_string();
    half() + &half()
}

fn capture(log: &Arc<Log>, child: &mut Child) {
    if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
        let log = Arc::clone(log);
        tokio::spawn(async move {
            let (out, err) = tokio::join!(log.capture("stdout", out), log.capture("stderr", err));
            if let Err(error) = out.and(err) {
                tracing::warn!(%error, "a container's output cannot be read");
            }
            log.close();
        });
    }
}

type Messages = Lines<BufReader<OwnedReadHalf>>;

async fn next(messages: &mut Messages) -> Option<Message> {
    let line = messages.next_line().await.ok()??;
    serde_json::from_str(&line).ok()
}

/// What there is to do when a container ends.
struct Ending {
    child: Child,
    messages: Messages,
    group: Group,
    log: Arc<Log>,
    pid_file: Option<PathBuf>,
}

impl Ending {
    /// Exit code of a container whose shim was killed, and which the kernel therefore killed.
    const KILLED: i32 = 137;

    async fn wait(mut self) -> Exit {
        let code = match next(&mut self.messages).await {
            Some(Message::Exited { code }) => code,
            _ => Self::KILLED,
        };
        let finished_at = Timestamp::now();
        // Reaped by tokio; its own status says nothing more.
        let _ = self.child.wait().await;
        let group = self.group;
        let clean_up = tokio::task::spawn_blocking(move || {
            let out_of_memory = group.was_out_of_memory();
            group.remove().map(|()| out_of_memory)
        });
        let out_of_memory = match clean_up.await {
            Ok(Ok(out_of_memory)) => out_of_memory,
            failure => {
                tracing::warn!(?failure, "a container's cgroup stays behind");
                false
            }
        };
        if let Some(path) = self.pid_file {
            let _ = fs::remove_file(path);
        }
        if tokio::time::timeout(LAST_WORDS, self.log.closed()).await.is_err() {
            tracing::warn!("a process that cannot be killed keeps a container's output open");
            self.log.close();
        }
        Exit {
            code,
            out_of_memory,
            finished_at,
        }
    }
}
