//! The agent's side: accepts connections, each of which opens a session or takes one up again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinSet, time};
use tokio_util::{codec::LinesCodecError, sync::CancellationToken};
use uuid::Uuid;

use super::{
    Wire,
    protocol::{self, Call, EventId, Hello, Lines, Message, Request, VERSION, Welcome},
    session::Session,
};
use crate::{
    record::clock::monotonic_ns,
    sample::{local::LocalMeter, mounts::Mounts},
};

/// Sessions at a time. A harness has one; each keeps up to about 4 MiB of readings that were not fetched, and the agent's pod
/// may have 64 MiB.
pub(super) const SESSIONS: usize = 8;
/// Connections at a time: one for each session, and one that takes it over.
const CONNECTIONS: usize = 2 * SESSIONS;
/// How long a session is kept without a connection.
const KEPT: Duration = Duration::from_secs(600);

/// The agent of a node.
#[derive(Debug, Clone)]
pub struct Agent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    mounts: Mounts,
    sessions: Mutex<HashMap<Uuid, Arc<Session>>>,
}

impl Agent {
    /// An agent that reads the cgroups below these mounts.
    pub fn new(mounts: Mounts) -> Self {
        Self(Arc::new(Inner {
            mounts,
            sessions: Mutex::default(),
        }))
    }

    /// Serve until `shutdown`.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                accepted = listener.accept() => match accepted {
                    Ok(_) if connections.len() >= CONNECTIONS => tracing::warn!("too many connections"),
                    Ok((stream, _)) => {
                        let _ = stream.set_nodelay(true);
                        connections.spawn(self.clone().converse(stream));
                    }
                    // Out of descriptors, for instance: others are closing.
                    Err(error) => {
                        tracing::warn!(%error, "connection not accepted");
                        time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// Serve one connection to its end; the session outlives it.
    pub async fn converse(self, wire: impl Wire) {
        let mut lines = protocol::lines(wire);
        match self.greet(&mut lines).await {
            Ok(Some((hello, session))) => {
                let mine = session.take_over();
                let talked = tokio::select! {
                    () = mine.cancelled() => Ok(false),
                    talked = talk(&mut lines, &session, hello.seen) => talked,
                };
                match talked {
                    Ok(true) => self.close(hello.session),
                    Ok(false) => {}
                    Err(error) => tracing::info!(%error, "connection lost"),
                }
                self.expire(hello.session, mine);
            }
            Ok(None) => {}
            Err(error) => tracing::info!(%error, "no session"),
        }
    }

    /// Open the session that the first line asks for.
    async fn greet<W: Wire>(
        &self,
        lines: &mut Lines<W>,
    ) -> Result<Option<(Hello, Arc<Session>)>, LinesCodecError> {
        let Some(hello) = protocol::read::<_, Hello>(lines).await? else {
            return Ok(None);
        };
        let (welcome, session) = self.welcome(&hello);
        protocol::write(lines, &welcome).await?;
        Ok(session.map(|session| (hello, session)))
    }

    fn welcome(&self, hello: &Hello) -> (Welcome, Option<Arc<Session>>) {
        let refused = |reason: String| (Welcome::Refused { reason }, None);
        if hello.protocol != VERSION {
            return refused(format!(
                "it speaks version {VERSION} of the protocol, the harness {}: use one image for both",
                hello.protocol
            ));
        }
        let Some((session, resumed)) = self.session(hello.session) else {
            return refused(format!(
                "it has {SESSIONS} sessions already: wait until another run has ended"
            ));
        };
        if resumed && session.events_after(hello.seen).is_none() {
            return refused("readings that were not fetched in time are no longer kept".into());
        }
        let cgroup = self.0.mounts.mode().to_owned();
        (Welcome::Welcome { cgroup, resumed }, Some(session))
    }

    /// The session, and whether it was there; `None` where there are too many.
    fn session(&self, id: Uuid) -> Option<(Arc<Session>, bool)> {
        let mut sessions = self.sessions();
        if let Some(known) = sessions.get(&id) {
            return Some((Arc::clone(known), true));
        }
        if sessions.len() >= SESSIONS {
            return None;
        }
        let session = Session::new(LocalMeter::cgroups(self.0.mounts.clone()));
        sessions.insert(id, Arc::clone(&session));
        Some((session, false))
    }

    fn close(&self, id: Uuid) {
        if let Some(session) = self.sessions().remove(&id) {
            session.end();
        }
    }

    /// Close the session unless another connection takes it over in time.
    fn expire(&self, id: Uuid, mine: CancellationToken) {
        let agent = self.clone();
        tokio::spawn(async move {
            if time::timeout(KEPT, mine.cancelled()).await.is_err() {
                agent.close(id);
            }
        });
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Arc<Session>>> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answer calls and pass events on. `true`: the harness said goodbye.
async fn talk<W: Wire>(
    lines: &mut Lines<W>,
    session: &Arc<Session>,
    mut seen: EventId,
) -> Result<bool, LinesCodecError> {
    let mut news = session.news();
    news.mark_changed();
    loop {
        tokio::select! {
            call = protocol::read::<_, Call>(lines) => {
                let received_ns = monotonic_ns();
                let Some(call) = call? else { return Ok(false) };
                let (id, bye) = (call.id, call.request == Request::Bye);
                let answer = session.answer(call, received_ns).await;
                protocol::write(lines, &Message::Answer { id, answer }).await?;
                if bye {
                    return Ok(true);
                }
            }
            _ = news.changed() => {
                for (id, event) in session.events_after(seen).unwrap_or_default() {
                    protocol::write(lines, &Message::Event { id, event }).await?;
                    seen = id;
                }
            }
        }
    }
}
