//! The cluster process: one API server and three nodes, from coming up to having removed everything.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc};

use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::{JoinSet, spawn_blocking},
};

use super::{
    Handshake, NODES,
    api::{self, Api, Credentials},
    images::Means,
    node::{Agent, cgroup::Mode, registry::Registry, runtime::Runtime, state::State},
};

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
    /// Remove what dead clusters left, then bring one up: its kubeconfig works and its nodes are Ready. Images that are
    /// not there yet are built by `means`.
    pub async fn start(means: Means) -> anyhow::Result<Self> {
        let runtime = Arc::new(spawn_blocking(|| Runtime::new(State::create()?, means)).await??);
        match Self::start_with(Arc::clone(&runtime)).await {
            Ok(up) => Ok(up),
            Err(error) => {
                runtime.remove()?;
                Err(error)
            }
        }
    }

    async fn start_with(runtime: Arc<Runtime>) -> anyhow::Result<Self> {
        let state = runtime.state();
        let api = Api::with(api::Config {
            volumes: state.volume(""),
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
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            ended => anyhow::anyhow!("a part of the embedded cluster ended: {ended:?}"),
        }
    }

    /// End everything and remove all that the cluster made.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.tasks.shutdown().await;
        let runtime = Arc::clone(&self.runtime);
        Ok(spawn_blocking(move || runtime.remove()).await??)
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
    Ok(api::serve(api, listener, &credentials, stopped).await?)
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
