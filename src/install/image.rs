//! The image that was installed, so that nobody has to name it twice.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};

use super::{IMAGE, NAMESPACE, ORCHESTRATOR};
use crate::k8s::{Error, labels::AGENT};

/// Image of what is installed on a cluster, by whichever way: `deploy`, kustomize and Helm make the same pods. Where
/// nothing is, or nobody may look, the image as it is published.
pub async fn installed(client: &Client) -> Result<String, Error> {
    let agents = format!("{}={}", AGENT.0, AGENT.1);
    for label in [ORCHESTRATOR, &agents] {
        let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
        let found = api.list(&ListParams::default().labels(label)).await;
        match found.map_err(Error::api(format!("list pods in {NAMESPACE}"))) {
            Ok(pods) => {
                if let Some(image) = newest(pods.items) {
                    return Ok(image);
                }
            }
            Err(error) if error.is_refusal() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(IMAGE.to_owned())
}

/// That of the newest pod: an older one may be on its way out.
fn newest(mut pods: Vec<Pod>) -> Option<String> {
    pods.sort_by_key(|pod| {
        let made = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (pod.metadata.deletion_timestamp.is_none(), made)
    });
    let spec = pods.pop()?.spec?;
    spec.containers.into_iter().next()?.image
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(image: &str, made: &str, more: &Value) -> Pod {
        let mut pod = json!({
            "metadata": {"creationTimestamp": made},
            "spec": {"containers": [{"name": "c", "image": image}]},
        });
        json_patch::merge(&mut pod, more);
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn the_newest_that_stays_counts() {
        let leaving = json!({"metadata": {"deletionTimestamp": "2026-11-28T10:03:00Z"}});
        let pods = vec![
            pod("old", "2026-11-28T10:00:00Z", &json!({})),
            pod("new", "2026-11-28T10:01:00Z", &json!({})),
            pod("leaving", "2026-11-28T10:02:00Z", &leaving),
        ];
        assert_eq!(newest(pods).as_deref(), Some("new"));
        assert_eq!(newest(Vec::new()), None);
    }
}
