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
    use k8s_openapi::api::core::v1::Pod;
    use kube::{Api, Config};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn client(address: std::net::SocketAddr) -> Client {
        let config = Config::new(format!("http://{address}").parse().unwrap());
        patient(Client::try_from(config).unwrap())
    }

    /// An API server that answers every request with 404, once.
    async fn answer_not_found(listener: TcpListener) {
        let (mut connection, _) = listener.accept().await.unwrap();
        assert!(connection.read(&mut [0; 4096]).await.unwrap() > 0);
        let body = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}"#;
        let head = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n", body.len());
        connection.write_all((head + body).as_bytes()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_comes_back_is_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let back = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            answer_not_found(TcpListener::bind(address).await.unwrap()).await;
        });
        let pods: Api<Pod> = Api::default_namespaced(client(address));
        assert_eq!(pods.get_opt("p").await.unwrap(), None);
        back.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stays_away_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let pods: Api<Pod> = Api::default_namespaced(client(address));
        let before = tokio::time::Instant::now();
        assert!(was_never_sent(&pods.get_opt("p").await.unwrap_err()));
        assert!(
            before.elapsed() > Duration::from_secs(20),
            "{:?}",
            before.elapsed()
        );
    }
}
