//! A kubelet that runs nothing, and an API served over TLS.

use std::{net::SocketAddr, sync::Arc};

use futures::future::BoxFuture;
use migbench::embedded::{
    ContainerKey, ExecOutput, ExecRequest, ExecSession, Kubelet, LogOptions,
    api::{Api, Credentials, kubeconfig, serve},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

/// Prints what it was asked, and `cat`s.
#[derive(Debug)]
pub(crate) struct FakeKubelet;

impl Kubelet for FakeKubelet {
    fn logs(
        &self,
        key: ContainerKey,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<mpsc::Receiver<Vec<u8>>, String>> {
        Box::pin(async move {
            if options.previous {
                let ContainerKey { pod, container, .. } = key;
                return Err(format!(
                    "previous terminated container \"{container}\" in pod \"{pod}\" not found"
                ));
            }
            let (sender, receiver) = mpsc::channel(4);
            let line = format!(
                "{} tail={:?} follow={}\n",
                key.container, options.tail_lines, options.follow
            );
            sender.send(line.into_bytes()).await.unwrap();
            Ok(receiver)
        })
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, Result<ExecSession, String>> {
        Box::pin(async move {
            let (stdin, mut input) = mpsc::channel::<Vec<u8>>(4);
            let (sender, output) = mpsc::channel(4);
            tokio::spawn(async move {
                match request.command[0].as_str() {
                    "cat" => {
                        while let Some(bytes) = input.recv().await {
                            sender.send(ExecOutput::Stdout(bytes)).await.unwrap();
                        }
                        sender.send(ExecOutput::Exit(0)).await.unwrap();
                    }
                    "false" => {
                        sender.send(ExecOutput::Stderr(b"no\n".to_vec())).await.unwrap();
                        sender.send(ExecOutput::Exit(3)).await.unwrap();
                    }
                    _ => {
                        let line = format!("{}\n", request.command.join(" "));
                        sender.send(ExecOutput::Stdout(line.into_bytes())).await.unwrap();
                        sender.send(ExecOutput::Exit(0)).await.unwrap();
                    }
                }
            });
            Ok(ExecSession { stdin, output })
        })
    }
}

/// A server on loopback that ends with this value.
pub(crate) struct TlsServer {
    pub(crate) api: Api,
    pub(crate) address: SocketAddr,
    pub(crate) kubeconfig: String,
    task: JoinHandle<()>,
}

impl TlsServer {
    pub(crate) async fn start() -> Self {
        let api = Api::new();
        api.attach_kubelet(Arc::new(FakeKubelet));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let credentials = Credentials::generate().unwrap();
        let kubeconfig = kubeconfig(address, &credentials);
        let served = api.clone();
        let task =
            tokio::spawn(async move { serve(served, listener, &credentials, std::future::pending()).await });
        Self {
            api,
            address,
            kubeconfig,
            task,
        }
    }

    /// A client made from the kubeconfig, as other processes make theirs.
    pub(crate) async fn client(&self) -> kube::Client {
        let config = kube::config::Kubeconfig::from_yaml(&self.kubeconfig).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options)
            .await
            .unwrap();
        kube::Client::try_from(config).unwrap()
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
