//! What a container's root may do: not undo its mounts, nor touch the host's kernel, devices, clock or network, nor start
//! processes without end.

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set, set_capabilities,
};

use super::Isolation;
use crate::embedded::node::cgroup::MAX_PROCESSES;

/// Those of containerd, less the ones that reach the host from here: `MKNOD`, since there is no device cgroup, `NET_RAW`,
/// since the network is the host's, and `AUDIT_WRITE`.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// See that the program which this process becomes, and all that it starts, have no other capabilities. This process keeps
/// its own until then, so that no container can look into it.
pub(super) fn limit(isolation: Isolation) -> anyhow::Result<()> {
    if isolation.user {
        // For a host whose cgroups this user may not write: it counts within the user namespace alone (since Linux 5.14).
        let (_, most) = getrlimit(Resource::RLIMIT_NPROC)?;
        let limit = most.min(MAX_PROCESSES.into());
        setrlimit(Resource::RLIMIT_NPROC, limit, limit)?;
    }
    for capability in CapabilitySet::all().difference(KEPT).iter() {
        match remove_capability_from_bounding_set(capability) {
            // Newer than this kernel.
            Err(rustix::io::Errno::INVAL) => {}
            result => result.with_context(|| format!("giving up {capability:?}"))?,
        }
    }
    let now = capabilities(None)?;
    set_capabilities(
        None,
        CapabilitySets {
            inheritable: CapabilitySet::empty(),
            ..now
        },
    )
    .context("inheritable capabilities")
}
