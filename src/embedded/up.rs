//! The cluster process: one API server and three nodes, from coming up to having removed everything.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::{JoinSet, spawn_blocking},
};

use super::{
    Handshake, NODES,
    api::{self, Api, Credentials},
    node::{Agent, cgroup::Mode, registry::Registry, runtime::Runtime, state::State},
};

/// Three full nodes of containers, and as many connections.
const MOST_DESCRIPTORS: u64 = 16 * 1024;
/// What a process has where nobody has set a limit.
const FEW_DESCRIPTORS: usize = 1024;

/// A cluster that is up.
#[derive(Debug)]
pub struct Up {
    handshake: Handshake,
    runtime: Arc<Runtime>,
    tasks: JoinSet<anyhow::Result<()>>,
    /// Dropped to stop the server.
    _serving: oneshot::Sender<()>,
}

impl Up {
    /// Remove what dead clusters left, then bring one up: its kubeconfig works and its nodes are Ready.
    pub async fn start() -> anyhow::Result<Self> {
        let descriptors = raise_descriptors();
        let runtime = Arc::new(spawn_blocking(|| Runtime::new(State::create()?)).await??);
        match Self::start_with(Arc::clone(&runtime), descriptors).await {
            Ok(up) => Ok(up),
            Err(error) => {
                runtime.remove()?;
                Err(error)
            }
        }
    }

    async fn start_with(runtime: Arc<Runtime>, descriptors: usize) -> anyhow::Result<Self> {
        let state = runtime.state();
        let api = Api::with(api::Config {
            volumes: state.volume(""),
            // The other half is for containers.
            connections: descriptors / 2,
            ..api::Config::default()
        });
        let registry = Arc::new(Registry::new(Arc::clone(&runtime)));
        api.attach_kubelet(registry.clone());
        let credentials = Credentials::generate()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let kubeconfig = api::kubeconfig(listener.local_addr()?, &credentials);
        write_private(&state.kubeconfig(), &kubeconfig)?;
        let mut tasks = JoinSet::new();
        let (serving, stop) = oneshot::channel::<()>();
        tasks.spawn(serve(api.clone(), listener, credentials, stop));
        tasks.spawn({
            let api = api.clone();
            async move { Err(api.failed().await) }
        });
        for name in NODES {
            let agent = Agent::join(name, api.client(), Arc::clone(&runtime), Arc::clone(&registry)).await?;
            tasks.spawn(async move {
                agent.run().await;
                Ok(())
            });
        }
        Ok(Self {
            handshake: handshake(&runtime),
            runtime,
            tasks,
            _serving: serving,
        })
    }

    /// What others need to know of it.
    pub fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// Wait until a part of it fails, which none should.
    pub async fn failed(&mut self) -> anyhow::Error {
        first_failure(&mut self.tasks)
            .await
            .context("the embedded cluster cannot go on")
    }

    /// End everything and remove all that the cluster made.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.tasks.shutdown().await;
        let runtime = Arc::clone(&self.runtime);
        Ok(spawn_blocking(move || runtime.remove()).await??)
    }
}

async fn first_failure(parts: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Error {
    match parts.join_next().await {
        Some(Ok(Err(error))) => error,
        // With the words of a panic.
        Some(Err(error)) => error.into(),
        _ => anyhow::anyhow!("a part of it has ended"),
    }
}

async fn serve(
    api: Api,
    listener: TcpListener,
    credentials: Credentials,
    stop: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let stopped = async {
        // Sent by dropping the sender.
        let _ = stop.await;
    };
    api::serve(api, listener, &credentials, stopped).await;
    Ok(())
}

/// Allow this process as many descriptors as the host does, up to more than enough; how many it has now. Programs that close
/// all that they might have open, one by one, set the bound.
fn raise_descriptors() -> usize {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = hard.min(MOST_DESCRIPTORS).max(soft);
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
        Ok(wanted)
    });
    if let Err(error) = &raised {
        tracing::warn!(%error, "the limit of descriptors cannot be raised");
    }
    raised.map_or(FEW_DESCRIPTORS, |most| {
        usize::try_from(most).unwrap_or(usize::MAX)
    })
}

fn handshake(runtime: &Runtime) -> Handshake {
    let state = runtime.state();
    Handshake {
        kubeconfig: state.kubeconfig(),
        isolation: runtime.describe(),
        pid_directory: (runtime.mode() == Mode::None).then(|| state.pids()),
    }
}

/// The kubeconfig lets its reader run programs as this user.
fn write_private(path: &Path, content: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ExitCode};

    #[tokio::test]
    async fn a_part_that_panics_ends_it_with_its_words_and_the_documented_code() {
        let mut parts = JoinSet::new();
        parts.spawn(async { panic!("a part's fault") });
        let error = first_failure(&mut parts).await;
        assert!(error.to_string().contains("a part's fault"), "{error}");
        assert_eq!(Error::Internal(error).exit_code(), ExitCode::Internal);
    }

    #[test]
    fn the_limit_of_descriptors_is_raised_as_far_as_it_may_be() {
        let most = raise_descriptors();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(u64::try_from(most).unwrap(), soft);
        assert!(soft >= hard.min(MOST_DESCRIPTORS));
    }
}
