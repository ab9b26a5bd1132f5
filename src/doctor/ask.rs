//! Asking the API server: every answer within a limit, every refusal as a sentence.

use std::{fmt::Debug, future::Future, time::Duration};

use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Known;
use crate::k8s::explain;

/// How long the API server may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

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
    let asked = async {
        api.list(&everything)
            .await
            .map_err(|error| explain::brief(&error))
    };
    limited(asked).await.map(|list| list.items)
}
