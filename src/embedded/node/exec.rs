//! Commands in running containers.

use std::process::Stdio;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin},
    sync::mpsc,
};

use super::{container::Container, runtime::Runtime};
use crate::embedded::{ExecOutput, ExecSession};

/// Messages that may wait for a slow client before the command does.
const BACKLOG: usize = 16;
const CHUNK: usize = 16 * 1024;

impl Runtime {
    /// Run a command in a container, in its cgroup and namespaces.
    pub fn exec(
        &self,
        container: &Container,
        command: &[String],
        stdin: bool,
    ) -> std::io::Result<ExecSession> {
        let mut shim = self.shim("exec", container.bundle());
        shim.arg("--pid")
            .arg(container.pid().to_string())
            .arg("--")
            .args(command);
        let mut child = shim
            .stdin(if stdin { Stdio::piped() } else { Stdio::null() })
            .spawn()?;
        let (input, lines) = mpsc::channel(BACKLOG);
        if let Some(pipe) = child.stdin.take() {
            tokio::spawn(feed(pipe, lines));
        }
        let (sender, output) = mpsc::channel(BACKLOG);
        tokio::spawn(report(child, sender));
        Ok(ExecSession { stdin: input, output })
    }
}

async fn feed(mut pipe: ChildStdin, mut input: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = input.recv().await {
        // A command that has closed its input is not interested in the rest.
        if pipe.write_all(&bytes).await.is_err() {
            break;
        }
    }
}

async fn report(mut child: Child, output: mpsc::Sender<ExecOutput>) {
    let out = forward(child.stdout.take(), &output, ExecOutput::Stdout);
    let err = forward(child.stderr.take(), &output, ExecOutput::Stderr);
    tokio::join!(out, err);
    let code = match child.wait().await {
        Ok(status) => super::shim::exit_code(status),
        Err(error) => {
            let _ = output
                .send(ExecOutput::Stderr(error.to_string().into_bytes()))
                .await;
            255
        }
    };
    // Without a receiver the client has gone.
    let _ = output.send(ExecOutput::Exit(code)).await;
}

/// Forward a stream to its end, also when nobody listens any more: the command must not block on a full pipe.
async fn forward(
    source: Option<impl AsyncRead + Unpin>,
    output: &mpsc::Sender<ExecOutput>,
    wrap: fn(Vec<u8>) -> ExecOutput,
) {
    let Some(mut source) = source else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = source.read(&mut buffer).await {
        let _ = output.send(wrap(buffer[..count].to_vec())).await;
    }
}
