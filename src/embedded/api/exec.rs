//! `exec` over a WebSocket: the first byte of each frame says which channel it belongs to (`v5.channel.k8s.io`, and v4,
//! which cannot close the input).

use axum::{
    body::Bytes,
    extract::{
        FromRequestParts,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    response::{IntoResponse, Response},
};
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use http::request::Parts;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Server, status::ApiError};
use crate::embedded::{ExecOutput, ExecRequest, ExecSession};

const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// Followed by the number of the channel that is closed.
const CLOSE: u8 = 255;

/// Run a command and connect it to the client.
pub(crate) async fn serve(
    server: &Server,
    parts: &mut Parts,
    request: ExecRequest,
) -> Result<Response, ApiError> {
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &())
        .await
        .map_err(|_| {
            ApiError::bad_request("you must specify at least 1 of stdin, stdout, stderr over a WebSocket")
        })?;
    let kubelet = server.kubelet()?;
    let session = kubelet.exec(request).await;
    Ok(upgrade
        .protocols(PROTOCOLS)
        .on_upgrade(|socket| connect(socket, session))
        .into_response())
}

/// What the kubelet says, its refusal too, comes over the WebSocket.
async fn connect(socket: WebSocket, session: Result<ExecSession, String>) {
    let (mut sink, stream) = socket.split();
    match session {
        Ok(ExecSession { stdin, output }) => tokio::select! {
            // The output decides when it is over; the client may go earlier.
            () = send_output(&mut sink, output) => {}
            () = receive_input(stream, stdin) => {}
        },
        Err(refusal) => send_status(&mut sink, &internal_error(&refusal)).await,
    }
    let normal = CloseFrame {
        code: close_code::NORMAL,
        reason: "".into(),
    };
    sink.send(Message::Close(Some(normal))).await.ok();
    sink.close().await.ok();
}

async fn send_output(sink: &mut SplitSink<WebSocket, Message>, mut output: mpsc::Receiver<ExecOutput>) {
    let mut code = None;
    while let Some(part) = output.recv().await {
        let (channel, bytes) = match part {
            ExecOutput::Stdout(bytes) => (STDOUT, bytes),
            ExecOutput::Stderr(bytes) => (STDERR, bytes),
            ExecOutput::Exit(exit) => {
                code = Some(exit);
                break;
            }
        };
        if sink.send(frame(channel, &bytes)).await.is_err() {
            return;
        }
    }
    send_status(sink, &exit_status(code)).await;
}

async fn send_status(sink: &mut SplitSink<WebSocket, Message>, status: &Value) {
    // A client that has gone needs none.
    sink.send(frame(STATUS, status.to_string().as_bytes())).await.ok();
}

fn frame(channel: u8, bytes: &[u8]) -> Message {
    let framed: Vec<u8> = [channel].into_iter().chain(bytes.iter().copied()).collect();
    Message::Binary(Bytes::from(framed))
}

/// Returns when the client is gone; the input may end before.
async fn receive_input(mut stream: SplitStream<WebSocket>, stdin: mpsc::Sender<Vec<u8>>) {
    let mut stdin = Some(stdin);
    while let Some(Ok(message)) = stream.next().await {
        let Message::Binary(bytes) = message else { continue };
        match bytes.as_ref() {
            [CLOSE, STDIN] => stdin = None,
            // An empty frame opens the channel.
            [STDIN, input @ ..] if !input.is_empty() => {
                if let Some(sender) = &stdin
                    && sender.send(input.to_vec()).await.is_err()
                {
                    stdin = None;
                }
            }
            // Containers have no terminal here that could change its size.
            _ => {}
        }
    }
}

/// The `Status` on channel 3; none when the command was lost rather than ended.
fn exit_status(code: Option<i32>) -> Value {
    match code {
        Some(0) => json!({"metadata": {}, "status": "Success"}),
        Some(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: command terminated with exit code {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        None => internal_error("the command was lost: its container ended"),
    }
}

fn internal_error(message: &str) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
        "message": format!("Internal error occurred: {message}"),
        "details": {"causes": [{"message": message}]},
    })
}
