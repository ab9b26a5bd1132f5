//! The names that the migration gives to containers of its own.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::{
    k8s::pod,
    orchestrator::failure::{Failure, Reason},
};

/// Name of the init container that verifies; further ones get a number.
pub const VERIFY: &str = "verify-checkpoint";

/// Check that no container of a pod has one of these names that was not made here.
///
/// # Errors
/// The container that has.
pub fn check_names(spec: &PodSpec) -> Result<(), Failure> {
    let made_here = |container: &Container| {
        let command = container.command.iter().flatten().map(String::as_str);
        command.take(2).eq(["migbench", "verify-checkpoint"])
    };
    let mut named = pod::specified(spec).filter(|container| is_ours(&container.name));
    match named.find(|container| !made_here(container)) {
        Some(Container { name, .. }) => {
            let why = format!("the container {name} has a name that the migration gives to its own");
            Err(Failure::new(Reason::ContainerNameReserved, why))
        }
        None => Ok(()),
    }
}

/// Whether a container of a migrated pod is one of these.
pub fn is_ours(name: &str) -> bool {
    name.strip_prefix(VERIFY).is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('-').is_some_and(|n| n.parse::<usize>().is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestrator::fixtures;

    #[test]
    fn only_our_own_names_are_ours() {
        assert!(!is_ours("verify-checkpoints") && !is_ours("verify-checkpoint-data") && !is_ours("init"));
    }

    #[test]
    fn names_that_are_given_here_are_not_taken_from_others() {
        let named = |name: &str, command: &[&str]| {
            let mut spec = fixtures::pod().spec.unwrap();
            let mut init = spec.containers[0].clone();
            init.name = name.into();
            init.command = Some(command.iter().map(|word| (*word).to_owned()).collect());
            spec.init_containers = Some(vec![init]);
            check_names(&spec).map_err(|failure| failure.reason)
        };
        let reserved = Err(Reason::ContainerNameReserved);
        assert_eq!(named("verify-checkpoint", &["sh", "-c", "true"]), reserved);
        assert_eq!(named("verify-checkpoint-2", &[]), reserved);
        assert_eq!(named("verify-checkpoints", &["true"]), Ok(()));
        let made_here = ["migbench", "verify-checkpoint", "--root"];
        assert_eq!(named("verify-checkpoint", &made_here), Ok(()));
        let mut spec = fixtures::pod().spec.unwrap();
        spec.containers[2].name = "verify-checkpoint".into();
        assert_eq!(check_names(&spec).map_err(|failure| failure.reason), reserved);
    }
}
