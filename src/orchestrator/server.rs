//! The server around the routes.

use std::{future::Future, io, time::Duration};

use tokio::net::TcpListener;

use super::{routes::router, service::Service};

/// Serve until `shutdown`, then roll back or finish what is under way. Questions are answered until that is done, so that
/// clients learn how their migrations have ended. Whether everything ended within `drain`.
pub async fn run(
    listener: TcpListener,
    service: Service,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) -> io::Result<bool> {
    let serving = axum::serve(listener, router(service.clone())).into_future();
    tokio::select! {
        ended = serving => ended.map(|()| true),
        drained = async {
            shutdown.await;
            service.drain(drain).await
        } => Ok(drained),
    }
}
