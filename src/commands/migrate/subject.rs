//! The pod that is to be moved, and the node that it is on.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use super::OrderArgs;
use crate::{
    error::Error,
    k8s::{self, pod},
};

/// Names that are told where one was not found.
const TOLD: usize = 8;

/// What is to be moved, from where.
pub(super) struct Subject {
    pub(super) namespace: String,
    pub(super) source: String,
}

impl Subject {
    /// Look for pod and node.
    ///
    /// # Errors
    /// One of them is not there, with what there is.
    pub(super) async fn find(client: &Client, order: &OrderArgs) -> Result<Self, Error> {
        let namespace = order.namespace.as_deref().unwrap_or(client.default_namespace());
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let found = pods.get_opt(&order.pod).await;
        let found = found.map_err(k8s::Error::api(format!("get pod {namespace}/{}", order.pod)))?;
        let Some(found) = found else {
            return Err(no_pod(client, &pods, namespace, &order.pod).await);
        };
        let Some(source) = pod::node(&found) else {
            return Err(Error::Preflight {
                missing: format!(
                    "pod {namespace}/{} is on no node: {}",
                    order.pod,
                    pod::describe(&found)
                ),
                remedy: "wait until it runs".into(),
            });
        };
        if source == order.to {
            return Err(Error::Preflight {
                missing: format!("pod {namespace}/{} is on node {source} already", order.pod),
                remedy: "name another node by --to NODE".into(),
            });
        }
        check_node(client, &order.to).await?;
        Ok(Self {
            namespace: namespace.to_owned(),
            source: source.to_owned(),
        })
    }
}

async fn no_pod(client: &Client, pods: &Api<Pod>, namespace: &str, name: &str) -> Error {
    let named = ListParams::default().fields(&format!("metadata.name={name}"));
    let elsewhere: Vec<_> = match Api::<Pod>::all(client.clone()).list(&named).await {
        Ok(found) => found.items.iter().filter_map(ResourceExt::namespace).collect(),
        // Who may look into one namespace alone is told of that one.
        Err(_) => Vec::new(),
    };
    let remedy = if elsewhere.is_empty() {
        let there = names(pods).await.unwrap_or_default();
        among(
            name,
            there,
            &format!("there is no pod in namespace {namespace}; name another one by -n NAME"),
        )
    } else {
        format!(
            "there is one in another namespace: -n {}",
            elsewhere.join(" or -n ")
        )
    };
    Error::Preflight {
        missing: format!("there is no pod {name} in namespace {namespace}"),
        remedy,
    }
}

/// That there is a node of that name. Who may not list them learns it from the plan.
async fn check_node(client: &Client, name: &str) -> Result<(), Error> {
    match names(&Api::<Node>::all(client.clone())).await {
        Ok(there) if !there.iter().any(|node| node == name) => Err(Error::Preflight {
            missing: format!("there is no node {name}"),
            remedy: among(name, there, "there is no node"),
        }),
        _ => Ok(()),
    }
}

async fn names<K>(api: &Api<K>) -> kube::Result<Vec<String>>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let found = api.list(&ListParams::default()).await?;
    Ok(found.items.iter().map(ResourceExt::name_any).collect())
}

/// The names that there are, those like the one that was meant first.
fn among(meant: &str, mut there: Vec<String>, none: &str) -> String {
    if there.is_empty() {
        return none.to_owned();
    }
    let likeness = |name: &String| strsim::jaro_winkler(meant, name);
    there.sort_by(|one, other| likeness(other).total_cmp(&likeness(one)));
    let more = there.len().saturating_sub(TOLD);
    there.truncate(TOLD);
    let and_more = if more == 0 {
        String::new()
    } else {
        format!(" and {more} more")
    };
    format!("name one of those that there are: {}{and_more}", there.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_like_the_one_that_was_meant_come_first_and_not_all_are_told() {
        let there = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            among("trianer-0", there(&["etcd", "trainer-1", "trainer-0"]), ""),
            "name one of those that there are: trainer-0, trainer-1, etcd"
        );
        let many: Vec<_> = (0..10).map(|number| format!("p{number}")).collect();
        assert!(among("p", many, "").ends_with(" and 2 more"));
        assert_eq!(among("p", Vec::new(), "none"), "none");
    }
}
