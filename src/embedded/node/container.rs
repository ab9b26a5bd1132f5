//! One life of a container.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use tokio::{net::unix::OwnedWriteHalf, sync::watch};

use super::{log::Log, shim::Order};

/// A started container, running or ended. Dropping it kills it.
#[derive(Debug)]
pub struct Container {
    id: String,
    pid: i32,
    bundle: PathBuf,
    started_at: Timestamp,
    log: Arc<Log>,
    orders: OwnedWriteHalf,
    exit: watch::Receiver<Option<Exit>>,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, 128 + n for signal n.
    pub code: i32,
    /// Whether the kernel killed a process of it for want of memory.
    pub out_of_memory: bool,
    /// When.
    pub finished_at: Timestamp,
}

impl Exit {
    /// The reason as Kubernetes names it.
    pub fn reason(&self) -> &'static str {
        match (self.code, self.out_of_memory) {
            (0, _) => "Completed",
            (_, true) => "OOMKilled",
            (_, false) => "Error",
        }
    }
}

impl Container {
    /// A container whose program has just started.
    pub(super) fn new(
        id: String,
        pid: i32,
        bundle: PathBuf,
        log: Arc<Log>,
        (orders, exit): (OwnedWriteHalf, watch::Receiver<Option<Exit>>),
    ) -> Self {
        Self {
            id,
            pid,
            bundle,
            started_at: Timestamp::now(),
            log,
            orders,
            exit,
        }
    }

    /// 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// PID 1 of the container, as the host counts.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its directory below the pod's.
    pub fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// When its program started.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// What it printed.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// SIGTERM to its PID 1, which ignores it unless it has a handler.
    pub fn terminate(&self) {
        self.order(Order::Terminate);
    }

    /// SIGKILL to everything in it.
    pub fn kill(&self) {
        self.order(Order::Kill);
    }

    fn order(&self, order: Order) {
        // The socket takes thousands of bytes before it is full, and is closed only when the container has ended.
        let _ = self.orders.try_write(&[order as u8]);
    }

    /// How it ended, if it has: its cgroup is then gone, its log complete.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Wait for its end.
    pub async fn ended(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await.map(|exit| *exit) {
            Ok(Some(exit)) => exit,
            // Better a cluster that ends than a container that never does.
            _ => panic!("the task that waited for the container's end has panicked"),
        }
    }
}
