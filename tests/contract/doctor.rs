//! The doctor on a real cluster: the one that `MIGBENCH_TEST_KUBECONFIG` names, as an administrator.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::{
    core::v1::{Namespace, Node, PersistentVolume},
    rbac::v1::{ClusterRole, ClusterRoleBinding, RoleRef, Subject as RbacSubject},
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use migbench::{
    deploy::{place::Place, supply::StorageOptions},
    doctor::{self, Intent, Report, Status, Subject},
    install,
    k8s::{
        access::Connection,
        rights::{self, Right, Role},
    },
    run::settings::Site,
    scenario::Scenario,
};
use tokio::sync::RwLockReadGuard;
use uuid::Uuid;

use crate::{cluster::QUIET, skip::skip};

/// Label on the roles of one test.
const TEST_LABEL: &str = "migbench.io/test";
/// RBAC changes reach the authoriser by a watch.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(120);

async fn config() -> Option<(RwLockReadGuard<'static, ()>, Config)> {
    let Some(file) = std::env::var_os("MIGBENCH_TEST_KUBECONFIG") else {
        skip("MIGBENCH_TEST_KUBECONFIG names no cluster");
        return None;
    };
    let kubeconfig = Kubeconfig::read_from(file).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Some((QUIET.read().await, config.unwrap()))
}

fn client_as(config: &Config, user: &str) -> Client {
    let mut config = config.clone();
    config.auth_info.impersonate = Some(user.to_owned());
    Client::try_from(config).unwrap()
}

/// Roles of a test; each user has one.
struct Roles {
    client: Client,
    test: String,
}

impl Roles {
    fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            test: Uuid::new_v4().simple().to_string(),
        }
    }

    fn metadata(&self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(TEST_LABEL.to_owned(), self.test.clone())].into()),
            ..ObjectMeta::default()
        }
    }

    /// A user with these rights everywhere.
    async fn user(&self, number: usize, rights: &[Right]) -> String {
        let name = format!("migbench-doctor-test-{}-{number}", self.test);
        let role = ClusterRole {
            metadata: self.metadata(&name),
            rules: Some(rights::policy_rules(rights)),
            ..ClusterRole::default()
        };
        let binding = ClusterRoleBinding {
            metadata: self.metadata(&name),
            role_ref: RoleRef {
                api_group: Some("rbac.authorization.k8s.io".to_owned()),
                kind: "ClusterRole".to_owned(),
                name: name.clone(),
            },
            subjects: Some(vec![RbacSubject {
                api_group: Some("rbac.authorization.k8s.io".to_owned()),
                kind: "User".to_owned(),
                name: name.clone(),
                namespace: None,
            }]),
        };
        let create = PostParams::default();
        let (roles, bindings) = (Api::all(self.client.clone()), Api::all(self.client.clone()));
        roles.create(&create, &role).await.unwrap();
        bindings.create(&create, &binding).await.unwrap();
        name
    }

    async fn remove(&self) {
        let ours = ListParams::default().labels(&format!("{TEST_LABEL}={}", self.test));
        let now = DeleteParams::default();
        let bindings: Api<ClusterRoleBinding> = Api::all(self.client.clone());
        bindings.delete_collection(&now, &ours).await.unwrap();
        let roles: Api<ClusterRole> = Api::all(self.client.clone());
        roles.delete_collection(&now, &ours).await.unwrap();
    }
}

