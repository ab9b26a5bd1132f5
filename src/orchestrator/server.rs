//! The server around the routes: where it listens, and how much of anybody's patience and room it grants.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, middleware::AddExtension};
use axum_server::{
    Server,
    accept::{Accept, DefaultAcceptor},
    tls_rustls::RustlsAcceptor,
};
use futures::{
    FutureExt,
    future::{BoxFuture, try_join_all},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::Layer;

use super::{caller::Gate, certificate::Certificate, door::Door, routes::router, service::Service};

/// Connections at a time, over all entrances; one more is closed at once.
const CONNECTIONS: usize = 256;
/// How long a connection may take until its first request is there; a TLS handshake has as long for itself.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// How long the header of a later request may take. Clients close connections that lie idle after 90 seconds; it is left to
/// them, for who closes first may cut a request off.
const IDLE: Duration = Duration::from_secs(100);

/// A way in.
#[derive(Debug)]
pub enum Entrance {
    /// The loopback interface, in plain text: for whoever is on this host.
    Local(TcpListener),
    /// TLS: for callers that bring a token.
    Tls(TcpListener, Certificate),
}

impl Entrance {
    async fn serve(self, service: Service, room: Arc<Semaphore>) -> io::Result<()> {
        match self {
            Self::Local(listener) => {
                let acceptor = Limited {
                    inner: DefaultAcceptor::new(),
                    room,
                };
                serve(listener, acceptor, router(service, Door::Local)).await
            }
            Self::Tls(listener, certificate) => {
                let inner = RustlsAcceptor::new(certificate.config()).handshake_timeout(FIRST_REQUEST);
                let gate = Gate::new(service.client());
                let serving = serve(
                    listener,
                    Limited { inner, room },
                    router(service, Door::Guarded(gate)),
                );
                tokio::select! {
                    ended = serving => ended,
                    () = certificate.keep_fresh() => Ok(()),
                }
            }
        }
    }
}

/// Serve until `shutdown`, then roll back or finish what is under way. Questions are answered until that is done, so that
/// clients learn how their migrations have ended. Whether everything ended within `drain`.
pub async fn run(
    entrances: Vec<Entrance>,
    service: Service,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) -> io::Result<bool> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let serving = entrances
        .into_iter()
        .map(|entrance| entrance.serve(service.clone(), Arc::clone(&room)));
    tokio::select! {
        ended = try_join_all(serving) => ended.map(|_| true),
        drained = async {
            shutdown.await;
            service.drain(drain).await
        } => Ok(drained),
    }
}

async fn serve<A>(listener: TcpListener, acceptor: A, routes: axum::Router) -> io::Result<()>
where
    A: Accept<TcpStream, axum::Router> + Clone + Send + Sync + 'static,
    A::Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
    A::Service: axum_server::service::SendService<http::Request<hyper::body::Incoming>> + Send,
    A::Future: Send,
{
    let mut server = Server::<SocketAddr>::from_listener(listener)
        .acceptor(acceptor)
        .first_request_timeout(FIRST_REQUEST)
        .http1_only();
    server.http_builder().http1().header_read_timeout(IDLE);
    server.serve(routes.into_make_service()).await
}

/// Accepts as long as there is room; each connection holds its place to its end.
#[derive(Debug, Clone)]
struct Limited<A> {
    inner: A,
    room: Arc<Semaphore>,
}

