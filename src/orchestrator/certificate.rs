//! The server's certificate: read from files, and read again when they change, as they do when a mounted secret rotates.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum_server::tls_rustls::RustlsConfig;
use rcgen::CertifiedKey;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use sha2::{Digest, Sha256};

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(10);

/// Where certificate and key are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate, with those of the authorities between it and the root after it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file holds something else.
    #[error("{}: {reason}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No certificate could be made.
    #[error("self-signed certificate: {0}")]
    SelfSigned(String),
}

/// A certificate that serves.
#[derive(Debug)]
pub struct Certificate {
    files: Files,
    config: RustlsConfig,
}

impl Certificate {
    /// The certificate in these files. Where one of them is not there and names are given, a self-signed one for these names
    /// serves until both are.
    ///
    /// # Errors
    /// The file, and what is wrong with it.
    pub async fn load(files: Files, names: Vec<String>) -> Result<Self, Error> {
        let config = match files.read().await {
            Ok(pair) => files.parse(&pair)?,
            Err(Error::Read { error, .. })
                if error.kind() == std::io::ErrorKind::NotFound && !names.is_empty() =>
            {
                self_signed(names)?
            }
            Err(error) => return Err(error),
        };
        let config = RustlsConfig::from_config(Arc::new(config));
        Ok(Self { files, config })
    }

    /// For the acceptor; it changes with the files.
    pub(super) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Take over whatever usable pair the files hold, for as long as this runs. While they hold none, or halves of two, the
    /// last one serves.
    pub(super) async fn keep_fresh(&self) {
        let mut last = None;
        let mut told = String::new();
        loop {
            let read = self.files.read().await;
            let changed = read.map(|pair| (last.as_ref() != Some(&pair)).then_some(pair));
            let taken = changed.and_then(|pair| match pair {
                Some(pair) => {
                    self.config.reload_from_config(Arc::new(self.files.parse(&pair)?));
                    last = Some(pair);
                    Ok(())
                }
                None => Ok(()),
            });
            let failed = taken.err().map(|error| error.to_string()).unwrap_or_default();
            if !failed.is_empty() && failed != told {
                tracing::warn!("the certificate was not read again: {failed}");
            }
            told = failed;
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Files {
    async fn read(&self) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let read = async |path: &PathBuf| {
            let path = path.clone();
            tokio::fs::read(&path)
                .await
                .map_err(|error| Error::Read { path, error })
        };
        Ok((read(&self.certificate).await?, read(&self.key).await?))
    }

    fn parse(&self, (certificate, key): &(Vec<u8>, Vec<u8>)) -> Result<ServerConfig, Error> {
        let wrong = |path: &PathBuf, reason: String| Error::Content {
            path: path.clone(),
            reason,
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(|error| wrong(&self.certificate, error.to_string()))?;
        // Not what the parser says: it might quote the key.
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| wrong(&self.key, "it holds no private key in PEM".into()))?;
        server_config(chain, key).map_err(|error| wrong(&self.certificate, error.to_string()))
    }
}

fn self_signed(names: Vec<String>) -> Result<ServerConfig, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::SelfSigned(error.to_string());
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(names).map_err(|error| failed(&error))?;
    let sha256 = format!("{:x}", Sha256::digest(cert.der()));
    tracing::warn!(
        sha256,
        "there is no certificate: a self-signed one serves until there is"
    );
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    server_config(vec![cert.der().clone()], key).map_err(|error| failed(&error))
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    // Named, since another crate may have chosen another default for the process.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Files with a certificate of their own.
    fn write(directory: &std::path::Path) -> Files {
        let files = Files {
            certificate: directory.join("tls.crt"),
            key: directory.join("tls.key"),
        };
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        fs::write(&files.certificate, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[tokio::test(start_paused = true)]
    async fn what_rotates_is_read_again_and_halves_of_two_are_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let files = write(directory.path());
        let certificate = Certificate::load(files.clone(), Vec::new()).await.unwrap();
        let first = certificate.config().get_inner();
        let after_a_look = async || {
            tokio::select! {
                () = certificate.keep_fresh() => unreachable!("it keeps on"),
                () = tokio::time::sleep(LOOK * 2) => certificate.config().get_inner(),
            }
        };
        let key = fs::read(&files.key).unwrap();
        write(directory.path());
        let other = fs::read(&files.key).unwrap();
        fs::write(&files.key, key).unwrap();
        assert!(Arc::ptr_eq(&first, &after_a_look().await));
        fs::write(&files.key, other).unwrap();
        assert!(!Arc::ptr_eq(&first, &after_a_look().await));
    }

    #[tokio::test]
    async fn files_that_are_not_there_are_named_unless_something_else_may_serve() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = write(directory.path());
        files.key = directory.path().join("nowhere");
        let error = Certificate::load(files.clone(), Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{error}");
        assert!(
            Certificate::load(files.clone(), vec!["localhost".into()])
                .await
                .is_ok()
        );
        files.key.clone_from(&files.certificate);
        let error = Certificate::load(files, vec!["localhost".into()])
            .await
            .unwrap_err();
        assert!(error.to_string().contains("no private key"), "{error}");
    }
}
