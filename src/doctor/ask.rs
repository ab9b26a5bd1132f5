//! Asking the API server: every answer within a limit, every refusal as a sentence.

use std::{fmt::Debug, future::Future, time::Duration};

use http::{Request, header::DATE};
use http_body_util::BodyExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::{Api, Client, Resource, api::ListParams, client::Body};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{
    Known,
    clocks::{self, Offset},
};

/// How long the API server may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// What the API server said, without what the client adds around it.
pub(super) fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => {
            let message = status.message.trim_end_matches([':', ' ']);
            forbidden(message).unwrap_or_else(|| message.to_owned())
        }
        other => other.to_string(),
    }
}

/// Who is forbidden it is known; a table has room for what.
fn forbidden(message: &str) -> Option<String> {
    let (_, rest) = message.split_once(" cannot ")?;
    let (verb, rest) = rest.split_once(" resource \"")?;
    let (resource, _) = rest.split_once('"')?;
    Some(format!("not allowed to {verb} {resource}"))
}

/// Give up on what takes too long.
pub(super) async fn limited<T>(reading: impl Future<Output = Known<T>>) -> Known<T> {
    let read = timeout(ANSWERS_WITHIN, reading).await;
    read.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWERS_WITHIN.as_secs())))
}

/// All objects of a kind.
pub(super) async fn list<K>(api: Api<K>) -> Known<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let everything = ListParams::default();
    let found = limited(async { api.list(&everything).await.map_err(|error| told(&error)) }).await;
    found.map(|list| list.items)
}

/// The API server's version, and its clock from the same answer.
pub(super) async fn version(client: &Client) -> Known<(String, Known<Offset>)> {
    let request = Request::get("/version").body(Body::empty());
    let request = request.map_err(|error| error.to_string())?;
    let before = Timestamp::now();
    let answer = client.send(request).await.map_err(|error| told(&error))?;
    let after = Timestamp::now();
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    let clock = match date {
        Some(date) => clocks::of_answer(before, date, after),
        None => Err("the API server's answers carry no Date".to_owned()),
    };
    let (head, body) = answer.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    let info: Info = serde_json::from_slice(&body).map_err(|_| format!("GET /version: {}", head.status))?;
    Ok((info.git_version, clock))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_refusal_is_told_in_a_few_words() {
        let refusal = |message: &str| told(&kube::Error::Api(Status::failure(message, "Forbidden").boxed()));
        let long = "services is forbidden: User \"u\" cannot list resource \"services\" in API group \"\" in the namespace \"n\"";
        assert_eq!(refusal(long), "not allowed to list services");
        assert_eq!(refusal("pods \"p\" is forbidden: "), "pods \"p\" is forbidden");
    }
}
