//! Where an orchestrator is, and what it takes to be let in.

use std::{fs, path::PathBuf, time::Duration};

use reqwest::{Certificate, Client, RequestBuilder};

/// What a caller brings to an orchestrator beyond this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Certificates in PEM of the authorities that alone may have signed its certificate; without, those of the system.
    pub ca: Option<PathBuf>,
    /// File with a bearer token; read for each request, since tokens of service accounts are renewed.
    pub token: Option<PathBuf>,
}

/// An orchestrator, and what to bring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address (`http://…` or `https://…`).
    pub url: String,
    /// What to bring.
    pub credentials: Credentials,
}

impl Endpoint {
    /// A client that gives up a request after `answer`.
    ///
    /// # Errors
    /// The certificates cannot be read, or the token would be sent in plain text over the network.
    pub fn client(&self, answer: Duration) -> Result<Client, String> {
        // Fails where a provider has been installed already, and that is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder().timeout(answer);
        if let Some(file) = &self.credentials.ca {
            let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
            let pem = fs::read(file).map_err(|error| failed(&error))?;
            let authorities = Certificate::from_pem_bundle(&pem).map_err(|error| failed(&error))?;
            if authorities.is_empty() {
                return Err(failed(&"it holds no certificate in PEM"));
            }
            client = client.tls_certs_only(authorities);
        }
        if self.credentials.token.is_some() && !self.url.starts_with("https:") {
            return Err("a token is not sent in plain text: name an https address".into());
        }
        client.build().map_err(|error| error.to_string())
    }

    /// A request with the token, where there is one.
    ///
    /// # Errors
    /// The file that cannot be read.
    pub fn authorise(&self, request: RequestBuilder) -> Result<RequestBuilder, String> {
        let Some(file) = &self.credentials.token else {
            return Ok(request);
        };
        let token = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(request.bearer_auth(token.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_read_for_each_request_and_not_sent_in_plain_text() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut endpoint = Endpoint {
            url: "https://o".into(),
            credentials: Credentials {
                ca: None,
                token: Some(file.path().to_owned()),
            },
        };
        let client = endpoint.client(Duration::from_secs(1)).unwrap();
        for token in ["one", "two"] {
            fs::write(file.path(), format!("{token}\n")).unwrap();
            let request = endpoint.authorise(client.get("https://o")).unwrap();
            let headers = request.build().unwrap().headers().clone();
            assert_eq!(headers["authorization"], format!("Bearer {token}"));
        }
        endpoint.url = "http://o".into();
        assert!(endpoint.client(Duration::from_secs(1)).is_err());
        endpoint.url = "https://o".into();
        endpoint.credentials.ca = Some(file.path().to_owned());
        let told = endpoint.client(Duration::from_secs(1)).unwrap_err();
        assert!(told.contains("no certificate"), "{told}");
    }
}
