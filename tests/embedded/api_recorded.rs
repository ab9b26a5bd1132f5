//! The embedded API against answers recorded from a real API server (Kubernetes 1.35.4).

use serde_json::{Value, json};

use crate::api_fixture::{Cluster, Events};

const PODS: &str = "/api/v1/namespaces/recordings/pods";

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/api/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

async fn cluster() -> Cluster {
    let cluster = Cluster::new();
    cluster
        .post("/api/v1/namespaces", &json!({"metadata": {"name": "recordings"}}))
        .await
        .expect(201);
    cluster
}

/// Send a recorded request again, about the pod that was made here rather than there.
async fn replay(cluster: &Cluster, exchange: &Value, uids: &[(String, String)]) -> (u16, Value) {
    let text = |field: &str| exchange[field].as_str().unwrap_or_default();
    if text("path").contains("watch=true") {
        let mut events = Events::of(cluster, text("path")).await;
        let (kind, object) = events.next().await;
        return (200, json!({"type": kind, "object": object}));
    }
    let media_type = if text("content_type").is_empty() {
        "application/json"
    } else {
        text("content_type")
    };
    let body = match &exchange["body"] {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        object => {
            let body = object.to_string();
            uids.iter()
                .fold(body, |body, (there, here)| body.replace(there, here))
                .into_bytes()
        }
    };
    let answer = cluster
        .send_bytes(text("method"), text("path"), media_type, body)
        .await;
    (answer.code, answer.object)
}

/// What the two servers must agree on: the whole of a refusal, of an object what was asked for.
fn comparable(answer: &Value) -> Value {
    let mut answer = answer.clone();
    match answer["kind"].as_str() {
        Some("Status") => {
            let shorten = |text: &mut Value| {
                // The rest is a difference of Go structures.
                let short = text
                    .as_str()
                    .map(|text| text.split("\n@@").next().unwrap().to_owned());
                *text = json!(short.map(|text| text.split('\n').next().unwrap_or_default().to_owned()));
            };
            shorten(&mut answer["message"]);
            for cause in answer["details"]["causes"].as_array_mut().into_iter().flatten() {
                shorten(&mut cause["message"]);
            }
            answer
        }
        _ => json!({
            "kind": answer["kind"], "labels": answer["metadata"]["labels"], "data": answer["data"],
            "phase": answer["status"]["phase"], "generation": answer["metadata"]["generation"],
            "command": answer["spec"]["containers"][0]["command"], "qosClass": answer["status"]["qosClass"],
            "policies": [
                &answer["spec"]["restartPolicy"], &answer["spec"]["dnsPolicy"],
                &answer["spec"]["containers"][0]["imagePullPolicy"],
            ],
        }),
    }
}

/// Where the two differ, and why that is all right.
fn is_accepted_difference(note: &str) -> bool {
    // A version in the future waits for it: there is nothing to compare within the test's time. Version 1 is still known.
    note.starts_with("watch from")
}

#[tokio::test]
async fn wrong_and_odd_requests_are_answered_as_recorded() {
    let cluster = cluster().await;
    let recorded = fixture("errors.json");
    let (mut differences, mut uids) = (Vec::new(), Vec::new());
    for exchange in recorded["exchanges"].as_array().unwrap() {
        let note = exchange["note"].as_str().unwrap();
        if is_accepted_difference(note) {
            continue;
        }
        let (code, answer) = replay(&cluster, exchange, &uids).await;
        let (expected, actual) = (comparable(&exchange["answer"]), comparable(&answer));
        if exchange["code"] != code || expected != actual {
            differences.push(format!(
                "{note}:\n  expected {} {expected}\n  actual   {code} {actual}",
                exchange["code"]
            ));
        }
        if note == "created" {
            let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap().to_owned();
            uids.push((uid(&exchange["answer"]), uid(&answer)));
            let running = json!({"status": {"phase": "Running"}});
            cluster
                .merge(&format!("{PODS}/simple/status"), &running)
                .await
                .expect(200);
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn semantic_17_pods_are_shown_as_recorded() {
    let cluster = cluster().await;
    for recorded in fixture("pod_rows.json")["pods"].as_array().unwrap() {
        let (pod, cells) = (&recorded["object"], &recorded["cells"]);
        let name = pod["metadata"]["name"].as_str().unwrap();
        let mut created = pod.clone();
        created["metadata"] = json!({"name": name});
        cluster.post(PODS, &created).await.expect(201);
        cluster
            .merge(
                &format!("{PODS}/{name}/status"),
                &json!({"status": pod["status"]}),
            )
            .await
            .expect(200);
        if pod["metadata"]["deletionTimestamp"].is_string() {
            cluster
                .delete(&format!("{PODS}/{name}"), &json!({}))
                .await
                .expect(200);
        }
        let table = cluster
            .table(&format!("{PODS}?fieldSelector=metadata.name%3D{name}"))
            .await;
        let mut shown = table["rows"][0]["cells"].as_array().unwrap().clone();
        shown.remove(4);
        // How long ago the last restart was depends on the day.
        shown[3] = json!(shown[3].as_str().unwrap().split(' ').next());
        assert_eq!(json!(shown), *cells, "{name}");
        cluster
            .delete(&format!("{PODS}/{name}"), &json!({"gracePeriodSeconds": 0}))
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn the_table_of_pods_has_the_recorded_columns() {
    let table = cluster().await.table(PODS).await;
    let columns: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().collect();
    let shown: Vec<_> = columns
        .iter()
        .filter(|column| column["priority"] == 0)
        .map(|column| &column["name"])
        .collect();
    assert_eq!(shown, ["Name", "Ready", "Status", "Restarts", "Age"]);
    let wide: Vec<_> = columns
        .iter()
        .filter(|column| column["priority"] == 1)
        .map(|column| &column["name"])
        .collect();
    assert_eq!(wide, ["IP", "Node", "Nominated Node", "Readiness Gates"]);
}
