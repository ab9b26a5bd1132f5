//! Who may make a migration, and write a checkpoint hook: the admission policies that `migbench deploy` installs. The
//! embedded cluster knows one identity alone, so they are tried on a real one.

use std::env;

use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicyBinding,
    core::v1::Pod,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use migbench::contract::orchestrator::resource::Migration;
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::{
    case::{Case, from_json, said, soon},
    cluster,
    skip::skip,
};

const USER: &str = "migbench-test-alice";
const HOOK: &str = "checkpoint.migbench.io/c.command";

/// The rights of the user who is tried, and what she may do with them.
struct Tried {
    case: Case,
    client: Client,
}

impl Tried {
    async fn new(case: Case) -> Self {
        let file = env::var_os("MIGBENCH_TEST_KUBECONFIG").unwrap();
        let kubeconfig = Kubeconfig::read_from(file).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .unwrap();
        config.auth_info.impersonate = Some(USER.into());
        let client = Client::try_from(config).unwrap();
        Self { case, client }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.case.namespace)
    }

    /// Give her more rights.
    async fn may(&self, name: &str, group: &str, resources: &[&str], verbs: &[&str]) {
        let metadata = json!({"name": name});
        let rules = json!([{"apiGroups": [group], "resources": resources, "verbs": verbs}]);
        let role: Role = from_json(&json!({"metadata": metadata, "rules": rules}));
        let bound: RoleBinding = from_json(&json!({
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
        }));
        let parameters = PostParams::default();
        self.case.api().create(&parameters, &role).await.unwrap();
        self.case.api().create(&parameters, &bound).await.unwrap();
    }

    /// Whether she may create this; nothing is made.
    async fn create<K>(&self, object: &Value) -> kube::Result<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        self.api().create(&dry, &from_json::<K>(object)).await
    }

    /// Wait until she may: rights that were given take a moment.
    async fn creates<K>(&self, object: &Value)
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        soon(async {
            while self.create::<K>(object).await.is_err() {
                sleep(Duration::from_millis(200)).await;
            }
        })
        .await;
    }

    async fn annotate(&self, pod: &str, subresource: &str, annotations: Value) -> kube::Result<Pod> {
        let pods = self.api::<Pod>();
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        let parameters = PatchParams::default();
        match subresource {
            "" => pods.patch(pod, &parameters, &patch).await,
            "status" => pods.patch_status(pod, &parameters, &patch).await,
            other => panic!("no subresource {other}"),
        }
    }
}

fn with(mut pod: Pod, annotation: &str) -> Value {
    pod.metadata.annotations = Some([(annotation.to_owned(), r#"["true"]"#.to_owned())].into());
    json!(pod)
}

#[tokio::test]
async fn migrations_and_hooks_take_the_rights_of_what_they_do() {
    cluster::on_real(|case| async move {
        let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(case.client.clone());
        if bindings
            .get_opt("checkpoint-hooks.migbench.io")
            .await
            .unwrap()
            .is_none()
        {
            skip("the admission policies are not there: `migbench deploy` installs them");
            return;
        }
        policies(Tried::new(case).await).await;
    })
    .await;
}

async fn policies(alice: Tried) {
    let pods = ["pods", "pods/status"];
    alice.may("pods", "", &pods, &["create", "get", "patch"]).await;
    alice
        .may("migrations", "migbench.io", &["migrations"], &["create"])
        .await;
    let (plain, hooked) = (alice.case.homeless("plain"), alice.case.homeless("hooked"));
    alice.creates::<Pod>(&json!(plain)).await;

    // A hook, by whichever way it comes to a pod.
    let (code, _, message) = said(alice.create::<Pod>(&with(hooked.clone(), HOOK)).await);
    assert_eq!(code, 403, "{message}");
    assert!(
        message.contains("must be allowed to create pods/exec in namespace"),
        "{message}"
    );
    let made = |pod: Value| from_json::<Pod>(&pod);
    let admin = alice.case.api::<Pod>();
    let parameters = PostParams::default();
    admin.create(&parameters, &made(json!(plain))).await.unwrap();
    admin
        .create(&parameters, &made(with(hooked, HOOK)))
        .await
        .unwrap();
    for way in ["", "status"] {
        for (pod, hook) in [
            ("plain", json!({HOOK: "[]"})),
            ("hooked", json!({HOOK: "[\"sh\"]"})),
        ] {
            let (code, _, message) = said(alice.annotate(pod, way, hook).await);
            assert_eq!(code, 403, "{pod} {way}: {message}");
        }
        // What another one wrote may stay, and other annotations are nobody's business.
        for pod in ["plain", "hooked"] {
            alice.annotate(pod, way, json!({"note": way})).await.unwrap();
        }
    }

    // A migration.
    let migration = json!({
        "apiVersion": "migbench.io/v1alpha1", "kind": "Migration", "metadata": {"name": "m"},
        "spec": {"podName": "plain", "sourceNode": "a", "targetNode": "b"},
    });
    let refused = soon(async {
        loop {
            let refused = said(alice.create::<Migration>(&migration).await);
            // Until then it is the right to create migrations that is missing.
            if refused.2.contains("creates and deletes pods") {
                return refused;
            }
            sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
    assert_eq!(refused.0, 403);

    alice.may("delete", "", &["pods"], &["delete"]).await;
    alice.may("exec", "", &["pods/exec"], &["create"]).await;
    alice.creates::<Migration>(&migration).await;
    alice
        .creates::<Pod>(&with(alice.case.homeless("another"), HOOK))
        .await;
}
