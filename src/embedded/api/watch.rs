//! Watches: newline-delimited JSON events that follow the log of changes.

use std::{borrow::Cow, collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

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
    store::{Change, Expired, Object, Store},
    target::Target,
};

/// Bookmarks come this often, and a last one shortly before the end.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// How long a watch lasts whose client does not say: the API server's `--min-request-timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);
/// The longest that a watch lasts, whatever its client asks for.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

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

/// Start a watch. Under the store's lock it only takes references; what it shows is made as the client reads it.
pub(crate) fn start(store: Arc<Store>, request: WatchRequest) -> Response {
    let now = Instant::now();
    let timeout = request.timeout.unwrap_or(DEFAULT_TIMEOUT).min(LONGEST);
    let mut watcher = Watcher {
        resource: request.target.resource.qualified(),
        changed: store.subscribe(),
        cursor: 0,
        ahead: VecDeque::new(),
        deadline: now + timeout,
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

/// Something that may be to show.
enum Item {
    /// An object of the state at the start.
    Present(Object),
    /// What was written later.
    Written(Arc<Change>),
    /// A bookmark or an error.
    Line(Bytes),
}

struct Watcher {
    store: Arc<Store>,
    request: WatchRequest,
    /// Of which resource, as keys name it.
    resource: String,
    changed: watch::Receiver<u64>,
    /// Everything up to this version has been shown, or is ahead.
    cursor: u64,
    ahead: VecDeque<Item>,
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
        (self.ahead, self.cursor) = self.store.read(|state| {
            let namespace = self.request.target.namespace.as_deref();
            let present = state.list(&self.resource, namespace);
            let items = present.map(|(_, object)| Item::Present(object.clone()));
            (items.collect(), state.revision())
        });
        if self.request.mark_initial {
            let mut bookmark = self.bookmark_object();
            bookmark["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
            self.push_line("BOOKMARK", &bookmark);
        }
    }

    /// The next event as a line; none at the end of the watch.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            while let Some(item) = self.ahead.pop_front() {
                if let Some(line) = self.show(item) {
                    return Some(line);
                }
            }
            if self.ended {
                return None;
            }
            self.changed.mark_unchanged();
            self.catch_up();
            if self.ahead.is_empty() && !self.ended {
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

    /// Take what was written since the cursor.
    fn catch_up(&mut self) {
        let outcome = self.store.read(|state| {
            let concerning = state.since(self.cursor)?.filter(|change| self.concerns(change));
            let items: VecDeque<_> = concerning.cloned().map(Item::Written).collect();
            Ok((items, self.cursor.max(state.revision())))
        });
        match outcome {
            Ok((items, revision)) => (self.ahead, self.cursor) = (items, revision),
            Err(expired) => self.expire(expired),
        }
    }

    fn expire(&mut self, Expired(oldest): Expired) {
        let message = format!("too old resource version: {} ({oldest})", self.cursor);
        self.push_line("ERROR", &ApiError::expired(message).to_status());
        self.ended = true;
    }

    fn concerns(&self, change: &Change) -> bool {
        let namespace = self.request.target.namespace.as_ref();
        change.key.resource == self.resource
            && namespace.is_none_or(|namespace| *namespace == change.key.namespace)
    }

    fn show(&self, item: Item) -> Option<Bytes> {
        match item {
            Item::Present(object) => {
                let selected = self.request.selector.matches(&object);
                selected.then(|| self.line("ADDED", &object))
            }
            Item::Written(change) => self.show_change(&change),
            Item::Line(line) => Some(line),
        }
    }

    /// Show a change as the selector makes it look: what stops matching is deleted, what starts to match is added.
    fn show_change(&self, change: &Change) -> Option<Bytes> {
        let selector = &self.request.selector;
        let matched = change
            .before
            .as_ref()
            .is_some_and(|before| selector.matches(before));
        let matches = !change.deleted && selector.matches(&change.after);
        match (matched, matches) {
            (false, true) => Some(self.line("ADDED", &change.after)),
            (true, true) => Some(self.line("MODIFIED", &change.after)),
            (true, false) => Some(self.line("DELETED", &last_seen(change))),
            (false, false) => None,
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
        self.push_line("BOOKMARK", &bookmark);
    }

    fn bookmark_object(&self) -> Value {
        let resource = &self.request.target.resource;
        let metadata = json!({"resourceVersion": self.cursor.to_string(), "creationTimestamp": null});
        json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata})
    }

    /// An object in the form asked for.
    fn line(&self, kind: &str, object: &Value) -> Bytes {
        line(
            kind,
            &self.request.form.object(&self.request.target.resource, object),
        )
    }

    fn push_line(&mut self, kind: &str, object: &Value) {
        self.ahead.push_back(Item::Line(line(kind, object)));
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into()
}

/// The object as the watcher knew it, under the version of the change.
fn last_seen(change: &Change) -> Cow<'_, Value> {
    let Some(before) = change.before.as_deref().filter(|_| !change.deleted) else {
        return Cow::Borrowed(&change.after);
    };
    let mut object = before.clone();
    object["metadata"]["resourceVersion"] = json!(change.revision.to_string());
    Cow::Owned(object)
}