/// What is missing, once the authoriser has heard of the role.
async fn missing(client: &Client, wanted: &[Right]) -> Vec<Right> {
    let started = Instant::now();
    loop {
        let missing = rights::missing(client, "default", wanted).await.unwrap();
        if missing.len() == 1 || started.elapsed() > EFFECTIVE_WITHIN {
            return missing;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_one_verb_missing_at_a_time_lacks_exactly_it() {
    let Some((_not_while_measured, config)) = config().await else {
        return;
    };
    let roles = Roles::new(&Client::try_from(config.clone()).unwrap());
    let wanted = rights::of(Role::Harness);
    let checks = (0..wanted.len()).map(|number| {
        let (roles, wanted, config) = (&roles, &wanted, &config);
        async move {
            let mut granted = wanted.clone();
            let withheld = granted.remove(number);
            let user = roles.user(number, &granted).await;
            (withheld, missing(&client_as(config, &user), wanted).await)
        }
    });
    let found: Vec<_> = stream::iter(checks).buffer_unordered(8).collect().await;
    roles.remove().await;
    assert_eq!(found.len(), wanted.len());
    for (withheld, missing) in found {
        assert_eq!(missing, [withheld]);
    }
}

/// The scenario on two nodes that this cluster has.
async fn scenario(client: &Client) -> Option<Scenario> {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await.unwrap();
    let takes_pods = |node: &&Node| {
        let spec = node.spec.clone().unwrap_or_default();
        spec.taints.is_none_or(|taints| taints.is_empty()) && spec.unschedulable != Some(true)
    };
    let names: Vec<_> = nodes
        .iter()
        .filter(takes_pods)
        .map(ResourceExt::name_any)
        .collect();
    let [source, target, ..] = names.as_slice() else {
        skip("the cluster has no two nodes that take pods");
        return None;
    };
    let overrides = [format!("nodes.source={source}"), format!("nodes.target={target}")];
    Some(Scenario::load("tensorflow", None, &overrides).unwrap())
}

async fn examine(client: Client, scenario: Scenario) -> (Report, Place) {
    let subject = Subject {
        connection: Connection {
            client,
            name: "test".to_owned(),
            kubernetes: String::new(),
            endpoint: http::Uri::default(),
        },
        embedded: false,
        intent: Intent {
            scenario,
            site: Site {
                namespace: None,
                image: install::IMAGE.to_owned(),
                storage: StorageOptions::default(),
            },
            orchestrator: None,
            strict: false,
            patience: Duration::from_secs(120),
        },
    };
    let mut place = doctor::place(&subject.intent);
    let report = Box::pin(doctor::examine(&subject, &mut place)).await;
    place.leave(&subject.connection.client, drop).await.unwrap();
    (report, place)
}

/// Names of the objects that carry the doctor's label.
async fn left_behind(client: &Client, place: &Place) -> Vec<String> {
    let ours = ListParams::default().labels(&format!("migbench.io/run={}", place.run));
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let namespaces = namespaces.list(&ours).await.unwrap();
    let volumes = volumes.list(&ours).await.unwrap();
    let names = namespaces.iter().map(ResourceExt::name_any);
    names.chain(volumes.iter().map(ResourceExt::name_any)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_gets_an_answer_to_every_check_and_nothing_stays() {
    let Some((_not_while_measured, config)) = config().await else {
        return;
    };
    let client = Client::try_from(config).unwrap();
    let Some(scenario) = scenario(&client).await else {
        return;
    };
    let (report, place) = examine(client.clone(), scenario).await;
    assert_eq!(left_behind(&client, &place).await, Vec::<String>::new());
    let finding = |check: &str| {
        report
            .findings
            .iter()
            .find(|finding| finding.check == check)
            .unwrap()
    };
    assert_eq!(finding("Kubernetes").status, Status::Ok);
    assert_eq!(finding("nodes").status, Status::Ok);
    assert_eq!(finding("rights").status, Status::Ok, "{:?}", finding("rights"));
    let images = || report.findings.iter().filter(|finding| finding.check == "image");
    if let Some(missing) = images().find(|finding| finding.status != Status::Ok) {
        skip(format!("nothing can look around on the nodes: {}", missing.found));
        return;
    }
    assert_ne!(
        finding("cgroup").status,
        Status::Skipped,
        "{:?}",
        finding("cgroup")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_make_no_namespace_is_told_so_and_the_rest_is_skipped() {
    let Some((_not_while_measured, config)) = config().await else {
        return;
    };
    let admin = Client::try_from(config.clone()).unwrap();
    let Some(scenario) = scenario(&admin).await else {
        return;
    };
    let roles = Roles::new(&admin);
    let mut granted = rights::of(Role::Harness);
    granted.retain(|right| (right.verb, right.resource) != ("create", "namespaces"));
    let user = roles.user(0, &granted).await;
    let client = client_as(&config, &user);
    missing(&client, &rights::of(Role::Harness)).await;
    let (report, place) = examine(client, scenario).await;
    roles.remove().await;
    let refused: Vec<_> = report
        .with(Status::Failed)
        .map(|finding| finding.wanted.as_str())
        .collect();
    assert!(refused.contains(&"create namespaces"), "{refused:?}");
    let image = report
        .findings
        .iter()
        .find(|finding| finding.check == "image")
        .unwrap();
    assert_eq!(image.status, Status::Skipped);
    assert!(image.found.contains("--namespace"), "{image:?}");
    assert_eq!(left_behind(&admin, &place).await, Vec::<String>::new());
}
