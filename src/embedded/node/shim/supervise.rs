//! Stage 1: the parent of a container's PID 1. It stays outside the container's cgroup, so that nothing of it is charged
//! to the container, and it alone signals PID 1, because only the parent can be sure that the pid is still that process.

use std::{
    fs,
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::AsFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::{Id, WaitPidFlag, waitid, waitpid},
    },
    unistd::Pid,
};

use super::{ARG0, Config, Isolation, Message, Order, SELF, exit_code, sealed};
use crate::embedded::node::cgroup;

/// Between two looks at what a container left behind, and how long they go on.
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(5);

/// Run the container of a bundle to its end. Standard input is the control socket; standard output and error are the
/// container's.
pub fn supervise(bundle: &Path) -> anyhow::Result<()> {
    let mut control = control_socket()?;
    match start(bundle) {
        Ok((config, child, exits)) => Supervisor {
            config,
            child,
            exits,
            control,
        }
        .run(),
        Err(error) => {
            let reason = format!("{error:#}");
            send(&mut control, &Message::Failed { reason })
        }
    }
}

/// The socket that the parent put in place of standard input.
pub(super) fn control_socket() -> anyhow::Result<UnixStream> {
    let socket = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .context("standard input")?;
    Ok(UnixStream::from(socket))
}

fn send(control: &mut UnixStream, message: &Message) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    // Without a reader the cluster process is dead, and there is nobody to tell.
    let _ = control.write_all(&line);
    Ok(())
}

fn start(bundle: &Path) -> anyhow::Result<(Config, Child, SignalFd)> {
    let config = Config::load(bundle)?;
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block()?;
    let exits = SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC)?;
    config.isolation.unshare()?;
    if !config.isolation.pid {
        // What a container leaves behind becomes this process's, whatever session it is in.
        prctl::set_child_subreaper(true)?;
    }
    let child = start_init(bundle, config.isolation)?;
    Ok((config, child, exits))
}

/// Start stage 2 and wait until it has become the program: its end of the socket closes on `exec`, and carries the
/// reason when it comes to nothing.
pub(super) fn start_init(bundle: &Path, isolation: Isolation) -> anyhow::Result<Child> {
    let program = if isolation.mounts {
        sealed::seal(bundle)?
    } else {
        PathBuf::from(SELF)
    };
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.shutdown(Shutdown::Write)?;
    let mut child = Command::new(program)
        .arg0(ARG0)
        .args(["shim", "init", "--bundle"])
        .arg(bundle)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .spawn()
        .context("stage 2")?;
    let mut reason = String::new();
    ours.read_to_string(&mut reason)?;
    if reason.is_empty() {
        return Ok(child);
    }
    child.wait()?;
    anyhow::bail!(reason)
}

struct Supervisor {
    config: Config,
    child: Child,
    exits: SignalFd,
    control: UnixStream,
}

impl Supervisor {
    fn run(mut self) -> anyhow::Result<()> {
        let pid = self.pid().as_raw();
        send(&mut self.control, &Message::Started { pid })?;
        let mut attended = true;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.end_orphans();
                return send(
                    &mut self.control,
                    &Message::Exited {
                        code: exit_code(status),
                    },
                );
            }
            self.reap_orphans();
            if self.wait(attended)? {
                attended = self.obey();
            }
        }
    }

    /// Forget those that became this process's children and have ended: without a PID namespace it is what PID 1 is.
    fn reap_orphans(&self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Ok(Some(ended)) = waitid(Id::All, flags).map(|status| status.pid()) {
            if ended == self.pid() || waitpid(ended, None).is_err() {
                return;
            }
        }
    }

    /// Sleep until PID 1 may have ended, or until an order has come; says whether it is the latter.
    fn wait(&self, attended: bool) -> anyhow::Result<bool> {
        let mut sources = vec![PollFd::new(self.exits.as_fd(), PollFlags::POLLIN)];
        if attended {
            sources.push(PollFd::new(self.control.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut sources, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => return Ok(false),
            result => result?,
        };
        let ready: Vec<bool> = sources
            .iter()
            .map(|source| source.any().unwrap_or(true))
            .collect();
        if ready[0] {
            self.exits.read_signal()?;
        }
        Ok(ready.get(1).copied().unwrap_or(false))
    }

    /// Carry out the order that has come; false when there will be no more.
    fn obey(&mut self) -> bool {
        let mut order = [0];
        let ended = !matches!(self.control.read(&mut order), Ok(1));
        if ended || order[0] == Order::Kill as u8 {
            self.kill();
        } else if order[0] == Order::Terminate as u8 {
            // Fails only when it has ended already, and then SIGCHLD is on its way.
            let _ = kill(self.pid(), Signal::SIGTERM);
        }
        !ended
    }

    fn kill(&self) {
        let _ = kill(self.pid(), Signal::SIGKILL);
        self.end_orphans();
    }

    /// The kernel ends everything in a PID namespace with its PID 1. Without one, the cgroup must, and where there is none
    /// this process, as the parent of all that is left.
    fn end_orphans(&self) {
        if self.config.isolation.pid {
            return;
        }
        for directory in &self.config.cgroups {
            cgroup::kill::kill_all(directory);
        }
        let deadline = Instant::now() + PATIENCE;
        while self.end_children() && Instant::now() < deadline {
            thread::sleep(PAUSE);
        }
    }

    /// SIGKILL for every child; says whether there were any. Theirs become this process's when they end.
    fn end_children(&self) -> bool {
        let children = children();
        for child in &children {
            // Fails only for one that changed its user, which then may outlive the container.
            let _ = kill(*child, Signal::SIGKILL);
            if *child != self.pid() {
                // PID 1's end is for the main loop to see.
                let _ = waitpid(*child, Some(WaitPidFlag::WNOHANG));
            }
        }
        children.iter().any(|child| *child != self.pid())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }
}

/// The children of this process. Kernels need not have `/proc/<pid>/task/<tid>/children`.
fn children() -> Vec<Pid> {
    let own = Pid::this().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_child = |pid: &String| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // pid (name, which may hold anything) state parent
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split(' ').nth(2));
        parent == Some(&own)
    };
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(is_child)
        .filter_map(|pid| pid.parse().ok().map(Pid::from_raw))
        .collect()
}
