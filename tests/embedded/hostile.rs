//! What hostile pods do to their host: `tests/hostile.sh`, which makes a throw-away one for them.

use std::process::Command;

use crate::skip::skip;

/// The script's exit code for what cannot be tried here.
const SKIPPED: i32 = 77;

fn hostile_pods(how: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile.sh");
    let mut command = Command::new("bash");
    command.args([script, env!("CARGO_BIN_EXE_migbench"), how]);
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let code = output.status.code();
    assert!(
        code == Some(0) || code == Some(SKIPPED),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    printed
        .lines()
        .filter_map(|line| line.strip_prefix("skipped: "))
        .for_each(skip);
}

#[test]
fn pods_of_root_leave_the_host_as_it_was() {
    hostile_pods("root");
}

#[test]
fn pods_of_an_ordinary_user_leave_the_host_as_it_was() {
    hostile_pods("user");
}
