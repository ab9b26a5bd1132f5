//! The entrance for other processes: TLS with a certificate of our own, and a bearer token that every request must bring.

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderValue, Request,
    header::{AUTHORIZATION, CONNECTION},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rand::{Rng, distr::Alphanumeric};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::{Api, status::ApiError};

const TOKEN_LENGTH: usize = 40;
/// How long a connection may take until a request with the token is there: what a real API server gives a header.
const ENTRANCE: Duration = Duration::from_secs(32);
/// How long the header of a later request may take. Clients close connections that lie idle after 90 seconds; it is left to
/// them, for who closes first may cut a request off.
const IDLE: Duration = Duration::from_secs(100);
/// After a connection that could not be accepted: there may be no descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What server and client must share: made anew for each cluster, kept in memory and in the kubeconfig only.
#[derive(Clone)]
pub struct Credentials {
    ca_pem: String,
    token: String,
    tls: Arc<ServerConfig>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// A new authority, a certificate for this host's loopback names, and a random token.
    pub fn generate() -> io::Result<Self> {
        let ca_key = KeyPair::generate().map_err(io::Error::other)?;
        let mut ca = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        ca.distinguished_name
            .push(rcgen::DnType::CommonName, "migbench embedded cluster");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let ca_pem = ca.self_signed(&ca_key).map_err(io::Error::other)?.pem();
        let issuer = Issuer::new(ca, ca_key);
        let token = rand::rng()
            .sample_iter(Alphanumeric)
            .take(TOKEN_LENGTH)
            .map(char::from)
            .collect();
        Ok(Self {
            ca_pem,
            token,
            tls: Arc::new(server_config(&issuer)?),
        })
    }
}

fn server_config(issuer: &Issuer<'_, KeyPair>) -> io::Result<ServerConfig> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let names = ["127.0.0.1", "localhost"].map(String::from);
    let params = CertificateParams::new(names).map_err(io::Error::other)?;
    let certificate: CertificateDer<'static> = params
        .signed_by(&key, issuer)
        .map_err(io::Error::other)?
        .der()
        .clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // Named, since another crate may have chosen another default for the process.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(vec![certificate], key)
        })
        .map_err(io::Error::other)?;
    // WebSockets need HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The kubeconfig for a server at this address. It holds the token: write it with mode 0600.
pub fn kubeconfig(address: SocketAddr, credentials: &Credentials) -> String {
    let name = "migbench-embedded";
    let ca = STANDARD.encode(&credentials.ca_pem);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {
            "server": format!("https://{address}"), "certificate-authority-data": ca,
        }}],
        "users": [{"name": name, "user": {"token": credentials.token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
    });
    format!("{config:#}\n")
}

/// Serve the API on a listener until told to stop; then connections are cut, since watches and logs end never. Nobody who
/// connects can end it: where there are no descriptors it waits for some, who does not bring the token is cut off, and who
/// comes when it is full is told so.
pub async fn serve(
    api: Api,
    listener: TcpListener,
    credentials: &Credentials,
    shutdown: impl Future<Output = ()>,
) {
    let entrance = Entrance {
        acceptor: TlsAcceptor::from(credentials.tls.clone()),
        token: format!("Bearer {}", credentials.token).into(),
        router: api.router(),
    };
    let mut connections = JoinSet::new();
    let full = api.connections;
    // Some of those that are too many are told so; more are closed without a word.
    let most = full + full / 8 + 1;
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            Some(ended) = connections.join_next() => if let Err(panic) = ended {
                tracing::error!(%panic, "a request was not answered");
            },
            (stream, _) = accepted(|| listener.accept()) => {
                let present = connections.len();
                if present < most {
                    connections.spawn(entrance.clone().serve(stream, present >= full));
                }
            }
        }
    }
}

/// The next connection, however long it takes until one can be accepted.
async fn accepted<T, A: Future<Output = io::Result<T>>>(accept: impl Fn() -> A) -> T {
    loop {
        match accept().await {
            Ok(connection) => return connection,
            Err(error) => tracing::warn!(%error, "a connection cannot be accepted"),
        }
        sleep(PAUSE).await;
    }
}

/// What every connection passes.
#[derive(Clone)]
struct Entrance {
    acceptor: TlsAcceptor,
    token: Arc<str>,
    router: Router,
}

