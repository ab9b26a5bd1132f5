//! Which of several orchestrators works: the one that holds the lease. It keeps them out of each other's way; what keeps
//! them from harm is that every write names the version that was read.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::k8s::rights::LEASE as NAME;

/// A lease that was not renewed for so long may be taken.
const TERM: Duration = Duration::from_secs(15);
/// Who could not renew it for so long stops working.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(10);
/// Longest time for one try.
const RENEWED_WITHIN: Duration = Duration::from_secs(8);
/// Time between two tries to take or renew it.
const PACE: Duration = Duration::from_secs(2);

/// A candidate.
pub struct Candidate {
    leases: Api<Lease>,
    identity: String,
    /// The version of the lease that was seen last, and when it was seen first: clocks of others are not trusted.
    seen: Option<(Option<String>, Instant)>,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// Who holds the lease in a namespace, where anybody does.
pub async fn holder(client: &Client, namespace: &str) -> kube::Result<Option<String>> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let lease = leases.get_opt(NAME).await?;
    let holder = lease.and_then(|lease| lease.spec?.holder_identity);
    Ok(holder.filter(|holder| !holder.is_empty()))
}

/// Name of this host, by which the holder is found: in a pod that of the pod.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

impl Candidate {
    /// A candidate for the lease in `namespace`, unlike any other.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            identity: format!("{}_{}", host(), Uuid::new_v4()),
            seen: None,
        }
    }

    /// Wait until the lease is held.
    pub async fn win(&mut self) {
        loop {
            match timeout(RENEWED_WITHIN, self.hold()).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be asked for"),
                Err(_) => tracing::warn!("the lease cannot be asked for: no answer"),
            }
            sleep(PACE).await;
        }
    }

    /// Renew the lease until it is lost.
    pub async fn keep(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < GIVEN_UP_AFTER {
            sleep(PACE).await;
            match timeout(RENEWED_WITHIN, self.hold()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be renewed"),
                Err(_) => tracing::warn!("the lease cannot be renewed: no answer"),
            }
        }
    }

    /// Let others have it at once.
    pub async fn release(&self) {
        let release = async {
            let mut lease = self.leases.get(NAME).await?;
            if self.is_mine(&lease) {
                lease.spec.get_or_insert_default().holder_identity = None;
                self.leases.replace(NAME, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        if let Ok(Err(error)) = timeout(PACE, release).await {
            tracing::warn!(%error, "the lease is not released, and runs out");
        }
    }

    /// Take or renew it, unless somebody else holds it.
    async fn hold(&mut self) -> kube::Result<bool> {
        let Some(mut lease) = self.leases.get_opt(NAME).await? else {
            return Self::written(
                self.leases
                    .create(&PostParams::default(), &self.claimed(Lease::default()))
                    .await,
            );
        };
        let version = lease.metadata.resource_version.clone();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != version) {
            self.seen = Some((version, Instant::now()));
        }
        let held = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref());
        let run_out = self
            .seen
            .as_ref()
            .is_some_and(|(_, since)| since.elapsed() > TERM);
        if held.is_some() && !self.is_mine(&lease) && !run_out {
            return Ok(false);
        }
        lease = self.claimed(lease);
        Self::written(self.leases.replace(NAME, &PostParams::default(), &lease).await)
    }

    /// Whether a write was accepted; a conflict means that somebody else was faster.
    fn written(written: kube::Result<Lease>) -> kube::Result<bool> {
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_mine(&self, lease: &Lease) -> bool {
        let spec = lease.spec.as_ref();
        spec.and_then(|spec| spec.holder_identity.as_deref()) == Some(&self.identity)
    }

    fn claimed(&self, lease: Lease) -> Lease {
        let (before, now) = (
            lease.spec.clone().unwrap_or_default(),
            MicroTime(Timestamp::now()),
        );
        let mine = self.is_mine(&lease);
        let transitions = before.lease_transitions.unwrap_or(0);
        Lease {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                ..lease.metadata
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(TERM.as_secs()).ok(),
                acquire_time: before.acquire_time.filter(|_| mine).or(Some(now.clone())),
                renew_time: Some(now),
                lease_transitions: Some(if mine { transitions } else { transitions + 1 }),
                ..before
            }),
        }
    }
}
