//! The output of a container, followed for progress.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::LogParams};
use tokio_util::{
    codec::{FramedRead, LinesCodec},
    compat::FuturesAsyncReadCompatExt,
};

use crate::contract::workload::Progress;

/// A longer line is no progress event; it is skipped without being kept.
const LONGEST_LINE: usize = 64 * 1024;
/// Pause before a broken stream is taken up again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Read the container's output until the container is gone, and hand on the progress in it.
pub(super) async fn follow(api: Api<Pod>, pod: String, container: String, hear: impl Fn(Progress)) {
    let mut parameters = LogParams {
        container: Some(container.clone()),
        follow: true,
        ..LogParams::default()
    };
    loop {
        match api.log_stream(&pod, &parameters).await {
            // The stream ends when the container has ended; its last line has been read then.
            Ok(stream) => return read(stream.compat(), &hear).await,
            Err(kube::Error::Api(status)) if status.code == 404 => return,
            Err(error) => tracing::debug!(%error, pod, container, "no output yet"),
        }
        parameters.since_time = None;
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn read(stream: impl tokio::io::AsyncRead, hear: &impl Fn(Progress)) {
    let mut lines = std::pin::pin!(FramedRead::new(
        stream,
        LinesCodec::new_with_max_length(LONGEST_LINE)
    ));
    let mut skipping = false;
    loop {
        match lines.next().await {
            Some(Ok(line)) => {
                skipping = false;
                if let Some(progress) = Progress::parse(&line) {
                    hear(progress);
                }
            }
            // After an error the framing reports its end once, and goes on behind the line when asked again.
            Some(Err(_)) => skipping = true,
            None if skipping => skipping = false,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn progress_is_found_between_other_lines_and_behind_an_endless_one() {
        let long = "x".repeat(3 * LONGEST_LINE);
        let text = format!(
            "hello\n{{\"event\":\"step\",\"step\":1,\"t\":1.5}}\n{long}\n{{\"event\":\"done\",\"outputs\":[]}}\n"
        );
        let heard = RefCell::new(Vec::new());
        read(text.as_bytes(), &|progress| heard.borrow_mut().push(progress)).await;
        let expected = [
            Progress::Step { step: 1, t: 1.5 },
            Progress::Done { outputs: Vec::new() },
        ];
        assert_eq!(heard.into_inner(), expected);
    }
}