impl Entrance {
    /// Serve one connection, or only say that there are too many.
    async fn serve(self, stream: TcpStream, full: bool) {
        let until = Instant::now() + ENTRANCE;
        stream.set_nodelay(true).ok();
        let stream = match timeout_at(until, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake"),
            Err(late) => return tracing::debug!(%late, "TLS handshake"),
        };
        let known = AtomicBool::new(false);
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(|request| self.answer(request, full, &known)),
            )
            .with_upgrades();
        let late = async {
            sleep_until(until).await;
            if known.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            outcome = served => if let Err(error) = outcome {
                tracing::debug!(%error, "connection");
            },
            () = late => tracing::debug!("no request with the token came in time"),
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        full: bool,
        known: &AtomicBool,
    ) -> Result<Response, Infallible> {
        let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let refusal = if full {
            ApiError::unavailable("the embedded cluster has as many connections as it serves at once")
        } else if given.is_some_and(|given| is_same(given, self.token.as_bytes())) {
            known.store(true, Ordering::Relaxed);
            return self.router.clone().oneshot(request).await;
        } else {
            ApiError::unauthorized()
        };
        Ok(([(CONNECTION, "close")], refusal).into_response())
    }
}

/// Compare in a time that does not tell how much was right.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    given.len() == wanted.len()
        && given
            .iter()
            .zip(wanted)
            .fold(0, |differs, (a, b)| differs | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use nix::errno::Errno;
    use rustls::{
        ClientConfig, RootCertStore,
        pki_types::{ServerName, pem::PemObject},
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::{TlsConnector, client::TlsStream};

    use super::*;
    use crate::embedded::api::Config;

    /// A server that takes so many connections, and what a client needs.
    struct Served {
        address: SocketAddr,
        credentials: Credentials,
        _task: JoinSet<()>,
    }

    impl Served {
        async fn start(connections: usize) -> Self {
            let api = Api::with(Config {
                connections,
                ..Config::default()
            });
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let credentials = Credentials::generate().unwrap();
            let mut task = JoinSet::new();
            let own = credentials.clone();
            task.spawn(async move { serve(api, listener, &own, std::future::pending()).await });
            Self {
                address,
                credentials,
                _task: task,
            }
        }

        async fn connect(&self) -> TlsStream<TcpStream> {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(self.credentials.ca_pem.as_bytes()).unwrap())
                .unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let stream = TcpStream::connect(self.address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let connector = TlsConnector::from(Arc::new(config));
            connector.connect(name, stream).await.unwrap()
        }

        fn request(&self) -> String {
            let token = &self.credentials.token;
            format!("GET /readyz HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n")
        }
    }

    /// The first bytes of an answer.
    async fn answer(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        String::from_utf8(head.to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_keeps_a_connection_from_being_accepted_passes() {
        let failures = [Errno::EMFILE, Errno::ENFILE, Errno::ECONNABORTED, Errno::ENOMEM];
        let failures = failures.map(|errno| Err(io::Error::from(errno)));
        let outcomes = RefCell::new(failures.into_iter().chain([Ok("a connection")]));
        let accept = || std::future::ready(outcomes.borrow_mut().next().unwrap());
        let begun = Instant::now();
        assert_eq!(accepted(accept).await, "a connection");
        assert_eq!(
            begun.elapsed(),
            PAUSE * 4,
            "it does not turn in circles meanwhile"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_begin_is_cut_off() {
        let served = Served::start(1).await;
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn who_brings_no_token_is_cut_off_and_who_has_brought_it_is_not() {
        let served = Served::start(2).await;
        let (mut slow, mut known) = (served.connect().await, served.connect().await);
        slow.write_all(b"GET /readyz HT").await.unwrap();
        let ok = "HTTP/1.1 200";
        assert_eq!(answer(&mut known, &served.request()).await, ok);
        tokio::time::pause();
        let ended = slow.read(&mut [0]).await;
        assert!(!matches!(ended, Ok(1..)), "{ended:?}");
        tokio::time::resume();
        let mut rest = vec![0; 4096];
        let _ = known.read(&mut rest).await.unwrap();
        assert_eq!(answer(&mut known, &served.request()).await, ok);
    }

    #[tokio::test]
    async fn who_comes_when_it_is_full_is_told_so() {
        let served = Served::start(1).await;
        let mut first = served.connect().await;
        let mut second = served.connect().await;
        assert_eq!(answer(&mut second, &served.request()).await, "HTTP/1.1 503");
        assert_eq!(answer(&mut first, &served.request()).await, "HTTP/1.1 200");
        let _third = TcpStream::connect(served.address).await.unwrap();
        let mut fourth = TcpStream::connect(served.address).await.unwrap();
        assert_eq!(
            fourth.read(&mut [0]).await.unwrap(),
            0,
            "there is no more to be told to"
        );
    }
}
