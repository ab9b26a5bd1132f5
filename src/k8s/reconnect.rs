//! A client that tries again while no connection can be made. What the API server answers is not touched: `kube` repeats
//! 429, 503 and 504 by itself, and everything else is the caller's to judge.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use http::{Request, Response};
use kube::{Client, client::Body};
use tower::service_fn;

/// First pause; the following double, up to [`LONGEST_PAUSE`], each with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// 9 pauses are about half a minute: an API server that is restarted is back by then.
const PAUSES: usize = 9;

/// The same client, more patient.
pub(super) fn patient(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move { send(&client, request).await }
    });
    Client::new(service, namespace)
}

async fn send(client: &Client, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, body.collect_bytes().await?);
    let pauses = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(PAUSES)
        .with_jitter();
    let attempt = || client.send(request.clone().map(Body::from));
    attempt
        .retry(pauses)
        .when(was_never_sent)
        .notify(
            |error, pause| tracing::warn!(%error, ?pause, "no connection to the API server, trying again"),
        )
        .await
}

/// Whether the request cannot have had an effect: only then repeating it is right for every verb.
fn was_never_sent(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        io,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use hyper_util::{
        client::legacy,
        rt::{TokioExecutor, TokioIo},
    };
    use k8s_openapi::api::core::v1::Pod;
    use kube::Api;
    use tokio::net::TcpStream;

    use super::*;

    /// What hyper says where nobody listens, without a socket: paused time does not wait for one.
    async fn refused() -> legacy::Error {
        let connector = service_fn(|_: http::Uri| {
            ready(Err::<TokioIo<TcpStream>, _>(io::Error::from(
                io::ErrorKind::ConnectionRefused,
            )))
        });
        let client = legacy::Client::builder(TokioExecutor::new()).build::<_, String>(connector);
        client
            .get(http::Uri::from_static("http://nobody"))
            .await
            .unwrap_err()
    }

    /// Pods of an API server that cannot be reached the first `absent` times and has none then, and how often it was tried.
    fn pods(absent: usize) -> (Api<Pod>, Arc<AtomicUsize>) {
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&attempts);
        let service = service_fn(move |_: Request<Body>| {
            let attempt = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                if attempt < absent {
                    return Err(refused().await);
                }
                let status = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}"#;
                let answer = Response::builder()
                    .status(404)
                    .body(Body::from(status.as_bytes().to_vec()));
                Ok(answer.unwrap())
            }
        });
        let client = patient(Client::new(service, "default"));
        (Api::default_namespaced(client), attempts)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_comes_back_is_reached() {
        let (pods, attempts) = pods(PAUSES);
        assert_eq!(pods.get_opt("p").await.unwrap(), None);
        assert_eq!(attempts.load(Ordering::Relaxed), PAUSES + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stays_away_is_given_up() {
        let (pods, attempts) = pods(usize::MAX);
        let before = tokio::time::Instant::now();
        assert!(was_never_sent(&pods.get_opt("p").await.unwrap_err()));
        assert_eq!(attempts.load(Ordering::Relaxed), PAUSES + 1);
        // Of the paused clock.
        assert!(before.elapsed() > Duration::from_secs(20));
    }
}
