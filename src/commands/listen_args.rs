//! Where the orchestrator listens, as clap sees it.

use std::{net::SocketAddr, path::PathBuf};

use tokio::net::TcpListener;

use crate::{
    error::Error,
    orchestrator::{
        certificate::{Certificate, Files},
        server::Entrance,
    },
};

/// Where to listen, and for whom.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Listening")]
pub struct ListenArgs {
    /// Address to listen on; port 0 takes a free one. Without a certificate it is a loopback address, and whoever is on this
    /// host may ask; with one, callers show a token of the cluster's.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Certificate to serve --listen over TLS with, in PEM. Read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve with a self-signed certificate for these names until the files are there.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "tls_cert")]
    tls_self_signed: Vec<String>,
    /// A loopback address to listen on beside a --listen that is served over TLS.
    #[arg(long, value_name = "ADDRESS", requires = "tls_cert")]
    listen_local: Option<SocketAddr>,
}

impl ListenArgs {
    /// Listen, and on which addresses.
    pub async fn open(self) -> Result<(Vec<Entrance>, Vec<SocketAddr>), Error> {
        let certificate = match self.tls_cert.zip(self.tls_key) {
            Some((certificate, key)) => {
                let files = Files { certificate, key };
                let loaded = Certificate::load(files, self.tls_self_signed).await;
                Some(loaded.map_err(|error| Error::Usage(format!("--tls-cert, --tls-key: {error}")))?)
            }
            None => None,
        };
        if certificate.is_none() {
            demand_loopback(
                "--listen",
                self.listen,
                "give --tls-cert FILE and --tls-key FILE, or listen on 127.0.0.1",
            )?;
        }
        let (main, address) = bind("--listen", self.listen).await?;
        let main = match certificate {
            Some(certificate) => Entrance::Tls(main, certificate),
            None => Entrance::Local(main),
        };
        let (mut entrances, mut addresses) = (vec![main], vec![address]);
        if let Some(local) = self.listen_local {
            demand_loopback("--listen-local", local, "listen on 127.0.0.1")?;
            let (listener, address) = bind("--listen-local", local).await?;
            entrances.push(Entrance::Local(listener));
            addresses.push(address);
        }
        Ok((entrances, addresses))
    }
}

fn demand_loopback(flag: &str, address: SocketAddr, remedy: &str) -> Result<(), Error> {
    if address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{flag} {address}: others than this host are served over TLS alone; {remedy}"
    )))
}

async fn bind(flag: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |error| Error::Usage(format!("{flag} {address}: {error}; choose another port"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
