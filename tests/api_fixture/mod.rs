//! An embedded cluster for tests, spoken to in raw JSON.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod kubelet;

use futures::StreamExt;
use http_body_util::BodyExt;
use kube::client::Body;
use migbench::embedded::api::{Api, Config};
use serde_json::{Value, json};

/// An API without nodes.
pub(crate) struct Cluster {
    pub(crate) api: Api,
    pub(crate) client: kube::Client,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) object: Value,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    /// The object, if the code is the expected one.
    #[track_caller]
    pub(crate) fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.object);
        self.object
    }

    /// The `Status` of a refusal with this code.
    #[track_caller]
    pub(crate) fn refused(self, code: u16) -> Value {
        let status = self.expect(code);
        assert_eq!(
            (&status["kind"], &status["status"]),
            (&json!("Status"), &json!("Failure")),
            "{status}"
        );
        assert_eq!(status["code"], code);
        status
    }
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self::of(Api::new())
    }

    pub(crate) fn with_window(window: usize) -> Self {
        Self::of(Api::with(Config {
            window,
            ..Config::default()
        }))
    }

    pub(crate) fn of(api: Api) -> Self {
        Self {
            client: api.client(),
            api,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, "application/json", Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, "application/json", Some(body)).await
    }

    pub(crate) async fn merge(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, "application/merge-patch+json", Some(body))
            .await
    }

    pub(crate) async fn strategic(&self, path: &str, body: &Value) -> Answer {
        self.send(
            "PATCH",
            path,
            "application/strategic-merge-patch+json",
            Some(body),
        )
        .await
    }

    pub(crate) async fn apply(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, "application/apply-patch+yaml", Some(body))
            .await
    }

    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Answer {
        self.send("DELETE", path, "application/json", Some(options)).await
    }

    /// A request with a JSON body.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: Option<&Value>,
    ) -> Answer {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        self.send_bytes(method, path, media_type, body).await
    }

    pub(crate) async fn send_bytes(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: Vec<u8>,
    ) -> Answer {
        let accept = "application/json";
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("accept", accept)
            .header("content-type", media_type)
            .body(Body::from(body))
            .unwrap();
        let response = self.client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings.map(|value| value.to_str().unwrap().to_owned()).collect();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let object = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer {
            code,
            object,
            warnings,
        }
    }

    /// What `kubectl get` receives.
    pub(crate) async fn table(&self, path: &str) -> Value {
        let request = http::Request::get(path)
            .header(
                "accept",
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            )
            .body(Vec::new())
            .unwrap();
        self.client.request(request).await.unwrap()
    }
}

/// A watch.
pub(crate) struct Events {
    lines: futures::stream::BoxStream<'static, Value>,
}

impl Events {
    pub(crate) async fn of(cluster: &Cluster, path: &str) -> Self {
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let response = cluster.client.send(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let chunks = response.into_body().into_data_stream();
        // The server sends one event a chunk.
        let lines = chunks.map(|chunk| serde_json::from_slice(&chunk.unwrap()).unwrap());
        Self { lines: lines.boxed() }
    }

    /// The next event's type and object.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        let mut event = self
            .lines
            .next()
            .await
            .expect("an event before the end of the watch");
        (event["type"].as_str().unwrap().to_owned(), event["object"].take())
    }

    /// The object of the first event of a type.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let (seen, object) = self.next().await;
            if seen == kind {
                return object;
            }
        }
    }

    /// Whether nothing more comes.
    pub(crate) async fn ended(mut self) -> bool {
        self.lines.next().await.is_none()
    }
}

/// A pod with one container, bound to a node.
pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 3, "nodeName": "gpu-server-03",
            "containers": [{"name": "c", "image": "busybox:1", "command": ["sleep", "infinity"]}],
        },
    })
}
