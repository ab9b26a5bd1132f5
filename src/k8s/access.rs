//! Access to a real cluster: a kubeconfig's context, or the service account of the pod that this runs in. Only what was
//! named is used; nobody's current context is taken unasked.

use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tokio::sync::OnceCell;

use super::{Error, explain, reconnect};

/// How long the API server may take to say its version.
const ANSWER: Duration = Duration::from_secs(15);
/// Longest time for which nothing is heard after something was sent: the other end may have died without a word. Watches end
/// by themselves before that.
const LONGEST_SILENCE: Duration = Duration::from_secs(400);
/// Where Kubernetes puts the credentials of a pod's service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// What was named of a real cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The kubeconfig; without, in a pod the service account unless a context is named, else `$KUBECONFIG` or
    /// `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// Its context; without, its current one.
    pub context: Option<String>,
    connected: Connected,
}

/// The connection that was made, for all clones; two accesses are the same whether they have been used or not.
#[derive(Debug, Clone, Default)]
struct Connected(Arc<OnceCell<Connection>>);

impl PartialEq for Connected {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Connected {}

/// A real cluster that answers.
#[derive(Clone)]
pub struct Connection {
    /// The API.
    pub client: Client,
    /// `context NAME`, or `in-cluster`.
    pub name: String,
    /// Version that the API server told, as in `v1.35.4`.
    pub kubernetes: String,
    /// Address of the API server.
    pub endpoint: http::Uri,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.context, &self.kubeconfig) {
            (Some(context), _) => write!(f, "context {context}"),
            (None, Some(file)) => write!(f, "current context of {}", file.display()),
            (None, None) => f.write_str("kube"),
        }
    }
}

impl Access {
    /// What was named of it.
    pub fn new(kubeconfig: Option<PathBuf>, context: Option<String>) -> Self {
        Self {
            kubeconfig,
            context,
            connected: Connected::default(),
        }
    }

    /// Connect, and have the API server answer, once for all clones of this. From then on a connection that cannot be made is
    /// tried again for about half a minute.
    pub async fn connect(&self) -> Result<Connection, Error> {
        let connecting = self.connected.0.get_or_try_init(async || {
            let connection = self.connect_without_patience().await?;
            Ok(Connection {
                client: reconnect::patient(connection.client),
                ..connection
            })
        });
        connecting.await.cloned()
    }

    /// [`Self::connect`] for whoever tries again by itself.
    pub async fn connect_without_patience(&self) -> Result<Connection, Error> {
        let (name, mut config) = self.config().await?;
        config.read_timeout = Some(LONGEST_SILENCE);
        config.reset_reader_on_write = true;
        let endpoint = config.cluster_url.clone();
        let client = Client::try_from(config).map_err(|error| unreachable(&name, explain::of(&error)))?;
        let kubernetes = version(&client, &name, &endpoint).await?;
        Ok(Connection {
            client,
            name,
            kubernetes,
            endpoint,
        })
    }

    /// In a pod, nothing named means its service account, whatever kubeconfig lies there too.
    fn is_service_account(&self, in_pod: bool) -> bool {
        in_pod && self.kubeconfig.is_none() && self.context.is_none()
    }

    async fn config(&self) -> Result<(String, Config), Error> {
        if self.is_service_account(is_in_pod()) {
            return in_cluster();
        }
        let read = match &self.kubeconfig {
            Some(file) => Kubeconfig::read_from(file),
            None => read_list(&std::env::var_os("KUBECONFIG").unwrap_or_default()),
        };
        match read {
            Ok(kubeconfig) => self.pick(kubeconfig).await,
            Err(error) => Err(unreachable(&self.to_string(), no_kubeconfig(&error))),
        }
    }

    async fn pick(&self, kubeconfig: Kubeconfig) -> Result<(String, Config), Error> {
        let context = self
            .context
            .clone()
            .or_else(|| kubeconfig.current_context.clone());
        let contexts: Vec<_> = kubeconfig
            .contexts
            .iter()
            .map(|context| context.name.clone())
            .collect();
        let Some(context) = context.filter(|context| contexts.contains(context)) else {
            return Err(unreachable(&self.to_string(), no_context(&contexts)));
        };
        let name = format!("context {context}");
        let options = KubeConfigOptions {
            context: Some(context),
            ..KubeConfigOptions::default()
        };
        match Config::from_custom_kubeconfig(kubeconfig, &options).await {
            Ok(config) => Ok((name, config)),
            Err(error) => Err(unreachable(&name, error.to_string())),
        }
    }
}

