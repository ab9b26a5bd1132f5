//! Whether the service can do its work now.

use std::time::Duration;

use kube::Client;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::lease;
use crate::k8s::explain;

/// How long the API server may take to say its version.
const ANSWER: Duration = Duration::from_secs(3);
/// How long an answer counts: anybody may ask, and the API server is not asked for each of them.
const FRESH: Duration = Duration::from_secs(2);

/// Who works, where several may; or what is missing.
type Answer = Result<Option<String>, String>;

/// Looks whether the API server can be reached, and whether somebody works.
pub struct Readiness {
    client: Client,
    lease: Option<String>,
    last: Mutex<Option<(Instant, Answer)>>,
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}

impl Readiness {
    /// Of a service for this cluster; where several replicas share the work, with the namespace of their lease.
    pub fn new(client: Client, lease: Option<String>) -> Self {
        Self {
            client,
            lease,
            last: Mutex::default(),
        }
    }

    /// Whether migrations can be accepted, and by which of several replicas they are worked on.
    ///
    /// # Errors
    /// What is missing.
    pub async fn check(&self) -> Answer {
        let mut last = self.last.lock().await;
        if let Some((since, answer)) = &*last
            && since.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = self.look().await;
        *last = Some((Instant::now(), answer.clone()));
        answer
    }

    async fn look(&self) -> Answer {
        let asked = async {
            self.client.apiserver_version().await?;
            match &self.lease {
                Some(namespace) => Ok(lease::holder(&self.client, namespace).await?),
                None => Ok(None),
            }
        };
        match timeout(ANSWER, asked).await {
            Ok(Ok(None)) if self.lease.is_some() => Err("no replica holds the lease yet".to_owned()),
            Ok(Ok(holder)) => Ok(holder),
            Ok(Err(error)) => Err(format!("the API server: {}", explain::of(&error))),
            Err(_) => Err(format!(
                "the API server does not answer within {} s",
                ANSWER.as_secs()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::get};
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_follows_the_api_server() {
        let up = Arc::new(AtomicBool::new(true));
        let is_up = Arc::clone(&up);
        let version = async move || {
            if is_up.load(Ordering::Relaxed) {
                let version = json!({
                    "major": "1", "minor": "35", "gitVersion": "v1.35.4", "gitCommit": "", "gitTreeState": "",
                    "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
                });
                Json(version).into_response()
            } else {
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        };
        let routes = Router::new().route("/version", get(version));
        let readiness = Readiness::new(Client::new(routes, "default"), None);
        assert_eq!(readiness.check().await, Ok(None));
        up.store(false, Ordering::Relaxed);
        assert_eq!(readiness.check().await, Ok(None), "it was asked a moment ago");
        tokio::time::advance(FRESH).await;
        assert!(readiness.check().await.is_err());
    }
}