impl<A, S> Accept<TcpStream, S> for Limited<A>
where
    A: Accept<TcpStream, S>,
    A::Stream: 'static,
    A::Service: 'static,
    A::Future: Send + 'static,
{
    type Stream = A::Stream;
    type Service = AddExtension<A::Service, Arc<OwnedSemaphorePermit>>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let place = Arc::clone(&self.room).try_acquire_owned();
        let accepted = self.inner.accept(stream, service);
        async move {
            let place = place.map_err(|_| io::Error::other("too many connections"))?;
            let (stream, service) = accepted.await?;
            Ok((stream, Extension(Arc::new(place)).layer(service)))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use reqwest::{Client, RequestBuilder, StatusCode};
    use serde_json::{Value, json};

    use super::*;
    use crate::orchestrator::{
        caller::tests::api_server,
        certificate::Files,
        ongoing::{Limits, Settings},
    };

    /// The service for this entrance, in a cluster where bob may do with pods of `ml` what `verbs` says.
    async fn start(entrance: impl FnOnce(TcpListener) -> Entrance, verbs: &'static [&'static str]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let settings = Settings {
            limits: Limits::default(),
            verify_image: "migbench".into(),
            lease: None,
            namespaces: Vec::new(),
            private: false,
        };
        let service = Service::start(api_server(verbs).0, settings);
        let serving = run(
            vec![entrance(listener)],
            service,
            std::future::pending(),
            Duration::ZERO,
        );
        tokio::spawn(serving);
        port
    }

    async fn tls(verbs: &'static [&'static str]) -> (Client, String) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let files = Files {
            certificate: directory.path().join("tls.crt"),
            key: directory.path().join("tls.key"),
        };
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        let certificate = Certificate::load(files, Vec::new()).await.unwrap();
        let port = start(|listener| Entrance::Tls(listener, certificate), verbs).await;
        let authority = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        let client = Client::builder().tls_certs_only([authority]).build().unwrap();
        (client, format!("https://localhost:{port}"))
    }

    async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    fn migration(namespace: &str) -> Value {
        json!({"pod_name": "job", "pod_namespace": namespace, "source_node": "a", "target_node": "b"})
    }

    #[tokio::test]
    async fn over_tls_it_takes_a_token_and_the_rights_that_the_work_itself_takes() {
        let (client, url) = tls(&["create", "delete", "get"]).await;
        let post = |namespace| {
            client
                .post(format!("{url}/api/v1/migrations"))
                .json(&migration(namespace))
        };
        for request in [
            post("ml"),
            post("ml").bearer_auth("bad"),
            client.get(format!("{url}/metrics")),
        ] {
            let (code, body) = answer(request).await;
            assert_eq!((code.as_u16(), &body["error"]), (401, &json!("Unauthorized")));
        }
        let (code, body) = answer(post("other").bearer_auth("good")).await;
        assert_eq!(code, 403);
        let details = body["details"].as_str().unwrap();
        assert!(
            details.contains("bob may not create pods in namespace other"),
            "{details}"
        );
        // The right ones come as far as the cluster, which here knows nothing of pods.
        let (code, body) = answer(post("ml").bearer_auth("good")).await;
        assert_eq!((code.as_u16(), &body["error"]), (502, &json!("ApiRefused")));
        let list = client.get(format!("{url}/api/v1/migrations"));
        assert_eq!(
            answer(list.bearer_auth("good")).await,
            (StatusCode::OK, json!([]))
        );
        let live = client.get(format!("{url}/livez")).send().await.unwrap();
        assert_eq!(live.status(), 200);
    }

    #[tokio::test]
    async fn in_plain_text_nobody_answers_on_a_tls_port_and_strangers_not_on_a_plain_one() {
        let (_, url) = tls(&[]).await;
        let plain = Client::new().get(url.replace("https", "http"));
        assert!(plain.send().await.is_err());
        let port = start(Entrance::Local, &[]).await;
        let get = |host: &str| {
            let get = Client::new().get(format!("http://127.0.0.1:{port}/api/v1/migrations"));
            get.header("host", host)
        };
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:8080"] {
            assert_eq!(answer(get(host)).await.0, 200, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:8080",
            "10.0.0.1",
            "127.0.0.1.evil.example",
        ] {
            assert_eq!(answer(get(host)).await.0, 421, "{host}");
        }
    }

    #[tokio::test]
    async fn who_comes_when_it_is_full_is_turned_away_until_somebody_leaves() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limited = Limited {
            inner: DefaultAcceptor::new(),
            room: Arc::new(Semaphore::new(1)),
        };
        let come = async || {
            let stream = TcpStream::connect(address).await.unwrap();
            limited.accept(stream, axum::Router::<()>::new()).await
        };
        let first = come().await.unwrap();
        assert!(come().await.is_err());
        drop(first);
        assert!(come().await.is_ok());
    }
}
