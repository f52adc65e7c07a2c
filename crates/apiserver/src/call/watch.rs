//! Watch: a cursor in a window, read into the response one batch at a time.
//!
//! The response owns nothing but its cursor; what it sends are the window's own buffers. Upstream:
//! `apiserver/pkg/storage/cacher/cache_watcher.go` for what a change looks like through a selector.

mod open;
pub mod socket;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream;
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use process::Shutdown;
use serde_json::json;
use store::Revision;
use tokio::time::Instant;

pub use open::OpenWatches;

use super::Stored;
use crate::answer::Shape;
use crate::body::{self, Body, BoxError};
use crate::error::ApiError;
use crate::limits::{BOOKMARK_INTERVAL, WATCH_BATCH_EVENTS_MAX, WATCH_TIMEOUT_MIN};
use crate::object::{CLOSING, Happened, Object};
use crate::options::{ListOptions, Selection};
use crate::table::Headers;
use crate::window::{Cursor, Event, Fallen, Lane};
use open::Open;

/// Time before the end of a watch at which it says how far it has come.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

impl Stored<'_> {
    pub(super) async fn watch(&self) -> Result<Response<Body>, ApiError> {
        let mut options = self.list_options(true)?;
        let name = self.call.target.name.as_str();
        if !name.is_empty() {
            let fields = &mut options.selection.fields;
            if !fields.is_everything() && fields.exact_value("metadata.name") != Some(name) {
                let text = "fieldSelector metadata.name doesn't match requested name";
                return Err(ApiError::bad_request(text));
            }
            let comparison = api::fields::Comparison::Equals;
            let (field, value) = ("metadata.name".to_owned(), name.to_owned());
            fields.terms.push(api::fields::Term { field, comparison, value });
        }
        if !self.shape.streams() {
            return Err(ApiError::not_acceptable(&["application/json;stream=watch"]));
        }
        let open = self.call.server.watches.open(&self.call.user.name)?;
        let (pending, cursor) = match self.begin(&options).await? {
            Ok(begun) => begun,
            // As upstream: once the options are understood, what goes wrong is told inside the watch.
            Err(error) => return Ok(streamed(body::full(error_event(&error)))),
        };
        let timeout = timeout(options.timeout_seconds);
        let now = Instant::now();
        let watching = Watching {
            shape: self.shape,
            selection: options.selection,
            cursor,
            pending,
            headers: Headers::Shown,
            said: options.resource_version.unwrap_or(Revision(0)),
            bookmarks: options.bookmarks,
            bookmark_at: now + BOOKMARK_INTERVAL.min(timeout.saturating_sub(LAST_BOOKMARK)),
            ends_at: now + timeout,
            over: false,
            ending: self.call.server.ending.clone(),
            _open: open,
        };
        let frames = stream::unfold(watching, |mut watching| async move {
            let bytes = watching.next().await?;
            Some((Ok::<_, BoxError>(Frame::data(bytes)), watching))
        });
        Ok(streamed(StreamBody::new(frames).boxed_unsync()))
    }

    /// What the watch says first, and from where it goes on; the error inside is for the watch to say.
    async fn begin(
        &self,
        options: &ListOptions,
    ) -> Result<Result<(VecDeque<Said>, Cursor), ApiError>, ApiError> {
        let selection = &options.selection;
        let lane = lane(selection);
        let after = options.resource_version.filter(|version| version.0 > 0);
        // Upstream's default since WatchList: who names no version is sent what there is, and told when that ends.
        let initial = options.initial_events.unwrap_or(after.is_none());
        if !initial {
            let from = match after {
                Some(version) => version,
                None => {
                    if options.resource_version.is_none() {
                        self.fresh().await?;
                    }
                    self.call.server.windows.applied()
                }
            };
            let begun = self.window.watch_after(lane, from).map_err(|fallen| too_old(from, fallen));
            return Ok(begun.map(|cursor| (VecDeque::new(), cursor)));
        }
        match after {
            Some(version) => self.not_older_than(version).await?,
            None if options.resource_version.is_none() => self.fresh().await?,
            None => {}
        }
        let prefix = selection.prefix();
        let (view, cursor) = self.window.watch_from_now(lane, &prefix, |object| selection.matches(object));
        let mut pending: VecDeque<Said> = view.objects.into_iter().map(Said::Added).collect();
        if options.bookmarks {
            pending.push_back(Said::InitialEnd(view.revision));
        }
        Ok(Ok((pending, cursor)))
    }
}

