//! The ten lines of docs/scenarios.md by which an own trainer claims epochs, as they stand there, against the built-in ones.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use migbench::{
    contract::workload::{EPOCH, MIGRATION_ID, POD_UID, SUPERSEDED},
    workload::{
        Error,
        epoch::{Claims, Identity},
    },
};

use crate::skip::skip;

const DOCUMENT: &str = include_str!("../../docs/scenarios.md");

/// The block, and a trainer that claims by it.
fn script(call: &str) -> String {
    let (_, block) = DOCUMENT.split_once("```python\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    format!("{block}\nprint({call})\n")
}

fn stranger(dir: &Path, pod: &str, after: Option<u64>, call: &str) -> Child {
    let mut python = Command::new("python3");
    python.args(["-c", &script(call)]).arg(dir.join(".epochs"));
    python.env(POD_UID, pod).env(MIGRATION_ID, "m-1");
    if let Some(after) = after {
        python.env(EPOCH, after.to_string());
    }
    python.stdout(Stdio::piped()).spawn().unwrap()
}

/// The epoch that it claimed, or its exit code.
fn claimed(stranger: Child) -> Result<u64, Option<i32>> {
    let output = stranger.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().parse().map_err(|_| output.status.code())
}

fn built_in(pod: &str, after: Option<u64>) -> Identity {
    Identity {
        holder: pod.into(),
        life: pod.into(),
        after,
        migration: None,
        over: Vec::new(),
    }
}

const LOST: Result<u64, Option<i32>> = Err(Some(SUPERSEDED as i32));

#[test]
fn the_ten_lines_claim_as_the_built_in_trainer_does() {
    if Command::new("python3").arg("--version").output().is_err() {
        return skip("there is no python3");
    }
    let volume = tempfile::tempdir().unwrap();
    let claims = Claims::of(volume.path());
    let start = "claim(sys.argv[1], 7)";
    let run = |pod: &str, after, call: &str| claimed(stranger(volume.path(), pod, after, call));
    assert_eq!(run("source", None, start), Ok(1));
    let source = built_in("source", None);

    // Strangers and built-in trainers that shall all go on from one checkpoint.
    let targets: Vec<_> = (0..4)
        .map(|n| stranger(volume.path(), &format!("t-{n}"), Some(1), start))
        .collect();
    let built_in_won = (0..4)
        .filter(|n| claims.claim_due(&built_in(&format!("b-{n}"), Some(1)), 7).is_ok())
        .count();
    let outcomes: Vec<_> = targets.into_iter().map(claimed).collect();
    let won = outcomes.iter().filter(|outcome| **outcome == Ok(2)).count();
    assert_eq!(won + built_in_won, 1, "{outcomes:?}");
    assert_eq!(
        outcomes.iter().filter(|outcome| **outcome == LOST).count(),
        4 - won
    );

    // Each knows the claims of the other.
    let held = claims.list().unwrap();
    assert_eq!((held[&1].holder.as_str(), held[&1].step), ("source", Some(7)));
    let winner = held[&2].holder.clone();
    assert!(
        matches!(claims.claim_after(1, &source, 7), Err(Error::Superseded { holder, .. }) if holder == winner)
    );
    assert_eq!(
        run("source", None, start),
        LOST,
        "it is started again, and somebody came after it"
    );
    assert_eq!(
        run(&winner, Some(1), start),
        Ok(3),
        "it is started again, and nobody did"
    );
    assert_eq!(run("source", None, "claim(sys.argv[1], 7, 4)"), Ok(4));
    assert_eq!(claims.list().unwrap()[&4].migration.as_deref(), Some("m-1"));
    assert_eq!(run("new", None, start), Ok(5));
}
