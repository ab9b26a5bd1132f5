//! The commands of a build, with progress.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, Command},
};

use super::{Means, PullProgress, environment::Environment, site::Site};

/// How often it is looked at how much has been fetched.
const LOOK: Duration = Duration::from_millis(300);

/// One build.
pub(super) struct Builder<'a, P> {
    pub(super) environment: &'a Environment,
    pub(super) reference: &'a str,
    pub(super) means: &'a Means,
    pub(super) progress: &'a P,
}

/// What is told while a command runs.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// What is being done, until the command's output says it.
    pub(super) phase: Option<String>,
    /// Where what it fetches lies.
    pub(super) watched: Option<PathBuf>,
}

impl<P: Fn(PullProgress)> Builder<'_, P> {
    /// Run a command to its end; its output lines and the growth of what is watched are the progress. The error is what
    /// it said.
    pub(super) async fn run(&self, site: &Site, command: Command, step: Step) -> Result<(), String> {
        let name = command.as_std().get_program().display().to_string();
        let failed = |error: std::io::Error| format!("{name}: {error}");
        let mut worker = site.spawn(command).map_err(failed)?;
        let complaints = tokio::spawn(collect(worker.child.stderr.take()));
        self.follow(&mut worker.child, step).await;
        let status = worker.child.wait().await.map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        Err(format!(
            "{name}: {status}\n{}",
            complaints.await.unwrap_or_default()
        ))
    }

    async fn follow(&self, child: &mut Child, step: Step) {
        let Some(stdout) = child.stdout.take() else {
            return;
        };
        let mut lines = BufReader::new(stdout).lines();
        let mut looks = tokio::time::interval(LOOK);
        let Step { mut phase, watched } = step;
        loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => phase = phase_of(&line).or(phase),
                    _ => return,
                },
                _ = looks.tick() => if let Some(phase) = &phase {
                    let bytes = watched.as_deref().map(size);
                    self.report(phase, bytes.filter(|bytes| *bytes > 0));
                },
            }
        }
    }
}

/// An error output in one line, for an error that is a paragraph: what failed, and its last words. pip gives the reason
/// of a broken connection in the warnings before.
pub(super) fn in_a_line(text: &str) -> String {
    if let Some((_, rest)) = text.rsplit_once("after connection broken by ") {
        return rest.lines().next().unwrap_or_default().to_owned();
    }
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let is_error = |line: &&&str| line.to_ascii_lowercase().starts_with("error");
    let failed = lines.iter().find(is_error).or(lines.first());
    match (failed, lines.last()) {
        (Some(failed), Some(last)) if failed != last => format!("{failed}; {last}"),
        (failed, _) => failed.copied().unwrap_or_default().to_owned(),
    }
}

/// What a line of pip's output says is being done, if it says so.
fn phase_of(line: &str) -> Option<String> {
    let line = line.trim();
    if let Some(file) = line.strip_prefix("Downloading ") {
        let (wheel, size) = file.split_once(' ').unwrap_or((file, ""));
        let package: Vec<_> = wheel.split('-').take(2).collect();
        return Some(
            format!("downloading {} {size}", package.join(" "))
                .trim_end()
                .to_owned(),
        );
    }
    line.starts_with("Installing collected packages")
        .then(|| "installing".to_owned())
}

async fn collect(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let mut text = Vec::new();
    if let Some(mut stderr) = stderr {
        let _ = stderr.read_to_end(&mut text).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The end of an error output, where the cause stands.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// Bytes of all files below a directory; what vanishes meanwhile is not counted.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_told_in_a_few_words() {
        let phase = phase_of("  Downloading numpy-1.24.3-cp311-cp311-manylinux.whl (17.3 MB)");
        assert_eq!(phase.as_deref(), Some("downloading numpy 1.24.3 (17.3 MB)"));
        let phase = phase_of("Installing collected packages: libclang, flatbuffers");
        assert_eq!(phase.as_deref(), Some("installing"));
        assert_eq!(phase_of("INFO: pip is looking at multiple versions"), None);
    }

    #[test]
    fn sizes_add_up() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        fs::write(dir.path().join("below/a"), [0; 10]).unwrap();
        fs::write(dir.path().join("b"), [0; 5]).unwrap();
        assert_eq!(size(dir.path()), 15);
        assert_eq!(size(&dir.path().join("absent")), 0);
    }

    #[test]
    fn an_error_output_fits_a_paragraph() {
        let uv = "\"uv\": exit status: 1\nerror: Failed to install\n  cause: a\n  cause: dns error\n";
        assert_eq!(in_a_line(uv), "error: Failed to install; cause: dns error");
        let pip = "WARNING: Retrying (Retry(total=0)) after connection broken by 'no route': /simple/a/\nERROR: none\n";
        assert_eq!(in_a_line(pip), "'no route': /simple/a/");
        assert_eq!(in_a_line("\"uv\": signal: 9\n"), "\"uv\": signal: 9");
        assert_eq!(in_a_line(""), "");
    }

    #[test]
    fn of_an_error_output_the_end_is_shown() {
        let text = (0..20)
            .map(|line| line.to_string())
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(last_lines(&text), "12\n13\n14\n15\n16\n17\n18\n19");
        assert_eq!(last_lines(""), "");
    }
}
