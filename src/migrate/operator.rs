//! What an operator asks of an orchestrator beyond what a run does: what it would do, how far it is, to stop. A third
//! party's tells no plan, and would begin at once; it is known by that it does not say whether it is ready.

use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    Error,
    orchestrator::{Orchestrator, SPELLINGS, explain},
};

/// Time until a replica works in the place of one that has ended: twice the lease's.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

impl Orchestrator {
    /// Wait until it can work, and check that it tells plans.
    ///
    /// # Errors
    /// What it lacks, also after half a minute: until then another replica works in the place of one that has ended.
    pub async fn check_ready(&self) -> Result<(), Error> {
        let deadline = Instant::now() + TAKEN_OVER_WITHIN;
        loop {
            let asked = self.http.get(self.address("readyz")?);
            let (status, text) = self.read(self.send(asked).await?).await?;
            match status {
                StatusCode::NOT_FOUND => {
                    return Err(self.error(
                        "it is none of migbench's: it would begin a migration when it is asked for the plan of one",
                    ));
                }
                StatusCode::SERVICE_UNAVAILABLE if Instant::now() < deadline => sleep(LOOK).await,
                status if status.is_success() => return Ok(()),
                status => return Err(self.error(explain(status, &text))),
            }
        }
    }

    /// The answer to a request with `dry_run`.
    ///
    /// # Errors
    /// It cannot be reached, or makes no plan for this request.
    pub async fn plan(&self, request: &Value) -> Result<Value, Error> {
        let asked = self.http.post(self.address(SPELLINGS[0])?).json(request);
        self.object(self.send(asked).await?).await
    }

    /// Have a migration begun; the address that it can be asked for at, which ends with its id.
    ///
    /// # Errors
    /// It is refused, or it is not known whether it was begun.
    pub async fn start(&self, request: &Value) -> Result<Url, Error> {
        self.post(request).await
    }

    /// A migration as it is now.
    ///
    /// # Errors
    /// It cannot be reached, or does not know the migration.
    pub async fn look(&self, migration: &Url) -> Result<Value, Error> {
        self.object(self.send(self.http.get(migration.clone())).await?)
            .await
    }

    /// Have a migration cancelled.
    ///
    /// # Errors
    /// It cannot be reached, or refuses.
    pub async fn cancel(&self, migration: &Url) -> Result<(), Error> {
        let sent = self.send(self.http.delete(migration.clone())).await?;
        self.object(sent).await.map(drop)
    }

    async fn object(&self, answer: reqwest::Response) -> Result<Value, Error> {
        let (status, text) = self.read(answer).await?;
        if !status.is_success() {
            return Err(self.error(explain(status, &text)));
        }
        serde_json::from_str(&text).map_err(|error| self.error(format!("its answer is no JSON: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Router, routing::get};

    use super::*;
    use crate::migrate::endpoint::Endpoint;

    async fn at(routes: Router) -> Orchestrator {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint {
            url: format!("http://{}", listener.local_addr().unwrap()),
            ..Endpoint::default()
        };
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Orchestrator::new(endpoint).unwrap()
    }

    #[tokio::test]
    async fn one_that_tells_no_plans_is_asked_for_none() {
        let error = at(Router::new()).await.check_ready().await.unwrap_err();
        assert!(error.to_string().contains("it is none of migbench's"), "{error}");
    }

    #[tokio::test]
    async fn the_replica_that_takes_over_is_waited_for() {
        let asked = Arc::new(AtomicUsize::new(0));
        let times = Arc::clone(&asked);
        let ready = async move || match times.fetch_add(1, Ordering::Relaxed) {
            0 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        };
        let orchestrator = at(Router::new().route("/readyz", get(ready))).await;
        orchestrator.check_ready().await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