/// As `kubectl` reads `$KUBECONFIG`: files that are not there are passed over, and the first that says something counts.
/// Without a list it is `~/.kube/config`.
fn read_list(list: &OsStr) -> Result<Kubeconfig, KubeconfigError> {
    let mut files: Vec<_> = std::env::split_paths(list).collect();
    files.retain(|file| !file.as_os_str().is_empty());
    let Some(first) = files.first() else {
        return Kubeconfig::read();
    };
    let mut there = files
        .iter()
        .filter(|file| file.try_exists().unwrap_or(true))
        .peekable();
    if there.peek().is_none() {
        return Kubeconfig::read_from(first);
    }
    there.try_fold(Kubeconfig::default(), |merged, file| {
        let mut read = Kubeconfig::read_from(file)?;
        read.current_context = read.current_context.filter(|context| !context.is_empty());
        merged.merge(read)
    })
}

/// Whether this is a pod with a service account.
pub fn is_in_pod() -> bool {
    Path::new(SERVICE_ACCOUNT_TOKEN).exists()
}

fn in_cluster() -> Result<(String, Config), Error> {
    let name = "in-cluster";
    let config = Config::incluster().map_err(|error| unreachable(name, error.to_string()))?;
    Ok((name.into(), config))
}

async fn version(client: &Client, name: &str, endpoint: &http::Uri) -> Result<String, Error> {
    match tokio::time::timeout(ANSWER, client.apiserver_version()).await {
        Ok(Ok(version)) => Ok(version.git_version),
        Ok(Err(error)) => Err(unreachable(name, format!("{endpoint}: {}", explain::of(&error)))),
        Err(_) => Err(unreachable(
            name,
            format!(
                "{endpoint} did not answer within {} s\n  to do: see whether the API server runs and a firewall lets port 6443 through",
                ANSWER.as_secs()
            ),
        )),
    }
}

fn no_kubeconfig(error: &KubeconfigError) -> String {
    format!("{error}\n  to do: name a kubeconfig by --kubeconfig FILE or $KUBECONFIG")
}

fn no_context(contexts: &[String]) -> String {
    if contexts.is_empty() {
        return "the kubeconfig has no contexts\n  to do: name another one by --kubeconfig FILE".into();
    }
    format!(
        "the kubeconfig has no such context\n  to do: --context with one of: {}",
        contexts.join(", ")
    )
}

fn unreachable(name: &str, reason: String) -> Error {
    Error::Unreachable {
        name: name.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A kubeconfig with the contexts `one` and `two`, of which none is the current one.
    fn kubeconfig(server: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(
            file,
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
             users: [{{name: u, user: {{token: t}}}}]\n\
             contexts: [{{name: one, context: {{cluster: c, user: u}}}}, {{name: two, context: {{cluster: c, user: u}}}}]\n"
        )
        .unwrap();
        file
    }

    async fn refusal(file: &Path, context: Option<&str>) -> String {
        let access = Access::new(Some(file.to_owned()), context.map(ToOwned::to_owned));
        access.connect().await.unwrap_err().to_string()
    }

    #[test]
    fn in_a_pod_the_service_account_counts_unless_something_is_named() {
        let access = |kubeconfig: Option<&str>, context: Option<&str>| {
            Access::new(kubeconfig.map(PathBuf::from), context.map(ToOwned::to_owned))
        };
        assert!(access(None, None).is_service_account(true));
        assert!(!access(None, None).is_service_account(false));
        assert!(!access(Some("f"), None).is_service_account(true));
        assert!(!access(None, Some("c")).is_service_account(true));
    }

    #[tokio::test]
    async fn a_context_that_is_not_there_is_told_with_those_that_are() {
        let file = kubeconfig("http://127.0.0.1:1");
        let told = refusal(file.path(), Some("three")).await;
        assert!(
            told.contains("context three") && told.contains("one of: one, two"),
            "{told}"
        );
        assert!(refusal(file.path(), None).await.contains("one of: one, two"));
        assert!(
            refusal(Path::new("/nowhere"), None)
                .await
                .contains("--kubeconfig FILE")
        );
    }

    #[test]
    fn files_of_the_list_that_are_not_there_are_passed_over() {
        let (one, other) = (kubeconfig("http://127.0.0.1:1"), kubeconfig("http://127.0.0.1:2"));
        std::fs::write(other.path(), "current-context: two\n").unwrap();
        let text = std::fs::read_to_string(one.path()).unwrap() + "current-context: ''\n";
        std::fs::write(one.path(), text).unwrap();
        let list =
            std::env::join_paths([Path::new("/nowhere"), one.path(), Path::new(""), other.path()]).unwrap();
        let read = read_list(&list).unwrap();
        assert_eq!(
            (read.contexts.len(), read.current_context.as_deref()),
            (2, Some("two"))
        );
        let error = read_list(OsStr::new("/nowhere:/nor/there")).unwrap_err();
        assert!(error.to_string().contains("/nowhere"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_listen_is_named() {
        let told = refusal(kubeconfig("http://127.0.0.1:1").path(), Some("one")).await;
        assert!(
            told.contains("http://127.0.0.1:1") && told.contains("refused"),
            "{told}"
        );
    }
}
