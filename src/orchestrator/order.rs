//! What is asked for, checked: the domain's form of [`MigrationRequest`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contract::orchestrator::{
    FailedContainers, MigrationRequest,
    resource::{self, DEFAULT_TIMEOUT, MigrationSpec},
};

/// A request that makes sense in itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Namespace of the pod.
    pub namespace: String,
    /// The pod to move.
    pub pod: String,
    /// Where it is.
    pub source: String,
    /// Where it shall go.
    pub target: String,
    /// Until when the target must have taken over.
    pub timeout: Duration,
    /// What is done with containers that have failed, where their annotations say nothing else.
    pub failed_containers: FailedContainers,
    /// Whether the target may stand by while the source trains.
    pub standby: bool,
}

/// Which of the two spellings of the API a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// `/api/v1`: `pod_namespace` is required.
    V1,
    /// `/api`: `pod_namespace` may be absent and means `default`.
    Plain,
}

impl Order {
    /// What the object of a migration asks for, checked.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn of(object: &resource::Migration) -> Result<Self, String> {
        let spec = &object.spec;
        let request = MigrationRequest {
            pod_name: spec.pod_name.clone(),
            pod_namespace: object.metadata.namespace.clone(),
            source_node: spec.source_node.clone(),
            target_node: spec.target_node.clone(),
            preserve_pv: true,
            force_restart: false,
            timeout: spec.timeout_seconds,
            dry_run: false,
            failed_containers: Some(spec.failed_containers),
            standby: spec.standby,
        };
        Self::check(request, Spelling::V1)
    }

    /// The same as an object of the cluster says it.
    pub fn spec(&self) -> MigrationSpec {
        MigrationSpec {
            pod_name: self.pod.clone(),
            source_node: self.source.clone(),
            target_node: self.target.clone(),
            timeout_seconds: i64::try_from(self.timeout.as_secs()).unwrap_or(DEFAULT_TIMEOUT),
            failed_containers: self.failed_containers,
            standby: self.standby,
            cancel: false,
        }
    }

    /// Check a request.
    ///
    /// # Errors
    /// A sentence that names the field and says what is wrong with it.
    pub fn check(request: MigrationRequest, spelling: Spelling) -> Result<Self, String> {
        let namespace = match (request.pod_namespace, spelling) {
            (Some(namespace), _) => namespace,
            (None, Spelling::Plain) => "default".to_owned(),
            (None, Spelling::V1) => return Err("pod_namespace is required".to_owned()),
        };
        check_name("pod_namespace", &namespace, 63)?;
        check_name("pod_name", &request.pod_name, 253)?;
        check_name("source_node", &request.source_node, 253)?;
        check_name("target_node", &request.target_node, 253)?;
        if request.source_node == request.target_node {
            return Err("source_node and target_node must be different".to_owned());
        }
        Ok(Self {
            namespace,
            pod: request.pod_name,
            source: request.source_node,
            target: request.target_node,
            timeout: check_timeout(request.timeout)?,
            failed_containers: request.failed_containers.unwrap_or_default(),
            standby: request.standby,
        })
    }
}

fn check_timeout(seconds: i64) -> Result<Duration, String> {
    let seconds = if seconds == 0 { DEFAULT_TIMEOUT } else { seconds };
    match u64::try_from(seconds) {
        Ok(seconds) if seconds <= 86_400 => Ok(Duration::from_secs(seconds)),
        Ok(_) => Err("timeout must be at most 86400 seconds (a day)".to_owned()),
        Err(_) => Err("timeout must not be negative".to_owned()),
    }
}

/// RFC 1123 names, as the API server wants them. They become part of the URLs that are requested, so nothing else may pass.
fn check_name(field: &str, name: &str, longest: usize) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let well_formed = name.chars().all(inner) && name.starts_with(edge) && name.ends_with(edge);
    if well_formed && name.len() <= longest && !name.contains("..") {
        Ok(())
    } else {
        Err(format!(
            "{field} must be a Kubernetes name (lower-case letters, digits, '-' and '.', at most {longest})"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> MigrationRequest {
        MigrationRequest {
            pod_name: "trainer".into(),
            pod_namespace: Some("ml".into()),
            source_node: "a".into(),
            target_node: "b".into(),
            preserve_pv: true,
            force_restart: false,
            timeout: 300,
            dry_run: false,
            failed_containers: None,
            standby: true,
        }
    }

    fn refusal(change: impl FnOnce(&mut MigrationRequest)) -> String {
        let mut request = request();
        change(&mut request);
        Order::check(request, Spelling::V1).unwrap_err()
    }

    #[test]
    fn absent_timeout_means_ten_minutes() {
        let request = MigrationRequest {
            timeout: 0,
            ..request()
        };
        let order = Order::check(request, Spelling::V1).unwrap();
        assert_eq!(order.timeout, Duration::from_secs(600));
    }

    #[test]
    fn namespace_is_optional_only_without_v1() {
        let request = MigrationRequest {
            pod_namespace: None,
            ..request()
        };
        assert_eq!(
            Order::check(request.clone(), Spelling::Plain).unwrap().namespace,
            "default"
        );
        assert!(
            Order::check(request, Spelling::V1)
                .unwrap_err()
                .contains("pod_namespace")
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_field() {
        assert!(refusal(|r| r.timeout = -1).starts_with("timeout"));
        assert!(refusal(|r| r.target_node = "a".into()).starts_with("source_node and target_node"));
        assert!(refusal(|r| r.pod_name = String::new()).starts_with("pod_name"));
        assert!(refusal(|r| r.pod_name = "a/../../nodes/b".into()).starts_with("pod_name"));
        assert!(refusal(|r| r.pod_namespace = Some("x".repeat(64))).starts_with("pod_namespace"));
        assert!(refusal(|r| r.source_node = "Upper".into()).starts_with("source_node"));
    }
}
