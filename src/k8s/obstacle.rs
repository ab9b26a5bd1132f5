//! What keeps a container from starting, in the kubelet's words: the one list of them.

use std::fmt;

use k8s_openapi::api::core::v1::ContainerStatus;

/// Why a container that waits will not start by waiting on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// How far it came.
    pub kind: Kind,
    /// The kubelet's word, as in `ImagePullBackOff`.
    pub reason: String,
    /// The kubelet's sentence; may be empty.
    pub message: String,
}

/// How far a container came that does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its image cannot be had.
    Image,
    /// The image is there; the container cannot be made or started.
    Creation,
    /// It ran, ended, and is kept from running again for a while.
    Crash,
}

impl Obstacle {
    /// What the container meets with, if it is more than that it takes a while.
    pub fn of(status: &ContainerStatus) -> Option<Self> {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone()?;
        let kind = match reason.as_str() {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "ErrImageNeverPull"
            | "InvalidImageName"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => Kind::Image,
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Kind::Creation,
            "CrashLoopBackOff" => Kind::Crash,
            _ => return None,
        };
        let message = waiting.message.clone().unwrap_or_default();
        Some(Self {
            kind,
            reason,
            message,
        })
    }

    /// Whether this is a first failure, after which the kubelet tries again by itself. If that fails too, its word changes
    /// to a back-off.
    pub fn is_tried_again(&self) -> bool {
        matches!(
            self.reason.as_str(),
            "ErrImagePull" | "ImageInspectError" | "RegistryUnavailable"
        )
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        if self.message.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(state: &Value) -> Option<Obstacle> {
        let status = json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        Obstacle::of(&serde_json::from_value(status).unwrap())
    }

    #[test]
    fn what_takes_a_while_is_none() {
        for reason in ["ContainerCreating", "PodInitializing", "SomethingNew"] {
            assert_eq!(of(&json!({"waiting": {"reason": reason}})), None);
        }
        assert_eq!(of(&json!({"running": {}})), None);
        assert_eq!(of(&json!({"waiting": {}})), None);
    }

    #[test]
    fn only_a_first_failure_may_pass() {
        let tried_again = ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"].map(|reason| {
            let obstacle = of(&json!({"waiting": {"reason": reason}})).unwrap();
            assert_eq!(obstacle.kind, Kind::Image);
            obstacle.is_tried_again()
        });
        assert_eq!(tried_again, [true, false, false]);
    }

    #[test]
    fn it_is_told_in_the_kubelets_words() {
        let told = |waiting: Value| of(&json!({"waiting": waiting})).unwrap().to_string();
        let reason = json!({"reason": "CrashLoopBackOff"});
        assert_eq!(told(reason), "CrashLoopBackOff");
        let both = json!({"reason": "CreateContainerError", "message": "no such device"});
        assert_eq!(told(both), "CreateContainerError: no such device");
    }
}
