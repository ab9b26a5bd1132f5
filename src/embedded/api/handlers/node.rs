//! What the kubelet answers: logs and exec.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use http::{header::CONTENT_TYPE, request::Parts};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio_stream::wrappers::ReceiverStream;

use super::Call;
use crate::embedded::{
    ContainerKey, ExecRequest, LogOptions,
    api::{
        exec,
        query::Query,
        status::{ApiError, Cause, Names},
        store::Object,
        verbs::text,
    },
};

/// `…/pods/x/log`.
pub(super) async fn log(call: &Call) -> Result<Response, ApiError> {
    let (pod, key) = container(call)?;
    let (options, mut limit) = log_options(&call.query, &key.pod)?;
    if text(&pod, "/spec/nodeName").is_empty() {
        return Ok(([(CONTENT_TYPE, "text/plain")], Body::empty()).into_response());
    }
    let waiting = waiting(&pod, &key.container).filter(|_| !options.previous);
    let lines = call
        .server
        .kubelet()?
        .logs(key, options)
        .await
        .map_err(|refusal| ApiError::bad_request(refusal + &waiting.unwrap_or_default()))?;
    let wanted = ReceiverStream::new(lines).scan(false, move |full, mut chunk| {
        let was_full = *full;
        chunk.truncate(limit);
        limit -= chunk.len();
        *full = limit == 0;
        std::future::ready((!was_full).then_some(chunk))
    });
    let body = Body::from_stream(wanted.map(Ok::<_, std::convert::Infallible>));
    Ok(([(CONTENT_TYPE, "text/plain")], body).into_response())
}

/// What the query asks for, and how many bytes of it at most.
fn log_options(query: &Query, pod: &str) -> Result<(LogOptions, usize), ApiError> {
    let [seconds, tail, limit] =
        ["sinceSeconds", "tailLines", "limitBytes"].map(|name| query.number::<i64>(name));
    let (seconds, tail, limit) = (seconds?, tail?, limit?);
    let since = match query.text("sinceTime") {
        "" => None,
        time => Some(
            time.parse::<Timestamp>()
                .map_err(|error| ApiError::bad_request(format!("sinceTime: {error}")))?,
        ),
    };
    let mut causes = Vec::new();
    if let Some(tail) = tail.filter(|tail| *tail < 0) {
        causes.push(Cause::invalid(
            "tailLines",
            &tail.into(),
            "must be greater than or equal to 0",
        ));
    }
    if let Some(limit) = limit.filter(|limit| *limit < 1) {
        causes.push(Cause::invalid(
            "limitBytes",
            &limit.into(),
            "must be greater than 0",
        ));
    }
    match seconds {
        Some(_) if since.is_some() => {
            let rule = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            causes.push(Cause::forbidden("", rule));
        }
        Some(seconds) if seconds < 1 => {
            causes.push(Cause::invalid(
                "sinceSeconds",
                &seconds.into(),
                "must be greater than 0",
            ));
        }
        _ => {}
    }
    if !query.text("stream").is_empty() {
        causes.push(Cause::forbidden("stream", "may not be specified"));
    }
    if !causes.is_empty() {
        let names = Names {
            group: "",
            plural: "pods",
            kind: "PodLogOptions",
        };
        return Err(ApiError::invalid(names, pod, &causes));
    }
    let ago = |seconds| {
        Timestamp::now()
            .checked_sub(SignedDuration::from_secs(seconds))
            .unwrap_or(Timestamp::MIN)
    };
    let options = LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        tail_lines: tail.and_then(|lines| lines.try_into().ok()),
        since: since.or(seconds.map(ago)),
        timestamps: query.flag("timestamps"),
    };
    let limit = limit.and_then(|bytes| bytes.try_into().ok());
    Ok((options, limit.unwrap_or(usize::MAX)))
}

/// `…/pods/x/exec`.
pub(super) async fn exec(call: &Call, parts: &mut Parts) -> Result<Response, ApiError> {
    let (pod, key) = container(call)?;
    if text(&pod, "/spec/nodeName").is_empty() {
        return Err(ApiError::bad_request(format!(
            "pod {} does not have a host assigned",
            key.pod
        )));
    }
    let request = ExecRequest {
        key,
        command: call.query.all("command").map(ToOwned::to_owned).collect(),
        stdin: call.query.flag("stdin"),
        tty: call.query.flag("tty"),
    };
    if request.command.is_empty() {
        return Err(ApiError::bad_request(
            "you must specify at least 1 command for the container",
        ));
    }
    exec::serve(&call.server, parts, request).await
}

/// The pod, and the container that is meant: the only one, unless it is named.
fn container(call: &Call) -> Result<(Object, ContainerKey), ApiError> {
    let key = call.target.object_key()?;
    let pod = call
        .server
        .store
        .read(|state| state.get(&key).cloned())
        .ok_or_else(|| call.target.not_found())?;
    let container = choose(&pod, &key.name, call.query.text("container"))?;
    let key = ContainerKey {
        namespace: key.namespace,
        pod: key.name,
        container,
    };
    Ok((pod, key))
}

/// `: PodInitializing`, or what else a container waits for.
fn waiting(pod: &Value, container: &str) -> Option<String> {
    let lists = ["containerStatuses", "initContainerStatuses"].map(|list| pod["status"][list].as_array());
    let mut statuses = lists.into_iter().flatten().flatten();
    let status = statuses.find(|status| text(status, "/name") == container)?;
    let reason = status.pointer("/state/waiting/reason")?.as_str()?;
    Some(format!(": {reason}"))
}

fn choose(pod: &Value, name: &str, wanted: &str) -> Result<String, ApiError> {
    let names = |list: &str| -> Vec<&str> {
        let containers = pod["spec"][list].as_array();
        containers
            .into_iter()
            .flatten()
            .map(|container| text(container, "/name"))
            .collect()
    };
    let (init, main) = (names("initContainers"), names("containers"));
    match (wanted, main.as_slice()) {
        ("", [only]) => Ok((*only).to_owned()),
        ("", many) => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            init.iter().chain(many).copied().collect::<Vec<_>>().join(" ")
        ))),
        (wanted, _) if init.contains(&wanted) || main.contains(&wanted) => Ok(wanted.to_owned()),
        (wanted, _) => Err(ApiError::bad_request(format!(
            "container {wanted} is not valid for pod {name}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_must_be_named_where_there_are_several() {
        let one = json!({"spec": {"containers": [{"name": "a"}]}});
        let two = json!({"spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]}});
        let message = |outcome: Result<String, ApiError>| outcome.map_err(|error| error.message);
        assert_eq!(message(choose(&one, "p", "")), Ok("a".into()));
        assert_eq!(message(choose(&two, "p", "i")), Ok("i".into()));
        assert_eq!(
            message(choose(&two, "p", "")),
            Err("a container name must be specified for pod p, choose one of: [i a b]".into())
        );
        assert_eq!(
            message(choose(&one, "p", "x")),
            Err("container x is not valid for pod p".into())
        );
    }
}
