//! Labels and annotations by which objects are known: one place for all that write and select them.

/// Field manager of everything migbench applies.
pub const FIELD_MANAGER: &str = "migbench";
/// Label that tells what is ours, with this value.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "migbench");
/// Annotation with the time after which a run that is still there must have been killed.
pub const EXPIRES: &str = "migbench.io/expires";
/// Annotations of a claim on whose volume runs have directories: what follows is how their names begin, the value is the
/// run's id.
pub const DIRECTORIES: &str = "directories.migbench.io/";
/// Label with the id of the run that made an object.
pub const RUN_LABEL: &str = "migbench.io/run";
/// Label that tells the node agents' pods, with this value.
pub const AGENT: (&str, &str) = ("app.kubernetes.io/name", "migbench-agent");
/// The label that places a pod on a node by way of the scheduler. Usually, but not always, its value is the node's name.
pub const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// Selects every pod that is no agent.
pub fn no_agents() -> String {
    format!("{}!={}", AGENT.0, AGENT.1)
}
