//! The readers as real processes of this host, on plain files in place of counters.

use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::{Enter, Refused, meter::ExecMeter, reader::CGROUP};
use crate::{
    record::{
        clock::monotonic_ns,
        reading::{ContainerRef, Segment, Sweep},
    },
    sample::{Error, Meter, Schedule, agent::Wire},
};

/// Runs the commands on this host, with a directory in place of the cgroup.
#[derive(Debug)]
struct Host {
    cgroup: tempfile::TempDir,
    /// Where programs are looked for.
    path: String,
}

impl Host {
    fn new(path: &str) -> Arc<Self> {
        let cgroup = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(cgroup.path().join(name), text).unwrap();
        write(
            "cpu.stat",
            "usage_usec 10\nuser_usec 6\nsystem_usec 4\nunheard_of 3\n",
        );
        write("memory.current", "4096\n");
        write(
            "memory.stat",
            "anon 1024\nfile 2048\ninactive_file 512\nzswap 7\n",
        );
        Arc::new(Self {
            cgroup,
            path: path.into(),
        })
    }

    fn spend(&self, usec: u64) {
        std::fs::write(
            self.cgroup.path().join("cpu.stat"),
            format!("usage_usec {usec}\n"),
        )
        .unwrap();
    }
}

impl Enter for Host {
    fn enter<'a>(
        &'a self,
        container: &'a ContainerRef,
        command: &'a [String],
    ) -> BoxFuture<'a, Result<Box<dyn Wire>, Refused>> {
        Box::pin(async move {
            if container.container == "gone" {
                return Err(Refused::Gone);
            }
            let (program, arguments) = command.split_first().unwrap();
            let cgroup = self.cgroup.path().display().to_string();
            let arguments = arguments
                .iter()
                .map(|word| if word == CGROUP { &cgroup } else { word });
            let failed = |error: std::io::Error| Refused::Failed(error.to_string());
            let mut child = Command::new(PathBuf::from("/bin").join(program))
                .args(arguments)
                .env("PATH", &self.path)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .map_err(failed)?;
            let (output, input) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
            Ok(Box::new(tokio::io::join(output, input)) as Box<dyn Wire>)
        })
    }
}

fn container(name: &str) -> ContainerRef {
    ContainerRef {
        container: name.into(),
        container_id: "1".into(),
        ..ContainerRef::of_pod("pod", "uid", "node")
    }
}

async fn sweep(meter: &ExecMeter) -> Sweep {
    let schedule = Schedule {
        segment: Segment::After,
        first_ns: monotonic_ns(),
        interval: Duration::from_millis(1),
        ticks: Some(1),
    };
    let mut sweeps = meter.sweeps(schedule, CancellationToken::new());
    let sweep = sweeps.recv().await.unwrap().unwrap();
    assert!(sweeps.recv().await.is_none());
    sweep
}

async fn is_read(path: &str, reader: &str) {
    let host = Host::new(path);
    let meter = ExecMeter::new(host.clone());
    let epoch = meter.follow(4, container("trainer")).await.unwrap();
    let reason = &epoch.missing["memory_peak"];
    assert!(reason.starts_with(reader), "{reason}");
    assert!(!epoch.missing.contains_key("usage_usec"));

    host.spend(1234);
    let clock = &meter.clocks().await.unwrap()[0];
    let read = sweep(&meter).await;
    let reading = &read.readings[0];
    assert_eq!((reading.epoch, &reading.error), (4, &None));
    let counters = &reading.counters;
    assert_eq!(
        (counters.usage_usec, counters.memory_current),
        (Some(1234), Some(4096))
    );
    assert_eq!(
        (counters.memory_anon, counters.memory_inactive_file),
        (Some(1024), Some(512))
    );
    assert!(reading.before_ns <= reading.after_ns);
    // The stamp from before the reading may be a step of the container's clock old.
    assert!(
        clock.of == "pod/trainer" && reading.after_ns + clock.error_ns >= read.due_ns,
        "{clock:?} {read:?}"
    );

    meter.forget();
    assert!(sweep(&meter).await.readings.is_empty());
}

#[tokio::test]
async fn a_container_with_python_is_read_by_it() {
    let path = "/usr/local/bin:/usr/bin:/bin";
    if !path
        .split(':')
        .any(|directory| PathBuf::from(directory).join("python3").exists())
    {
        crate::skip::skip("no python3 on this host");
        return;
    }
    is_read(path, "python3").await;
}

