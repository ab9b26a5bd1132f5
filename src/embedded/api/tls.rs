//! The entrance for other processes: TLS with a certificate of our own, and a bearer token that every request must bring.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
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
};
use tokio_rustls::TlsAcceptor;

use super::{Api, status::ApiError};

const TOKEN_LENGTH: usize = 40;

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

/// Serve the API on a listener until told to stop; then connections are cut, since watches and logs end never.
pub async fn serve(
    api: Api,
    listener: TcpListener,
    credentials: &Credentials,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let token: Arc<str> = format!("Bearer {}", credentials.token).into();
    let router = api
        .router()
        .layer(middleware::from_fn_with_state(token, authenticate));
    let acceptor = TlsAcceptor::from(credentials.tls.clone());
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(acceptor.clone(), stream, router.clone()));
                }
                Err(error) if is_transient(&error) => tracing::debug!(%error, "accept"),
                Err(error) => return Err(error),
            },
        }
    }
}

/// Whether the next accept may succeed: it was this peer's fault.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, router: Router) {
    stream.set_nodelay(true).ok();
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "TLS handshake"),
    };
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection");
    }
}

async fn authenticate(State(token): State<Arc<str>>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .map(http::HeaderValue::as_bytes);
    if given.is_some_and(|given| is_same(given, token.as_bytes())) {
        next.run(request).await
    } else {
        ApiError::unauthorized().into_response()
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
