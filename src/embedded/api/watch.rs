//! Watches: newline-delimited JSON events that follow the log of changes.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use futures::stream;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::{
    represent::Form,
    selector::Selector,
    status::ApiError,
    store::{Change, State, Store},
    target::Target,
};

/// Bookmarks come this often, and a last one shortly before the end.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// How long a watch lasts whose client does not say: the API server's `--min-request-timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);

/// What a watch is asked to show.
#[derive(Debug, Clone)]
pub(crate) struct WatchRequest {
    pub(crate) target: Target,
    pub(crate) selector: Selector,
    pub(crate) form: Form,
    /// Show what follows this version; none for the current state first.
    pub(crate) after: Option<u64>,
    pub(crate) bookmarks: bool,
    /// A bookmark says where the current state ends (`sendInitialEvents`).
    pub(crate) mark_initial: bool,
    pub(crate) timeout: Option<Duration>,
}

/// Start a watch.
pub(crate) fn start(store: Arc<Store>, request: WatchRequest) -> Response {
    let now = Instant::now();
    let mut watcher = Watcher {
        changed: store.subscribe(),
        cursor: 0,
        ready: VecDeque::new(),
        deadline: now + request.timeout.unwrap_or(DEFAULT_TIMEOUT),
        bookmark: now + BOOKMARK_INTERVAL,
        ended: false,
        request,
        store,
    };
    watcher.begin();
    let events = stream::unfold(watcher, |mut watcher| async {
        let event = watcher.next().await?;
        Some((Ok::<_, Infallible>(event), watcher))
    });
    ([(CONTENT_TYPE, "application/json")], Body::from_stream(events)).into_response()
}

struct Watcher {
    store: Arc<Store>,
    request: WatchRequest,
    changed: watch::Receiver<u64>,
    /// Everything up to this version has been shown.
    cursor: u64,
    ready: VecDeque<Bytes>,
    deadline: Instant,
    bookmark: Instant,
    ended: bool,
}

impl Watcher {
    fn begin(&mut self) {
        if let Some(after) = self.request.after {
            self.cursor = after;
            return;
        }
        let store = self.store.clone();
        store.read(|state| self.show_current(state));
        if self.request.mark_initial {
            let mut bookmark = self.bookmark_object();
            bookmark["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
            self.push("BOOKMARK", &bookmark);
        }
    }

    fn show_current(&mut self, state: &State) {
        let resource = self.request.target.resource.qualified();
        let namespace = self.request.target.namespace.clone();
        for (_, object) in state.list(&resource, namespace.as_deref()) {
            if self.request.selector.matches(object) {
                self.push_object("ADDED", object);
            }
        }
        self.cursor = state.revision();
    }

    /// The next event as a line; none at the end of the watch.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            self.changed.mark_unchanged();
            self.catch_up();
            if self.ready.is_empty() && !self.ended {
                self.wait().await;
            }
        }
    }

    async fn wait(&mut self) {
        let next_bookmark = if self.request.bookmarks {
            self.bookmark
        } else {
            self.deadline
        };
        tokio::select! {
            outcome = self.changed.changed() => self.ended |= outcome.is_err(),
            () = tokio::time::sleep_until(self.deadline) => self.ended = true,
            () = tokio::time::sleep_until(next_bookmark), if next_bookmark < self.deadline => self.push_bookmark(),
        }
    }

    /// Show what was written since the cursor.
    fn catch_up(&mut self) {
        let store = self.store.clone();
        let outcome = store.read(|state| {
            let changes: Vec<_> = state
                .since(self.cursor)?
                .filter(|change| self.concerns(change))
                .cloned()
                .collect();
            Ok((changes, self.cursor.max(state.revision())))
        });
        match outcome {
            Ok((changes, revision)) => {
                for change in &changes {
                    self.show(change);
                }
                self.cursor = revision;
            }
            Err(expired) => self.expire(expired),
        }
    }

    fn expire(&mut self, super::store::Expired(oldest): super::store::Expired) {
        let message = format!("too old resource version: {} ({oldest})", self.cursor);
        self.push("ERROR", &ApiError::expired(message).to_status());
        self.ended = true;
    }

    fn concerns(&self, change: &Change) -> bool {
        let target = &self.request.target;
        change.key.resource == target.resource.qualified()
            && target
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == change.key.namespace)
    }

    /// Show a change as the selector makes it look: what stops matching is deleted, what starts to match is added.
    fn show(&mut self, change: &Change) {
        let selector = &self.request.selector;
        let matched = change
            .before
            .as_ref()
            .is_some_and(|before| selector.matches(before));
        let matches = !change.deleted && selector.matches(&change.after);
        match (matched, matches) {
            (false, true) => self.push_object("ADDED", &change.after),
            (true, true) => self.push_object("MODIFIED", &change.after),
            (true, false) => self.push_object("DELETED", &last_seen(change)),
            (false, false) => {}
        }
    }

    fn push_bookmark(&mut self) {
        let last = self.deadline - LAST_BOOKMARK;
        let next = self.bookmark + BOOKMARK_INTERVAL;
        self.bookmark = if self.bookmark < last {
            next.min(last)
        } else {
            self.deadline
        };
        let bookmark = self.bookmark_object();
        self.push("BOOKMARK", &bookmark);
    }

    fn bookmark_object(&self) -> Value {
        let resource = &self.request.target.resource;
        let metadata = json!({"resourceVersion": self.cursor.to_string(), "creationTimestamp": null});
        json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata})
    }

    fn push_object(&mut self, kind: &str, object: &Value) {
        let shown = self.request.form.object(&self.request.target.resource, object);
        self.push(kind, &shown);
    }

    fn push(&mut self, kind: &str, object: &Value) {
        self.ready
            .push_back(format!("{}\n", json!({"type": kind, "object": object})).into());
    }
}

/// The object as the watcher knew it, under the version of the change.
fn last_seen(change: &Change) -> Value {
    if change.deleted {
        return (*change.after).clone();
    }
    let mut object = change.before.as_deref().cloned().unwrap_or_default();
    object["metadata"]["resourceVersion"] = json!(change.revision.to_string());
    object
}
