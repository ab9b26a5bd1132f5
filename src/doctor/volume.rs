//! Whether both nodes see each other's files on the checkpoint volume.

use std::time::Duration;

use serde_json::json;

use super::{
    Place, Subject, Trouble,
    shell::{IDLE, Shell, ShellPod},
};

/// Where the pods mount the volume.
const MOUNT: &str = "/doctor-volume";
const COMMAND_WITHIN: Duration = Duration::from_secs(30);

/// A volume that both nodes wrote to and read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shared {
    /// Type of the file system.
    pub(super) file_system: String,
    pub(super) bytes: Option<u64>,
}

/// Write a file on each node and read it on the other. No name is looked up before it exists: NFS remembers for up to a
/// minute that it did not.
pub(super) async fn exchange(subject: &Subject, place: &Place, claim: &str) -> Result<Shared, Trouble> {
    let directory = format!("{MOUNT}/.{}", place.name());
    let start = |node| start(subject, place, claim, &directory, node);
    let [one, other] = subject.nodes();
    let (one, other) = tokio::try_join!(start(one), start(other))?;
    let write = format!("mkdir -p {directory} && echo one > {directory}/one");
    let written = one.run(&write, COMMAND_WITHIN).await;
    written.map_err(|trouble| trouble.while_at("writing"))?;
    let answer = format!("cat {directory}/one && echo other > {directory}/other");
    arrived("one", other.run(&answer, COMMAND_WITHIN).await)?;
    let seen = one.run(&format!("cat {directory}/other"), COMMAND_WITHIN).await;
    arrived("other", seen)?;
    let about = format!("rm -rf {directory}; grep ' {MOUNT} ' /proc/mounts; df -Pk {MOUNT}");
    Ok(describe(&one.run(&about, COMMAND_WITHIN).await?))
}

fn arrived(wanted: &str, seen: Result<String, Trouble>) -> Result<(), Trouble> {
    let doing = "reading on one node what was written on the other";
    let seen = seen.map_err(|trouble| trouble.while_at(doing))?;
    if seen.trim() == wanted {
        return Ok(());
    }
    Err(Trouble::Failed(format!("{doing}: there is {seen:?}")))
}

/// The pod removes what it wrote whatever ends it.
async fn start(
    subject: &Subject,
    place: &Place,
    claim: &str,
    directory: &str,
    node: &str,
) -> Result<Shell, Trouble> {
    let pod = ShellPod {
        purpose: "volume",
        node,
        script: format!("trap 'rm -rf {directory}' EXIT; {IDLE}"),
        volume: Some((
            json!({"name": "volume", "persistentVolumeClaim": {"claimName": claim}}),
            json!({"name": "volume", "mountPath": MOUNT}),
        )),
    };
    let started = pod.start(subject, place).await;
    started.map_err(|trouble| trouble.while_at(&format!("on {node}")))
}

/// From the mount's line in `/proc/mounts` and what `df -Pk` says below it.
fn describe(text: &str) -> Shared {
    let mut lines = text.lines();
    let mount = lines.next().unwrap_or_default();
    let kilobytes = lines
        .next_back()
        .and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Shared {
        file_system: mount
            .split(' ')
            .nth(2)
            .unwrap_or("an unknown file system")
            .to_owned(),
        bytes: kilobytes.map(|kilobytes| kilobytes * 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_and_size_are_read_from_what_the_pod_prints() {
        let text = "10.77.0.11:/ /doctor-volume nfs4 rw,vers=4.2 0 0\n\
                    Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                    10.77.0.11:/ 6291456 1024 6290432 1% /doctor-volume\n";
        let shared = describe(text);
        assert_eq!(shared.file_system, "nfs4");
        assert_eq!(shared.bytes, Some(6_291_456 * 1024));
        assert_eq!(describe("").bytes, None);
    }

    #[test]
    fn a_file_must_arrive_as_it_was_written() {
        assert_eq!(arrived("one", Ok("one\n".into())), Ok(()));
        assert!(matches!(
            arrived("one", Ok(String::new())),
            Err(Trouble::Failed(_))
        ));
        let missing = Trouble::Failed("No such file".into());
        assert!(matches!(arrived("one", Err(missing)), Err(Trouble::Failed(_))));
        let refused = Trouble::Untried("exec was refused".into());
        assert!(matches!(arrived("one", Err(refused)), Err(Trouble::Untried(_))));
    }
}
