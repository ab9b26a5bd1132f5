//! Which orchestrator is to work, as clap sees it.

use std::path::PathBuf;

use reqwest::Url;

use crate::migrate::{
    self,
    endpoint::{Credentials, Endpoint},
};

/// Somebody else's orchestrator.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct OrchestratorArgs {
    /// Use this orchestrator instead of the own one.
    #[arg(long, value_name = "URL", value_parser = migrate::orchestrator::http_url)]
    pub orchestrator_url: Option<Url>,
    /// Certificates, in PEM, of the authorities that may have signed the one of --orchestrator-url; without, the system's.
    #[arg(long, value_name = "FILE", requires = "orchestrator_url")]
    pub orchestrator_ca: Option<PathBuf>,
    /// File with the bearer token to show to --orchestrator-url.
    #[arg(long, value_name = "FILE", requires = "orchestrator_url")]
    pub orchestrator_token_file: Option<PathBuf>,
}

impl OrchestratorArgs {
    /// Where it is and what to bring, where one was named.
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.orchestrator_url.as_ref().map(|url| Endpoint {
            url: url.to_string(),
            credentials: self.credentials(),
        })
    }

    /// What to bring there.
    pub fn credentials(&self) -> Credentials {
        Credentials {
            ca: self.orchestrator_ca.clone(),
            token: self.orchestrator_token_file.clone(),
        }
    }
}
