//! What a container says of its end: `terminated.message`.

use std::{io::SeekFrom, sync::Arc};

use k8s_openapi::api::core::v1::Container as Spec;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    sync::mpsc,
};

use crate::embedded::{
    LogOptions,
    node::{
        container::{Container, Exit},
        runtime::TERMINATION_LOG,
    },
};

/// The kubelet's limits: bytes of the file, bytes and lines of the log.
const FILE: u64 = 4096;
const LOG: usize = 2048;
const LINES: u64 = 80;

/// The end of what it wrote to its message file; or, if it wants that, of the log of a failure.
pub(super) async fn of(spec: &Spec, container: &Container, exit: Exit) -> Option<String> {
    let written = file_end(container).await.unwrap_or_default();
    let falls_back = spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    let said = if written.is_empty() && falls_back && exit.code != 0 {
        log_end(container).await
    } else {
        written
    };
    (!said.is_empty()).then(|| String::from_utf8_lossy(&said).into_owned())
}

async fn file_end(container: &Container) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(container.bundle().join(TERMINATION_LOG)).await?;
    let length = file.metadata().await?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(FILE))).await?;
    let mut end = Vec::new();
    file.take(FILE).read_to_end(&mut end).await?;
    Ok(end)
}

async fn log_end(container: &Container) -> Vec<u8> {
    let options = LogOptions {
        tail_lines: Some(LINES),
        ..LogOptions::default()
    };
    let (chunks, mut received) = mpsc::channel::<Vec<u8>>(8);
    let collect = async {
        let mut end = Vec::new();
        while let Some(chunk) = received.recv().await {
            end.extend_from_slice(&chunk);
            end.drain(..end.len().saturating_sub(LOG));
        }
        end
    };
    let (read, end) = tokio::join!(Arc::clone(container.log()).read(options, chunks), collect);
    if let Err(error) = read {
        tracing::warn!(%error, "the log of a container that failed cannot be read");
    }
    end
}