fn streamed(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    // Upstream names the stream parameter for every encoding but this one.
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The line that ends a watch.
fn error_event(error: &ApiError) -> String {
    format!("{}\n", json!({"type": "ERROR", "object": error.status()}))
}

/// The watchers that a change of an object outside of the selection need not wake.
fn lane(selection: &Selection) -> Lane {
    if let Some(name) = selection.fields.exact_value("metadata.name") {
        return Lane::Name(name.to_owned());
    }
    match selection.fields.exact_value("spec.nodeName") {
        Some(node) if !node.is_empty() => Lane::Node(node.to_owned()),
        _ => Lane::All,
    }
}

fn too_old(asked: Revision, fallen: Fallen) -> ApiError {
    ApiError::expired(format!("too old resource version: {} ({})", asked.0, fallen.oldest.0))
}

/// As asked; else upstream's random time, so that ten thousand agents do not come back at once.
fn timeout(asked: Option<u64>) -> Duration {
    if let Some(seconds) = asked.filter(|seconds| *seconds > 0) {
        return Duration::from_secs(seconds);
    }
    let mut random = [0u8; 2];
    // Without randomness every watch gets the shortest time.
    let _ = getrandom::fill(&mut random);
    WATCH_TIMEOUT_MIN + WATCH_TIMEOUT_MIN * u32::from(u16::from_le_bytes(random)) / 65_536
}

/// What a watch has to say before its cursor.
enum Said {
    Added(Arc<Object>),
    InitialEnd(Revision),
}

struct Watching {
    shape: Shape,
    selection: Selection,
    cursor: Cursor,
    pending: VecDeque<Said>,
    headers: Headers,
    /// The last revision that was read.
    said: Revision,
    bookmarks: bool,
    bookmark_at: Instant,
    ends_at: Instant,
    /// The error that ends it has been said.
    over: bool,
    ending: Shutdown,
    _open: Open,
}

impl Watching {
    /// The next bytes; nothing when the watch has ended.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let bytes = self.ready();
            if let Some(bytes) = bytes {
                return Some(bytes);
            }
            let now = Instant::now();
            if self.over || now >= self.ends_at || self.ending.is_cancelled() {
                return None;
            }
            if self.bookmarks && now >= self.bookmark_at {
                let last = self.ends_at - LAST_BOOKMARK;
                self.bookmark_at = now + BOOKMARK_INTERVAL;
                if self.bookmark_at > last && now < last {
                    self.bookmark_at = last;
                }
                if let Some(revision) = self.cursor.revision_if_idle() {
                    return Some(self.bookmark(revision, false));
                }
            }
            let wake = if self.bookmarks { self.bookmark_at.min(self.ends_at) } else { self.ends_at };
            // All three may be dropped: the wake-up is kept by the cursor, the others only look at a state.
            tokio::select! {
                () = self.cursor.woken() => {}
                () = tokio::time::sleep_until(wake) => {}
                () = self.ending.cancelled() => {}
            }
        }
    }

    /// What can be said now, many events in one piece.
    fn ready(&mut self) -> Option<Bytes> {
        if self.over || self.ending.is_cancelled() {
            return None;
        }
        let mut out = Pieces::default();
        for _ in 0..WATCH_BATCH_EVENTS_MAX {
            match self.pending.pop_front() {
                Some(Said::Added(object)) => self.say(Happened::Added, &object, &mut out),
                Some(Said::InitialEnd(revision)) => out.push(self.bookmark(revision, true)),
                None => break,
            }
        }
        if !out.is_empty() {
            return Some(out.finish());
        }
        while out.is_empty() {
            match self.cursor.read(WATCH_BATCH_EVENTS_MAX) {
                Ok(events) if events.is_empty() => return None,
                Ok(events) => {
                    for event in events {
                        self.said = event.revision;
                        self.tell(&event, &mut out);
                    }
                }
                Err(fallen) => {
                    self.over = true;
                    let error = too_old(self.said, fallen);
                    return Some(Bytes::from(error_event(&error)));
                }
            }
        }
        Some(out.finish())
    }

    /// An event as it looks through the selection.
    fn tell(&mut self, event: &Event, out: &mut Pieces) {
        let was = event.previous.as_deref().is_some_and(|previous| self.selection.matches(previous));
        let is = event.happened != Happened::Deleted && self.selection.matches(&event.object);
        match (was, is) {
            (false, false) => {}
            (false, true) => self.say_event(Happened::Added, event, out),
            (true, true) => self.say_event(Happened::Modified, event, out),
            (true, false) if event.happened == Happened::Deleted => {
                self.say_event(Happened::Deleted, event, out);
            }
            (true, false) => {
                // The object lives on, outside of the selection: the client sees its last state inside.
                if let Some(previous) = &event.previous {
                    self.say(Happened::Deleted, &previous.tombstone(event.revision), out);
                }
            }
        }
    }

    /// As [`say`](Self::say); most events look to every watcher as they are, and then share one line.
    fn say_event(&mut self, happened: Happened, event: &Event, out: &mut Pieces) {
        if self.shape.is_plain() && happened == event.happened {
            out.push(event.line());
        } else {
            self.say(happened, &event.object, out);
        }
    }

    fn say(&mut self, happened: Happened, object: &Object, out: &mut Pieces) {
        if self.shape.is_plain() {
            out.push(object.frame(happened));
            return;
        }
        match self.shape.render(object, self.headers) {
            Ok(value) => {
                self.headers = Headers::Omitted;
                out.push(Bytes::from(format!("{}{value}{CLOSING}", happened.opening())));
            }
            Err(error) => tracing::warn!(%error, key = %object.key, "left out of a watch"),
        }
    }

    fn bookmark(&mut self, revision: Revision, initial_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.0.to_string()});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = self.shape.shown(self.shape.typed(metadata), self.headers);
        self.headers = Headers::Omitted;
        Bytes::from(format!("{}\n", json!({"type": "BOOKMARK", "object": object})))
    }
}