#[tokio::test]
async fn a_container_with_a_shell_alone_is_read_by_it() {
    is_read("/nowhere", "sh").await;
}

#[tokio::test]
async fn the_bias_is_said_and_caps_the_verdict() {
    let description = ExecMeter::new(Host::new("/nowhere")).describe();
    assert!(description.from_cgroup && description.capped.unwrap().contains("charged to the container"));
}

#[tokio::test]
async fn what_cannot_be_entered_is_an_error_with_the_reason() {
    let meter = ExecMeter::new(Host::new("/nowhere"));
    let error = meter.follow(0, container("gone")).await.unwrap_err().to_string();
    assert!(
        error.contains("no cgroup of container gone") && error.contains("has ended"),
        "{error}"
    );
    let pod = meter.follow(1, ContainerRef::of_pod("pod", "uid", "node")).await;
    assert!(matches!(pod, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_reader_that_dies_is_started_again_and_one_whose_container_is_gone_has_ended() {
    /// Its first reader dies after the greeting's clock was measured; where `gone`, there is no second.
    #[derive(Debug)]
    struct Dying(std::sync::atomic::AtomicUsize, bool);
    impl Enter for Dying {
        fn enter<'a>(
            &'a self,
            _: &'a ContainerRef,
            _: &'a [String],
        ) -> BoxFuture<'a, Result<Box<dyn Wire>, Refused>> {
            let starts = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Box::pin(async move {
                if starts > 0 && self.1 {
                    return Err(Refused::Gone);
                }
                let answers = if starts == 0 { 5 } else { 100 };
                let (here, there) = tokio::io::duplex(4096);
                tokio::spawn(scripted(there, answers));
                Ok(Box::new(here) as Box<dyn Wire>)
            })
        }
    }
    for gone in [false, true] {
        let meter = ExecMeter::new(Arc::new(Dying(0.into(), gone)));
        meter.follow(0, container("trainer")).await.unwrap();
        let read = sweep(&meter).await;
        assert_eq!(
            (read.readings.len(), read.ended.len()),
            if gone { (0, 1) } else { (1, 0) }
        );
        assert_eq!(sweep(&meter).await.ended.len(), 0, "an end is told once");
    }
}

async fn scripted(wire: tokio::io::DuplexStream, answers: usize) {
    use futures::{SinkExt, StreamExt};
    let mut lines = crate::sample::agent::protocol::lines(wire);
    let _ = lines.send("@reader scripted 0").await;
    for _ in 0..answers {
        let Some(Ok(question)) = lines.next().await else {
            return;
        };
        let now = monotonic_ns();
        let block =
            format!("@time {now}\n@file cpu.stat\nusage_usec {question}\n@time {now}\n@end {question}");
        let _ = lines.send(block).await;
    }
}

/// Does not answer its sixth question until it has read the seventh.
#[derive(Debug)]
struct Hesitating;

impl Enter for Hesitating {
    fn enter<'a>(
        &'a self,
        _: &'a ContainerRef,
        _: &'a [String],
    ) -> BoxFuture<'a, Result<Box<dyn Wire>, Refused>> {
        let (here, there) = tokio::io::duplex(4096);
        tokio::spawn(async move {
            use futures::{SinkExt, StreamExt};
            let mut lines = crate::sample::agent::protocol::lines(there);
            let _ = lines.send("@reader scripted 0").await;
            while let Some(Ok(question)) = lines.next().await {
                let block = |number: &str| {
                    format!("@time 1\n@file cpu.stat\nusage_usec {number}\n@time 1\n@end {number}")
                };
                match question.as_str() {
                    "6" => {}
                    "7" => drop(lines.send(format!("{}\n{}", block("6"), block("7"))).await),
                    other => drop(lines.send(block(other)).await),
                }
            }
        });
        Box::pin(async { Ok(Box::new(here) as Box<dyn Wire>) })
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_is_not_taken_for_the_next() {
    let meter = ExecMeter::new(Arc::new(Hesitating));
    meter.follow(0, container("trainer")).await.unwrap();
    let late = sweep(&meter).await;
    assert_eq!(late.readings[0].error.as_deref(), Some("no answer within 5 s"));
    let next = sweep(&meter).await;
    assert_eq!(
        (next.readings[0].counters.usage_usec, &next.readings[0].error),
        (Some(7), &None)
    );
}
