//! How a saved image comes to a cluster's nodes: the tools' own commands, in one table.

use super::name::Name;

/// A kind of cluster, and the command that brings an image archive to its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// What the cluster is made with.
    pub cluster: &'static str,
    /// What `kubectl config` calls its contexts begins with this; empty where names tell nothing.
    context: &'static str,
    /// `FILE` is the archive, `IMAGE` its name, `CLUSTER` the name of the cluster.
    command: &'static str,
}

/// All that are known; the last two serve any cluster.
pub const DELIVERIES: [Delivery; 6] = [
    Delivery {
        cluster: "kind",
        context: "kind-",
        command: "kind load image-archive FILE --name CLUSTER",
    },
    Delivery {
        cluster: "k3d",
        context: "k3d-",
        command: "k3d image import FILE --cluster CLUSTER",
    },
    Delivery {
        cluster: "minikube",
        context: "minikube",
        command: "minikube image load FILE",
    },
    Delivery {
        cluster: "containerd, on each node",
        context: "",
        command: "ctr --namespace k8s.io images import FILE",
    },
    Delivery {
        cluster: "a registry",
        context: "",
        command: "skopeo copy oci-archive:FILE docker://IMAGE",
    },
    Delivery {
        cluster: "a registry",
        context: "",
        command: "crane push FILE IMAGE",
    },
];

impl Delivery {
    /// The command for an archive, where `cluster` is the cluster's name or a word in its place.
    pub fn command(&self, file: &str, image: &str, cluster: &str) -> String {
        let command = self.command.replace("FILE", file).replace("IMAGE", image);
        command.replace("CLUSTER", cluster)
    }

    /// For the cluster of a context: that of its kind, or those that serve any.
    fn of_context(context: &str) -> impl Iterator<Item = &'static Self> {
        let of_its_kind = |one: &&Self| !one.context.is_empty() && context.starts_with(one.context);
        let known = DELIVERIES.iter().any(|one| of_its_kind(&one));
        DELIVERIES.iter().filter(move |one| {
            if known {
                of_its_kind(one)
            } else {
                one.context.is_empty()
            }
        })
    }
}

/// What to do where the nodes of a context's cluster cannot pull `image`: one command a line.
pub fn remedy(context: &str, image: &str) -> String {
    const FILE: &str = "migbench.tar";
    let asked = image;
    let image = &kept(image);
    let cluster = |one: &Delivery| context.strip_prefix(one.context).unwrap_or(context).to_owned();
    let ways: Vec<_> = Delivery::of_context(context)
        .map(|one| format!("`{}` ({})", one.command(FILE, image, &cluster(one)), one.cluster))
        .collect();
    let renamed = if image == asked {
        String::new()
    } else {
        format!(" with --image {image}")
    };
    format!(
        "`migbench image save {FILE} --name {image}`, then {}, and deploy again{renamed}",
        ways.join(" or ")
    )
}

/// The name itself, or, where a kubelet would ask a registry for it each time (no tag, `latest`, a digest), one that it keeps.
fn kept(image: &str) -> String {
    if image.parse::<Name>().is_ok() {
        return image.to_owned();
    }
    let untagged = image.split('@').next().unwrap_or(image);
    let repository = match untagged.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => untagged,
    };
    format!("{repository}:{}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_packed_gets_a_tag() {
        let version = env!("CARGO_PKG_VERSION");
        for image in [
            "r:5000/m",
            "r:5000/m:latest",
            "r:5000/m@sha256:00",
            "r:5000/m:1@sha256:00",
        ] {
            let told = remedy("prod", image);
            assert!(told.contains(&format!("--name r:5000/m:{version}`")), "{told}");
            assert!(
                told.ends_with(&format!("deploy again with --image r:5000/m:{version}")),
                "{told}"
            );
        }
    }

    #[test]
    fn the_remedy_is_that_of_the_cluster() {
        let told = |context| remedy(context, "r/m:1");
        assert_eq!(
            told("kind-one"),
            "`migbench image save migbench.tar --name r/m:1`, then `kind load image-archive migbench.tar --name one` (kind), \
             and deploy again"
        );
        assert!(told("k3d-two").contains("k3d image import migbench.tar --cluster two"));
        assert!(told("minikube").contains("minikube image load migbench.tar"));
        let any = told("prod");
        for command in [
            "ctr --namespace k8s.io",
            "docker://r/m:1`",
            "crane push migbench.tar r/m:1",
        ] {
            assert!(any.contains(command), "{any}");
        }
        assert!(!any.contains("kind load"), "{any}");
    }
}