/// Bytes that go out together; a single piece is handed on without a copy.
#[derive(Default)]
struct Pieces {
    single: Option<Bytes>,
    many: BytesMut,
}

impl Pieces {
    fn push(&mut self, bytes: Bytes) {
        if !self.many.is_empty() {
            self.many.extend_from_slice(&bytes);
        } else if let Some(first) = self.single.take() {
            self.many.extend_from_slice(&first);
            self.many.extend_from_slice(&bytes);
        } else {
            self.single = Some(bytes);
        }
    }

    fn is_empty(&self) -> bool {
        self.single.is_none() && self.many.is_empty()
    }

    fn finish(self) -> Bytes {
        self.single.unwrap_or_else(|| self.many.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watch_without_a_time_of_its_own_lasts_half_an_hour_to_an_hour_each_another() {
        let times: Vec<Duration> = (0..64).map(|_| timeout(None)).collect();
        assert!(
            times.iter().all(|time| (WATCH_TIMEOUT_MIN..WATCH_TIMEOUT_MIN * 2).contains(time)),
            "{times:?}"
        );
        assert!(times.iter().any(|time| *time != times[0]), "{times:?}");
        assert_eq!(timeout(Some(0)).max(WATCH_TIMEOUT_MIN * 2), WATCH_TIMEOUT_MIN * 2, "nought is none");
        assert_eq!(timeout(Some(7)), Duration::from_secs(7));
    }
}
