//! The log of a container, followed to the end of its life. A stream that breaks is opened again and goes on where it broke
//! off: no line is told twice, and none is lost.
//!
//! Lines are asked for with their times. A log that is opened again begins a second before the newest line; of its first
//! lines as many are passed over as were seen of that time, unless they are newer than any that was seen: then the log was
//! rotated, and what was seen is no longer in it.

mod lines;
mod position;

use std::{io, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use kube::{Api, api::LogParams};
use tokio::io::AsyncRead;
use tokio_util::{codec::FramedRead, compat::FuturesAsyncReadCompatExt};

use self::{lines::Lines, position::Position};
use super::pod::{Container, has_ended, statuses, without_scheme};

/// Pause before a log is opened again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// One life of a container: a restart is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Name of the pod.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// Name of the container.
    pub container: String,
    /// Id of the container, without `runtime://`.
    pub id: String,
}

/// What is known of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Present {
    /// It may print more.
    Lives,
    /// It has ended. Its log may still be there.
    Over,
    /// The log is another life's.
    Another,
}

impl Life {
    /// The present life of a container of a pod.
    pub fn of(pod: &Pod, container: &Container) -> Self {
        Self {
            pod: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            container: container.name.clone(),
            id: container.id.clone(),
        }
    }

    async fn look(&self, pods: &Api<Pod>) -> Present {
        match pods.get_opt(&self.pod).await {
            Ok(Some(pod)) => self.judge(&pod),
            Ok(None) => Present::Over,
            // An API server that is away says nothing about the container.
            Err(_) => Present::Lives,
        }
    }

    fn judge(&self, pod: &Pod) -> Present {
        if pod.metadata.uid.as_ref().is_some_and(|uid| *uid != self.uid) {
            return Present::Another;
        }
        let status = statuses(pod)
            .map(|(status, _)| status)
            .find(|status| status.name == self.container);
        let id = status.and_then(|status| status.container_id.as_deref());
        if id.is_some_and(|id| without_scheme(id) != self.id) {
            return Present::Another;
        }
        let end = |state: &ContainerState| state.terminated.clone();
        let ended = status.and_then(|status| status.state.as_ref()).and_then(end);
        let waits = status.and_then(|status| status.last_state.as_ref()).and_then(end);
        let ended = ended.or(waits.filter(|last| last.container_id.as_deref() == id));
        if ended.is_some() || has_ended(pod) {
            Present::Over
        } else {
            Present::Lives
        }
    }
}

