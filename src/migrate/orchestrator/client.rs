//! The API of an orchestrator over HTTP.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;

use crate::{
    contract::orchestrator::{ErrorBody, Status},
    k8s::explain,
    migrate::{Error, answer::Answer, endpoint::Endpoint},
};

/// Time between two polls: short against a migration, since its end is measured by them.
const POLL: Duration = Duration::from_millis(200);
/// Longest time for one request.
const ANSWER: Duration = Duration::from_secs(10);
/// Attempts of one poll while the connection fails, or while another of several replicas answers, which does not know the
/// migration.
const ATTEMPTS: usize = 25;
/// Both spellings of the API: the existing orchestrator's, and the certification document's.
pub(in crate::migrate) const SPELLINGS: [&str; 2] = ["api/v1/migrations", "api/migrations"];

/// The address of a service, as it is written.
///
/// # Errors
/// What it should look like.
pub fn http_url(text: &str) -> Result<Url, String> {
    let like = "it should look like http://127.0.0.1:8080";
    let url = Url::parse(text).map_err(|error| format!("{error}; {like}"))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err(like.into())
    }
}

/// The API of an orchestrator.
#[derive(Debug, Clone)]
pub struct Orchestrator {
    endpoint: Endpoint,
    url: Url,
    pub(in crate::migrate) http: Client,
}

impl Orchestrator {
    /// The one at this address.
    ///
    /// # Errors
    /// What is wrong with the address, or with what is to be brought there.
    pub fn new(endpoint: Endpoint) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Orchestrator {
            url: endpoint.url.clone(),
            reason,
        };
        let base = format!("{}/", endpoint.url.trim_end_matches('/'));
        let url = http_url(&base).map_err(refuse)?;
        let http = endpoint.client(ANSWER).map_err(refuse)?;
        Ok(Self { endpoint, url, http })
    }

    pub(in crate::migrate) async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let request = self.endpoint.authorise(request);
        let sent = request.map_err(|reason| self.error(reason))?.send().await;
        sent.map_err(|error| self.error(explain::chain(&error)))
    }

    pub(in crate::migrate) fn error(&self, reason: impl Into<String>) -> Error {
        Error::Orchestrator {
            url: self.url.to_string(),
            reason: reason.into(),
        }
    }

    /// Post the request; the address that the migration can be asked for at.
    pub(in crate::migrate) async fn post(&self, body: &impl Serialize) -> Result<Url, Error> {
        let mut refusal = None;
        for spelling in SPELLINGS {
            let mut url = self.address(spelling)?;
            let sent = self.send(self.http.post(url.clone()).json(body)).await?;
            let (status, text) = self.read(sent).await?;
            if status.is_success() {
                let id = Answer::parse(&text).and_then(|answer| answer.id());
                let id = id.map_err(|reason| self.no_migration(&reason))?;
                // A segment of its own, whatever is in it.
                if let Ok(mut path) = url.path_segments_mut() {
                    path.push(&id);
                }
                return Ok(url);
            }
            let reason = explain(status, &text);
            // Not found may mean the pod or the route; the first answer is the one worth telling then.
            if status != StatusCode::NOT_FOUND {
                return Err(self.error(reason));
            }
            refusal.get_or_insert(reason);
        }
        Err(self.error(refusal.unwrap_or_default()))
    }

    /// Poll until the status is final; it, and the migration object.
    pub(super) async fn poll(&self, address: &Url) -> Result<(Status, Answer), Error> {
        let pauses = ConstantBuilder::default()
            .with_delay(POLL)
            .with_max_times(ATTEMPTS);
        let mut ticks = tokio::time::interval(POLL);
        loop {
            ticks.tick().await;
            let (status, answer) = (|| self.get(address)).retry(pauses).await?;
            if status.is_final() {
                return Ok((status, answer));
            }
        }
    }

    async fn get(&self, address: &Url) -> Result<(Status, Answer), Error> {
        let sent = self.send(self.http.get(address.clone())).await?;
        let (code, text) = self.read(sent).await?;
        if !code.is_success() {
            return Err(self.error(explain(code, &text)));
        }
        let answer = Answer::parse(&text).and_then(|answer| Ok((answer.status()?, answer)));
        answer.map_err(|reason| self.no_migration(&reason))
    }

    pub(in crate::migrate) fn address(&self, path: &str) -> Result<Url, Error> {
        self.url.join(path).map_err(|error| self.error(error.to_string()))
    }

    pub(in crate::migrate) async fn read(&self, answer: Response) -> Result<(StatusCode, String), Error> {
        let status = answer.status();
        let text = answer
            .text()
            .await
            .map_err(|error| self.error(explain::chain(&error)))?;
        Ok((status, text))
    }

    fn no_migration(&self, reason: &str) -> Error {
        self.error(format!("its answer is no migration: {reason}"))
    }
}

pub(in crate::migrate) fn explain(status: StatusCode, text: &str) -> String {
    match serde_json::from_str::<ErrorBody>(text) {
        Ok(body) => format!("{status}: {}: {}", body.error, body.details),
        Err(_) => format!("{status}: {}", text.chars().take(200).collect::<String>()),
    }
}
