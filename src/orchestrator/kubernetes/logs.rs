//! Progress of containers, from their logs.

use std::io;

use bytes::BytesMut;
use futures::{Stream, StreamExt};
use kube::api::LogParams;
use tokio_util::{
    codec::{Decoder, FramedRead, LinesCodec},
    compat::FuturesAsyncReadCompatExt,
};

use super::Kubernetes;
use crate::{contract::workload::Progress, orchestrator::failure::Failure};

/// Longest line that can be an event, bytes; longer ones are skipped. A workload may print what it likes.
const LONGEST_LINE: usize = 256 * 1024;

impl Kubernetes {
    /// The last lines of a container's log.
    pub async fn log_tail(&self, pod: &str, container: &str, lines: i64) -> Result<String, Failure> {
        let pods = self.pods();
        let parameters = LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(lines),
            ..LogParams::default()
        };
        self.retrying(&format!("read the log of {pod}/{container}"), || {
            pods.logs(pod, &parameters)
        })
        .await
    }

    /// Follow a container's progress from its start; ends when the container does or the connection is lost.
    pub async fn progress(
        &self,
        pod: &str,
        container: &str,
    ) -> Result<impl Stream<Item = Progress> + Unpin + use<>, Failure> {
        let pods = self.pods();
        let parameters = LogParams {
            container: Some(container.to_owned()),
            follow: true,
            ..LogParams::default()
        };
        let log = self
            .retrying(&format!("follow the log of {pod}/{container}"), || {
                pods.log_stream(pod, &parameters)
            })
            .await?;
        let events = FramedRead::new(log.compat(), Events::default());
        Ok(events.filter_map(|event| std::future::ready(event.ok().flatten())))
    }
}

/// Lines of a log as events. `None` is any other line, also one that is too long or not text: that is the workload's
/// business and must not end the stream.
struct Events(LinesCodec);

impl Default for Events {
    fn default() -> Self {
        Self(LinesCodec::new_with_max_length(LONGEST_LINE))
    }
}

impl Decoder for Events {
    type Item = Option<Progress>;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Self::Item>> {
        match self.0.decode(buffer) {
            Ok(line) => Ok(line.map(|line| Progress::parse(&line))),
            Err(_) => Ok(Some(None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_events_pass_and_nothing_else_ends_the_stream() {
        let mut log = b"hello\n{\"event\":\"step\",\"step\":1,\"t\":0.5}\n\xff\xfe\n".to_vec();
        log.extend(vec![b'x'; 3 * LONGEST_LINE]);
        log.extend(b"\n{\"event\":\"done\",\"outputs\":[]}\n{\"event\":\"other\"}\n");
        let events: Vec<_> = FramedRead::new(&log[..], Events::default())
            .filter_map(|event| std::future::ready(event.unwrap()))
            .collect()
            .await;
        let step = Progress::Step { step: 1, t: 0.5 };
        assert_eq!(events, [step, Progress::Done { outputs: vec![] }]);
    }
}
