//! One watch over broken connections, lost members and etcd's compactions.
//!
//! It always knows the revision up to which everything has been told, and starts etcd's watch again from there. Where the
//! head shows that nothing of ours is newer, it starts at etcd's own newest revision instead: a quiet store must not be
//! overtaken by compactions in an etcd where others write. It asks from one revision earlier than it
//! needs, and skips what it knows: etcd before 3.4.34 and 3.5.16 may leave out a deletion that happened at the very
//! revision up to which it has compacted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::uri::PathAndQuery;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::layout::revision;
use super::members::{self, within};
use super::{Inner, wire};
use crate::{BackendError, Entry, Event, Revision, Watch, WatchError};

/// For etcd to say that the watch exists.
const OPEN_DEADLINE: Duration = Duration::from_secs(3);
/// Waits between tries to open it again; after a read's deadline of them the watch ends with an error.
const REOPEN_DELAY: Duration = Duration::from_millis(50);
/// What has been acknowledged is still told after the store was closed, if it comes this soon.
const CLOSING_DEADLINE: Duration = Duration::from_secs(1);

pub async fn open(inner: Arc<Inner>, prefix: &str, after: Revision) -> Result<Watch, WatchError> {
    let Some((key, range_end)) = inner.layout.range(prefix, None) else {
        return Ok(Box::pin(stream::pending()));
    };
    let closed = inner.closed.clone();
    let mut following =
        Following { inner, key, range_end, told: after, pending: Vec::new(), open: None, closed };
    following.reopen().await?;
    Ok(Box::pin(stream::unfold(Some(following), |following| async move {
        let mut following = following?;
        match following.next().await {
            Some(Ok(events)) => Some((Ok(events), Some(following))),
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    })))
}

struct Following {
    inner: Arc<Inner>,
    key: Bytes,
    range_end: Bytes,
    /// Every change up to this revision has been told.
    told: Revision,
    /// Changes of one revision of which the rest has not come yet.
    pending: Vec<Event>,
    open: Option<Open>,
    closed: watch::Receiver<bool>,
}

/// etcd's watch on one member.
struct Open {
    answers: Streaming<wire::WatchResponse>,
    /// The watch ends when this is dropped.
    _requests: mpsc::Sender<wire::WatchRequest>,
    turn: usize,
}

impl Following {
    async fn next(&mut self) -> Option<Result<Vec<Event>, WatchError>> {
        let mut closing: Option<Instant> = None;
        loop {
            if closing.is_none() && *self.closed.borrow() {
                closing = Some(Instant::now() + CLOSING_DEADLINE);
            }
            if closing.is_some() && self.told.0 >= self.inner.acknowledged.load(Ordering::Relaxed) {
                return None;
            }
            let Some(open) = &mut self.open else {
                if closing.is_some() {
                    return None;
                }
                match self.reopen().await {
                    Ok(()) => continue,
                    Err(error) => return Some(Err(error)),
                }
            };
            let answer = tokio::select! {
                // The stream keeps what has come so far, whichever of the two is first.
                answer = open.answers.message() => answer,
                () = end(&mut self.closed, closing) => {
                    if closing.is_some() {
                        return None;
                    }
                    continue;
                }
            };
            match answer {
                Ok(Some(answer)) => match self.take(answer) {
                    Ok(events) if events.is_empty() => {}
                    outcome => return Some(outcome),
                },
                Ok(None) => self.lost(None),
                Err(status) => self.lost(Some(status)),
            }
        }
    }

    /// The events of an answer that can be told now: all but those of a revision that goes on in the next answer.
    fn take(&mut self, answer: wire::WatchResponse) -> Result<Vec<Event>, WatchError> {
        if answer.compact_revision != 0 {
            return Err(WatchError::Compacted {
                asked: self.told,
                oldest: revision(answer.compact_revision),
            });
        }
        if answer.canceled {
            tracing::warn!(reason = answer.cancel_reason, "etcd ended a watch, opening it again");
            self.lost(None);
            return Ok(Vec::new());
        }
        for event in answer.events {
            let Some(row) = event.kv.filter(|row| revision(row.mod_revision) > self.told) else { continue };
            if event.happened == i32::from(wire::Happened::Delete) {
                let deleted = self.inner.layout.key(&row.key);
                let revision = revision(row.mod_revision);
                self.pending.extend(deleted.map(|key| Event::Delete { key, revision }));
            } else {
                let entry: Option<Entry> = self.inner.layout.decode(&row);
                self.pending.extend(entry.map(Event::Put));
            }
        }
        let keep = match self.pending.last().filter(|_| answer.fragment) {
            Some(last) => {
                let unfinished = last.revision();
                self.pending.partition_point(|event| event.revision() < unfinished)
            }
            None => self.pending.len(),
        };
        let rest = self.pending.split_off(keep);
        let events = std::mem::replace(&mut self.pending, rest);
        if let Some(last) = events.last() {
            self.told = last.revision();
        }
        Ok(events)
    }

    fn lost(&mut self, status: Option<Status>) {
        if let Some(status) = status {
            tracing::debug!(%status, "a watch on etcd broke, opening it again");
        }
        if let Some(open) = self.open.take() {
            self.inner.members.next_after(open.turn);
        }
        self.pending.clear();
    }

    async fn reopen(&mut self) -> Result<(), WatchError> {
        let deadline = Instant::now() + self.inner.members.deadlines.read;
        loop {
            match self.try_open().await {
                Err(WatchError::Backend(error)) if Instant::now() < deadline => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a watch on etcd could not be opened"
                    );
                    tokio::time::sleep(REOPEN_DELAY).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_open(&mut self) -> Result<(), WatchError> {
        let head = self.inner.head().await.map_err(WatchError::Backend)?;
        let nothing_newer = head.modified <= self.told;
        let from = if nothing_newer { self.told.max(head.etcd) } else { self.told };
        let from = i64::try_from(from.0.max(1)).unwrap_or(i64::MAX);
        let compacted = !nothing_newer && self.is_compacted(from).await.map_err(WatchError::Backend)?;

        let (channel, turn) = self.inner.members.own_channel();
        let open = self.create(channel, turn, from);
        match within(Instant::now() + OPEN_DEADLINE, open).await {
            Ok(open) => self.open = Some(open),
            Err(status) => {
                self.inner.members.next_after(turn);
                return Err(WatchError::Backend(members::backend(status)));
            }
        }
        if compacted { Err(self.compacted().await) } else { Ok(()) }
    }

    /// etcd says so itself only after a while: a read at the same revision says it at once.
    async fn is_compacted(&self, revision: i64) -> Result<bool, BackendError> {
        let key = self.inner.layout.head.clone();
        let request = wire::RangeRequest { key, revision, keys_only: true, ..Default::default() };
        match self.inner.range(request).await {
            Ok(_) => Ok(false),
            Err(error) if members::is_compacted(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Waits for etcd to say up to where it has compacted.
    async fn compacted(&mut self) -> WatchError {
        let asked = self.told;
        let Some(mut open) = self.open.take() else { return WatchError::Compacted { asked, oldest: asked } };
        let told = within(Instant::now() + OPEN_DEADLINE, async {
            while let Some(answer) = open.answers.message().await? {
                if answer.compact_revision != 0 {
                    return Ok(answer.compact_revision);
                }
            }
            Err(Status::unavailable("the watch ended"))
        });
        match told.await {
            Ok(oldest) => WatchError::Compacted { asked, oldest: revision(oldest) },
            Err(status) => WatchError::Backend(members::backend(status)),
        }
    }

    /// Asks for the watch and waits until etcd says that it is there: later changes will then be told.
    async fn create(
        &self,
        channel: tonic::transport::Channel,
        turn: usize,
        start_revision: i64,
    ) -> Result<Open, Status> {
        let mut client = members::client(channel);
        client.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
        // One request is sent, the one that creates the watch.
        let (requests, sent) = mpsc::channel(1);
        let create = wire::WatchCreate {
            key: self.key.clone(),
            range_end: self.range_end.clone(),
            start_revision,
            fragment: true,
        };
        let create = wire::WatchRequest { kind: Some(wire::watch_request::Kind::Create(create)) };
        requests.try_send(create).map_err(|_| Status::internal("the watch cannot be asked for"))?;
        let codec = ProstCodec::<wire::WatchRequest, wire::WatchResponse>::default();
        let path = PathAndQuery::from_static(wire::WATCH);
        let answer = client.streaming(members::request(ReceiverStream::new(sent)), path, codec).await?;
        let mut answers = answer.into_inner();
        match answers.message().await? {
            Some(answer) if answer.created && !answer.canceled => {
                Ok(Open { answers, _requests: requests, turn })
            }
            Some(answer) => Err(Status::unavailable(format!("no watch: {}", answer.cancel_reason))),
            None => Err(Status::unavailable("the watch ended before it began")),
        }
    }
}

/// Until the store is closed; once it is, until the deadline of closing.
async fn end(closed: &mut watch::Receiver<bool>, closing: Option<Instant>) {
    match closing {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        // A sender that has gone has closed the store too.
        None => {
            let _ = closed.wait_for(|closed| *closed).await;
        }
    }
}
