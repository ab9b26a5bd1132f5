//! Prometheus' own parser of `OpenMetrics`.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::skip::skip;

const PARSE: &str = "import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as p; \
     print(sum(len(f.samples) for f in p(sys.stdin.read())))";

/// Let it read a text: it must find every sample. Skipped where it is not installed.
pub(crate) fn reads(text: &str) {
    let python = |code: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", code]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let there = python("import prometheus_client.openmetrics.parser").output();
    if !there.is_ok_and(|output| output.status.success()) {
        skip("python3 has no prometheus_client here");
        return;
    }
    let mut parser = python(PARSE).spawn().unwrap();
    parser.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}\n{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        samples.to_string()
    );
}
