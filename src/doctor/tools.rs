//! Programs on this host.

use std::{process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use super::Known;

const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Versions of programs on this host.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) kubectl: Known<String>,
    pub(super) docker: Known<String>,
}

pub(super) async fn read() -> Tools {
    let (kubectl, docker) = tokio::join!(
        version("kubectl", &["version", "--client", "-o", "json"]),
        version("docker", &["--version"]),
    );
    Tools {
        kubectl: kubectl.and_then(|text| {
            let document: serde_json::Value =
                serde_json::from_str(&text).map_err(|error| format!("kubectl version: {error}"))?;
            let version = document["clientVersion"]["gitVersion"].as_str();
            version
                .map(str::to_owned)
                .ok_or_else(|| "kubectl version tells none".to_owned())
        }),
        docker,
    }
}

async fn version(program: &str, arguments: &[&str]) -> Known<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match timeout(ANSWERS_WITHIN, output).await {
        Ok(Ok(output)) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(Ok(output)) => Err(format!("{program} ended with {}", output.status)),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("{program} is not installed here"))
        }
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => Err(format!("{program} did not answer")),
    }
}
