//! A program that is started beside this one: it says one line of JSON when it is up, and ends when its stdin closes, so that
//! it survives neither the end nor the death of this process.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{self, ChildStdout, Command},
    time::timeout,
};

/// The running program. It ends by itself when this is dropped.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    pid: u32,
    log: PathBuf,
}

impl Child {
    /// Start a program and wait for its line, no longer than `within`. What it logs is appended to `log`.
    ///
    /// # Errors
    /// A sentence with the end of its log. It does not run then.
    pub(super) async fn start<T: DeserializeOwned>(
        command: Command,
        log: &Path,
        within: Duration,
    ) -> Result<(Self, T), String> {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let mut process = spawn(command, log)
            .map_err(|error| with_log(log, &format!("{program} could not be started: {error}")))?;
        let said = timeout(within, first_line(process.stdout.take()))
            .await
            .unwrap_or_else(|_| Err(format!("it was not up within {} s", within.as_secs())));
        match said {
            Ok(line) => {
                let child = Self {
                    pid: process.id().unwrap_or_default(),
                    process,
                    log: log.to_owned(),
                };
                Ok((child, line))
            }
            Err(reason) => {
                let _ = process.kill().await;
                Err(with_log(log, &reason))
            }
        }
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Close its stdin and wait for its end; after `within` it is killed.
    ///
    /// # Errors
    /// It did not end well: a sentence with the end of its log.
    pub(super) async fn stop(mut self, within: Duration) -> Result<(), String> {
        drop(self.process.stdin.take());
        let reason = match timeout(within, self.process.wait()).await {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => format!("it ended with {status}"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                let _ = self.process.kill().await;
                format!("it did not end within {} s and was killed", within.as_secs())
            }
        };
        Err(with_log(&self.log, &reason))
    }
}

fn spawn(mut command: Command, log: &Path) -> io::Result<process::Child> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        // Out of the terminal's process group: on Ctrl-C this program decides when the other one ends.
        .process_group(0)
        .spawn()
}

async fn first_line<T: DeserializeOwned>(stdout: Option<ChildStdout>) -> Result<T, String> {
    let stdout = stdout.ok_or("it has no stdout")?;
    let mut line = String::new();
    match BufReader::new(stdout).read_line(&mut line).await {
        Ok(0) => Err("it ended without saying that it is up".to_owned()),
        Ok(_) => serde_json::from_str(&line).map_err(|error| format!("it said {line:?}: {error}")),
        Err(error) => Err(error.to_string()),
    }
}

/// The reason with what the program logged last.
fn with_log(log: &Path, reason: &str) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    // Its own error has a second line that says what to do.
    let last = text
        .rfind("migbench: ")
        .or_else(|| Some(text.trim_end().rfind('\n')? + 1))
        .unwrap_or_default();
    format!("{reason}; last in {}: {}", log.display(), text[last..].trim_end())
}

#[cfg(test)]
mod tests {
    use nix::{
        errno::Errno,
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    use serde_json::{Value, json};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn start(script: &str, within: Duration) -> Result<(Child, Value), String> {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Child::start(command, &directory.path().join("log"), within).await
    }

    #[tokio::test]
    async fn a_program_that_is_up_is_stopped_by_its_stdin() {
        let (child, said) = start("echo '{\"up\":true}'; cat", LONG).await.unwrap();
        assert_eq!(said, json!({"up": true}));
        child.stop(LONG).await.unwrap();
        let (child, _) = start("echo 1; cat; exit 3", LONG).await.unwrap();
        let error = child.stop(LONG).await.unwrap_err();
        assert!(error.contains("it ended with exit status: 3"), "{error}");
    }

    #[tokio::test]
    async fn what_is_not_up_is_told_with_the_end_of_its_log() {
        let error = start("echo first >&2; echo second >&2", LONG).await.unwrap_err();
        assert!(error.starts_with("it ended without saying"), "{error}");
        assert!(error.ends_with(": second"), "{error}");
        let error = start("echo hello", LONG).await.unwrap_err();
        assert!(error.contains("it said \"hello\\n\""), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let script = format!("echo $$ > {}; exec sleep 600", pid.display());
        let error = start(&script, Duration::from_secs(1)).await.unwrap_err();
        assert!(error.contains("it was not up within 1 s"), "{error}");
        // On a busy machine it may have been killed before it came to that.
        if let Ok(pid) = fs::read_to_string(pid).unwrap_or_default().trim().parse() {
            assert_eq!(kill(Pid::from_raw(pid), None::<Signal>), Err(Errno::ESRCH));
        }

        let (child, _) = start("echo 1; exec sleep 600", LONG).await.unwrap();
        let pid = Pid::from_raw(child.pid().try_into().unwrap());
        let error = child.stop(Duration::ZERO).await.unwrap_err();
        assert!(error.contains("was killed"), "{error}");
        assert_eq!(kill(pid, None::<Signal>), Err(Errno::ESRCH));
    }
}
