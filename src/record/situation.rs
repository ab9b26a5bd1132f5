//! What a cluster showed at one moment: the pods of a namespace, and its last events.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::ContainerState;

/// What a namespace showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Situation {
    /// Its name.
    pub namespace: String,
    /// Its pods, the youngest first.
    pub pods: Vec<PodSeen>,
    /// Its last events, the newest last.
    pub events: Vec<EventSeen>,
    /// What could not be read, or is left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// A pod as its object described it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// Its node, if it had one.
    pub node: Option<String>,
    /// Its phase, or `Terminating`.
    pub phase: String,
    /// Why it was in that phase or had no node, in one word of Kubernetes.
    pub reason: Option<String>,
    /// The same as a sentence.
    pub message: Option<String>,
    /// Its containers, init containers first.
    pub containers: Vec<ContainerSeen>,
}

/// A container of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSeen {
    /// Its name.
    pub name: String,
    /// What it was doing.
    pub state: ContainerState,
    /// What it waited for, or how it ended.
    pub detail: Option<String>,
}

/// An event of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSeen {
    /// When it last happened.
    pub at: Option<Timestamp>,
    /// `Normal` or `Warning`.
    pub severity: String,
    /// In one word.
    pub reason: String,
    /// What it is about, as in `Pod/job`.
    pub object: String,
    /// As a sentence.
    pub message: String,
    /// How often it has happened.
    pub count: i32,
}

/// Lines below an error, each indented.
impl fmt::Display for Situation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            pods,
            events,
            missing,
        } = self;
        write!(f, "  pods of namespace {namespace} then:")?;
        pods.iter().try_for_each(|pod| write!(f, "\n    {pod}"))?;
        if pods.is_empty() {
            f.write_str(" none")?;
        }
        if !events.is_empty() {
            f.write_str("\n  last events:")?;
        }
        events.iter().try_for_each(|event| write!(f, "\n    {event}"))?;
        missing
            .iter()
            .try_for_each(|what| write!(f, "\n  not shown: {what}"))
    }
}

impl fmt::Display for PodSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node.as_deref().unwrap_or("no node");
        write!(f, "{} on {node}: {}", self.name, self.phase)?;
        let why = [&self.reason, &self.message];
        for part in why.into_iter().flatten() {
            write!(f, ": {part}")?;
        }
        for container in &self.containers {
            write!(f, "; {} {}", container.name, container.state)?;
            if let Some(detail) = &container.detail {
                write!(f, " ({detail})")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for EventSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            severity,
            reason,
            object,
            message,
            ..
        } = self;
        if let Some(at) = self.at {
            write!(f, "{} ", at.strftime("%H:%M:%S"))?;
        }
        write!(f, "{severity} {reason} {object}: {message}")?;
        if self.count > 1 {
            write!(f, " ({} times)", self.count)?;
        }
        Ok(())
    }
}
