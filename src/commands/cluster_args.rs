//! Which cluster a command works on, as clap sees it.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::{error::Error, k8s::access::Access, run::cluster::Choice};

/// Which cluster to use. A real one only where it is named.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Use the real cluster of this context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Use this kubeconfig; without --context, its current context.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// `kube` without --context or --kubeconfig: in a pod its service account, elsewhere the current context of the default
    /// kubeconfig.
    #[arg(long, value_enum, value_name = "KIND")]
    pub cluster: Option<Kind>,
}

/// The kinds of clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A private one of processes on this host.
    Embedded,
    /// A real one.
    Kube,
}

impl ClusterArgs {
    /// The cluster that was asked for; the embedded one when none was named.
    pub fn choice(self) -> Result<Choice, Error> {
        let named = self.context.is_some() || self.kubeconfig.is_some();
        match self.cluster {
            Some(Kind::Embedded) if named => Err(Error::Usage(
                "--cluster embedded has neither a context nor a kubeconfig: leave one of them away".into(),
            )),
            Some(Kind::Embedded) => Ok(Choice::Embedded),
            None if !named => Ok(Choice::Embedded),
            _ => Ok(Choice::Kube(self.access())),
        }
    }

    /// The real cluster that was named, for a command that makes no sense on a private one.
    pub fn real(self) -> Result<Access, Error> {
        match self.choice()? {
            Choice::Kube(access) => Ok(access),
            Choice::Embedded => Err(Error::Usage(
                "name the cluster: --context NAME, --kubeconfig FILE, or --cluster kube for the current context"
                    .into(),
            )),
        }
    }

    fn access(self) -> Access {
        Access::new(self.kubeconfig, self.context)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        cluster: ClusterArgs,
    }

    fn choice(arguments: &[&str]) -> Result<Choice, String> {
        let line = Line::try_parse_from([&["migbench"], arguments].concat()).unwrap();
        line.cluster.choice().map_err(|error| error.to_string())
    }

    #[test]
    fn a_real_cluster_is_used_only_when_it_is_named() {
        let kube = |context: Option<&str>, kubeconfig: Option<&str>| {
            let kubeconfig = kubeconfig.map(PathBuf::from);
            Ok(Choice::Kube(Access::new(
                kubeconfig,
                context.map(ToOwned::to_owned),
            )))
        };
        assert_eq!(choice(&[]), Ok(Choice::Embedded));
        assert_eq!(choice(&["--cluster", "embedded"]), Ok(Choice::Embedded));
        assert_eq!(choice(&["--cluster", "kube"]), kube(None, None));
        assert_eq!(choice(&["--context", "c"]), kube(Some("c"), None));
        assert_eq!(choice(&["--kubeconfig", "f"]), kube(None, Some("f")));
        assert!(choice(&["--cluster", "embedded", "--context", "c"]).is_err());
    }

    #[test]
    fn what_needs_a_real_cluster_asks_for_its_name() {
        let told = ClusterArgs::default().real().unwrap_err().to_string();
        assert!(told.contains("--context NAME"), "{told}");
    }
}