/// Hand on every line of a life's log until `hear` has an answer; `None` if the life ended before.
///
/// # Errors
/// The API server does not let the log be read. Everything else is tried again.
pub async fn follow<T>(
    pods: &Api<Pod>,
    life: &Life,
    mut hear: impl FnMut(&str) -> Option<T>,
) -> kube::Result<Option<T>> {
    let mut position = Position::default();
    loop {
        let parameters = LogParams {
            container: Some(life.container.clone()),
            follow: true,
            timestamps: true,
            since_time: position.since(),
            ..LogParams::default()
        };
        let opened = pods.log_stream(&life.pod, &parameters).await;
        // Only now: what lives after the log was opened has not been followed by another life before.
        let present = life.look(pods).await;
        let over = present == Present::Over;
        match opened {
            _ if present == Present::Another => return Ok(None),
            Ok(log) => match read(log.compat(), &mut position, over, &mut hear).await {
                Ok(Some(answer)) => return Ok(Some(answer)),
                Ok(None) if over => return Ok(None),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, ?life, "log broken off"),
            },
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                return Err(kube::Error::Api(status));
            }
            Err(kube::Error::Api(status)) if over && status.code < 500 => return Ok(None),
            Err(error) => tracing::debug!(%error, ?life, "no log yet"),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Read an opened log to its end. A last line that is not whole may be the beginning of one, unless nothing more comes.
async fn read<T>(
    log: impl AsyncRead,
    position: &mut Position,
    over: bool,
    hear: &mut impl FnMut(&str) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut seen = position.overlap();
    let mut lines = std::pin::pin!(FramedRead::new(log, Lines::default()));
    while let Some(line) = lines.next().await {
        let line = line?;
        let time = line.time.or(position.newest).unwrap_or(Timestamp::MIN);
        if seen.covers(time) || !(line.whole || over) {
            continue;
        }
        position.note(time);
        if let Some(answer) = line.text.as_deref().and_then(&mut *hear) {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use axum::body::Body as Answer;
    use futures::stream;
    use http::{Request, Response};
    use kube::{Client, client::Body};
    use serde_json::{Value, json};
    use tower::service_fn;

    use super::*;

    /// Six lines; the second and third of one time, the fourth before the third in time.
    const LOG: &str = "\
        2026-11-24T21:35:46.900000001Z one\n\
        2026-11-24T21:35:47.100000000Z two\n\
        2026-11-24T21:35:47.100000000Z three\n\
        2026-11-24T21:35:47.099999999Z four\n\
        2026-11-24T21:35:48.500000000Z five\n\
        2026-11-24T21:35:48.600000000Z six";

    /// What the server does when the log is opened for the next time.
    struct Opening {
        /// What it sends.
        text: String,
        /// Whether the connection is lost then.
        breaks: bool,
        /// What the container's status is meanwhile.
        status: Value,
    }

    fn life() -> Life {
        Life {
            pod: "p".into(),
            uid: "u".into(),
            container: "c".into(),
            id: "1".into(),
        }
    }

    fn status(id: &str, state: &str) -> Value {
        let state = json!({state: {"exitCode": 0}});
        json!([{"name": "c", "containerID": format!("containerd://{id}"), "state": state, "image": "", "imageID": "",
            "ready": true, "restartCount": 0}])
    }

    fn opening(text: &str, breaks: bool, state: &str) -> Opening {
        Opening {
            text: text.to_owned(),
            breaks,
            status: status("1", state),
        }
    }

    fn json_answer(code: u16, body: &Value) -> Response<Answer> {
        let body = Answer::from(body.to_string());
        Response::builder().status(code).body(body).unwrap()
    }

    /// A server with one pod, and the `sinceTime` of each request for its log.
    fn server(script: Vec<Opening>) -> (Api<Pod>, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&asked);
        let script = Arc::new(script);
        let answer = move |request: Request<Body>| {
            let (script, told) = (Arc::clone(&script), Arc::clone(&told));
            async move {
                let mut told = told.lock().unwrap();
                let is_log = request.uri().path().ends_with("/log");
                if is_log {
                    let query = request.uri().query().unwrap().to_owned();
                    let since = query.split('&').find(|pair| pair.starts_with("sinceTime="));
                    told.push(since.unwrap_or_default().to_owned());
                }
                let now = &script[told.len() - 1];
                if !is_log {
                    let pod = json!({"metadata": {"name": "p", "uid": "u"}, "status": {"containerStatuses": now.status}});
                    return Ok::<_, Infallible>(json_answer(200, &pod));
                }
                let text = Ok(now.text.clone());
                let end = now.breaks.then(|| Err(io::Error::other("cut")));
                let body = Answer::from_stream(stream::iter([text].into_iter().chain(end)));
                Ok(Response::new(body))
            }
        };
        (Api::namespaced(Client::new(service_fn(answer), "n"), "n"), asked)
    }

    async fn heard(script: Vec<Opening>) -> (Vec<String>, Vec<String>) {
        let (pods, asked) = server(script);
        let life = life();
        let mut lines = Vec::new();
        let end = follow(&pods, &life, |line| {
            lines.push(line.to_owned());
            None::<()>
        });
        assert_eq!(end.await.unwrap(), None);
        let asked = asked.lock().unwrap().clone();
        (lines, asked)
    }

    fn until(word: &str) -> &'static str {
        &LOG[..LOG.find(word).unwrap()]
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_breaks_goes_on_where_it_broke_off() {
        let since_the_second_before = &LOG[LOG.find("2026-11-24T21:35:47").unwrap()..];
        let (lines, asked) = heard(vec![
            // In the middle of a line, and at the end of one.
            opening(until("hree"), true, "running"),
            opening(until("2026-11-24T21:35:48"), true, "running"),
            // Ended as if the log were whole, by something in between.
            opening(until("ive"), false, "running"),
            opening(LOG, true, "terminated"),
            opening(since_the_second_before, false, "terminated"),
        ])
        .await;
        assert_eq!(lines, ["one", "two", "three", "four", "five", "six"]);
        let second = |second| format!("sinceTime=2026-11-24T21%3A35%3A{second}Z");
        assert_eq!(
            asked,
            [String::new(), second(46), second(46), second(46), second(47)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_rotated_log_hides_nothing_new() {
        let new = "2026-11-24T21:35:47.100000001Z new\n";
        let (lines, _) = heard(vec![
            opening(until("2026-11-24T21:35:48"), true, "running"),
            opening(new, false, "terminated"),
        ])
        .await;
        assert_eq!(lines, ["one", "two", "three", "four", "new"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_that_was_started_again_is_another_life() {
        let again = Opening {
            status: status("2", "running"),
            ..opening("2026-11-24T21:35:49Z another\n", false, "running")
        };
        let (lines, _) = heard(vec![opening(LOG, false, "running"), again]).await;
        assert_eq!(lines, ["one", "two", "three", "four", "five"]);
    }

    #[tokio::test]
    async fn an_answer_ends_it_and_a_refusal_too() {
        let life = life();
        let (pods, _) = server(vec![opening(LOG, false, "running")]);
        let answer = follow(&pods, &life, |line| {
            line.strip_prefix("th").map(ToOwned::to_owned)
        });
        assert_eq!(answer.await.unwrap(), Some("ree".to_owned()));
        let refusing = service_fn(|_: Request<Body>| async {
            let forbidden =
                json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403});
            Ok::<_, Infallible>(json_answer(403, &forbidden))
        });
        let pods = Api::namespaced(Client::new(refusing, "n"), "n");
        assert!(follow(&pods, &life, |_| None::<()>).await.is_err());
    }

    #[test]
    fn a_crash_is_the_end_of_a_life_and_a_pod_of_the_same_name_another_one() {
        let life = life();
        let judged = |uid: &str, mut statuses: Value, last: &str| {
            statuses[0]["lastState"] = json!({"terminated": {"exitCode": 1, "containerID": last}});
            let pod = json!({"metadata": {"uid": uid}, "status": {"containerStatuses": statuses}});
            life.judge(&serde_json::from_value(pod).unwrap())
        };
        assert_eq!(
            judged("u", status("1", "waiting"), "containerd://1"),
            Present::Over
        );
        assert_eq!(
            judged("u", status("1", "running"), "containerd://0"),
            Present::Lives
        );
        assert_eq!(judged("v", status("1", "running"), ""), Present::Another);
    }
}
