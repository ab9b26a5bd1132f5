//! The embedded cluster: a small Kubernetes-compatible API ([`api`]) and nodes that run containers as real processes
//! ([`node`]), for machines without Kubernetes. It is a process of its own (`migbench cluster up`); the rest of the
//! program sees its kubeconfig and nothing else.

pub mod api;
pub mod images;
pub mod node;
pub mod scope;
pub mod up;

use std::fmt;

use futures::future::BoxFuture;
use tokio::sync::mpsc;

/// Names of the three nodes, as in the certified test set-up.
pub const NODES: [&str; 3] = ["ai-storage-master", "gpu-server-03", "ai-storage-worker-01"];

/// Which container of which pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerKey {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container.
    pub container: String,
}

/// What `kubectl logs` may ask for.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Go on as long as the container lives.
    pub follow: bool,
    /// The container's previous life.
    pub previous: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only what is not older.
    pub since: Option<jiff::Timestamp>,
    /// Put an RFC 3339 time before each line.
    pub timestamps: bool,
}

/// A command to run in a container.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// Where.
    pub key: ContainerKey,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether input follows.
    pub stdin: bool,
    /// Whether a terminal is wanted.
    pub tty: bool,
}

/// What a running command sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    /// Bytes on stdout.
    Stdout(Vec<u8>),
    /// Bytes on stderr.
    Stderr(Vec<u8>),
    /// It ended with this code (128 + n for signal n). The last message.
    Exit(i32),
}

/// A running command: its input (close the sender to end it) and its output.
#[derive(Debug)]
pub struct ExecSession {
    /// Input.
    pub stdin: mpsc::Sender<Vec<u8>>,
    /// Output, ending with [`ExecOutput::Exit`].
    pub output: mpsc::Receiver<ExecOutput>,
}

/// What the API server asks of the kubelets: everything that is not told through objects.
pub trait Kubelet: Send + Sync + fmt::Debug {
    /// Output of a container (stdout and stderr in the order written), in chunks of whole lines. An error is a message
    /// for the user of `kubectl logs`.
    fn logs(
        &self,
        key: ContainerKey,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<mpsc::Receiver<Vec<u8>>, String>>;

    /// Run a command in a container: in its cgroup and namespaces.
    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, Result<ExecSession, String>>;
}

/// The one line of JSON that `migbench cluster up --private` prints on stdout once everything is up. The process removes
/// all it made and ends when its stdin closes, or on SIGTERM.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Handshake {
    /// Kubeconfig that reaches the cluster (mode 0600).
    pub kubeconfig: std::path::PathBuf,
    /// How containers are kept apart here, in words: cgroup mode, namespaces.
    pub isolation: String,
    /// In mode D (no cgroup can be written): the directory with one file `<container id>` for each container, holding
    /// the pid of its first process in decimal.
    pub pid_directory: Option<std::path::PathBuf>,
}
