//! The task that fills a cache: list in pages, then watch from the list's version, for ever.
//!
//! A state machine of two states ([`Step`]). A watch that ends is taken up again where it stopped; one whose
//! version has expired (410) leads to a new list, which is merged as the differences. Errors back off with
//! jitter; a working connection resets the back-off.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::Error;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::core::Status;
use process::{Clock, Shutdown};

use super::{Cached, Shared};
use crate::backoff::{Backoff, jittered};
use crate::key::ObjectKey;

/// Items a page of the first list: large enough that ten thousand Pods take twenty requests, small enough that
/// a page is a few MiB.
const LIST_PAGE_ITEMS: u32 = 500;
/// Asked of the server as the watch's length; below the 295 s at which kube's connector closes idle reads.
const WATCH_SECONDS: u32 = 290;
/// Added on our side: a watch that lives this much longer than asked hangs on a dead connection.
const WATCH_OVERTIME_SECONDS: u64 = 15;
/// Upstream's reflector waits 0.8 s to 30 s between tries.
const RETRY: Backoff = Backoff::new(Duration::from_millis(800), Duration::from_secs(30));
/// Upstream doubles at most by jitter.
const RETRY_SPREAD_PERCENT: u32 = 100;
/// A watch that ends at once, without an event, this many times in a row is treated as failing.
const EMPTY_WATCHES_MAX: u32 = 3;

pub(super) struct Reflector<K> {
    api: Api<K>,
    labels: Option<String>,
    fields: Option<String>,
    trim: fn(&mut K),
    shared: Arc<Shared<K>>,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
}

impl<K: Clone> Clone for Reflector<K> {
    fn clone(&self) -> Self {
        Reflector {
            api: self.api.clone(),
            labels: self.labels.clone(),
            fields: self.fields.clone(),
            trim: self.trim,
            shared: Arc::clone(&self.shared),
            clock: Arc::clone(&self.clock),
            shutdown: self.shutdown.clone(),
        }
    }
}

enum Step {
    List,
    Watch { from: String },
}

/// How a watch ended.
enum Ended {
    /// By time or by the peer; go on from here.
    Closed { from: String, events: u64 },
    /// The version is too old; list again.
    Expired,
    /// Go on from here after a pause.
    Failed { from: String, error: Error },
}

impl<K: Cached> Reflector<K> {
    pub fn new(
        api: Api<K>,
        labels: Option<String>,
        fields: Option<String>,
        trim: fn(&mut K),
        shared: Arc<Shared<K>>,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) -> Reflector<K> {
        Reflector { api, labels, fields, trim, shared, clock, shutdown }
    }

    pub async fn run(self) {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            // Dropping the loop drops a request in flight; a cache only reads, so nothing is half done.
            () = shutdown.cancelled() => {}
            () = self.reflect() => {}
        }
    }

    async fn reflect(&self) {
        let mut step = Step::List;
        let mut failures = 0;
        loop {
            step = match step {
                Step::List => match self.list().await {
                    Ok(from) => {
                        failures = 0;
                        Step::Watch { from }
                    }
                    Err(error) => {
                        failures += 1;
                        self.pause(failures, "list", &error).await;
                        Step::List
                    }
                },
                Step::Watch { from } => match self.watch(from).await {
                    Ended::Closed { from, events } => {
                        failures = if events > 0 { 0 } else { failures + 1 };
                        if failures > EMPTY_WATCHES_MAX {
                            self.sleep(failures - EMPTY_WATCHES_MAX).await;
                        }
                        Step::Watch { from }
                    }
                    Ended::Expired => {
                        tracing::debug!(cache = %self.shared.what, "watch expired, listing again");
                        Step::List
                    }
                    Ended::Failed { from, error } => {
                        failures += 1;
                        self.pause(failures, "watch", &error).await;
                        Step::Watch { from }
                    }
                },
            };
        }
    }

    async fn pause(&self, failures: u32, doing: &str, error: &Error) {
        tracing::warn!(cache = %self.shared.what, failures, error = %error, "cannot {doing}, will retry");
        self.sleep(failures).await;
    }

    async fn sleep(&self, failures: u32) {
        self.clock.sleep(jittered(RETRY.delay(failures), RETRY_SPREAD_PERCENT)).await;
    }

    async fn list(&self) -> Result<String, Error> {
        let mut params = ListParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            limit: Some(LIST_PAGE_ITEMS),
            ..ListParams::default()
        };
        let mut objects = BTreeMap::new();
        loop {
            let page = match self.api.list(&params).await {
                // The continue token has expired: what has been collected is of no one version.
                Err(Error::Api(status)) if is_expired(&status) && params.continue_token.is_some() => {
                    params.continue_token = None;
                    params.limit = None;
                    objects.clear();
                    continue;
                }
                page => page?,
            };
            for object in page.items {
                let object = self.trimmed(object);
                objects.insert(ObjectKey::of(object.meta()), Arc::new(object));
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => {
                    let version = page.metadata.resource_version.unwrap_or_default();
                    self.shared.replace(objects, &version);
                    return Ok(version);
                }
            }
        }
    }

    async fn watch(&self, from: String) -> Ended {
        let params = WatchParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
            send_initial_events: false,
        };
        let length = Duration::from_secs(u64::from(WATCH_SECONDS) + WATCH_OVERTIME_SECONDS);
        let mut at = (from, 0);
        let watching = async {
            let stream = match self.api.watch(&params, &at.0).await {
                Ok(stream) => stream,
                Err(error) => return Some(error),
            };
            self.follow(stream, &mut at).await
        };
        let outcome = tokio::time::timeout(length, watching).await;
        let (from, events) = at;
        match outcome {
            Ok(Some(Error::Api(status))) if is_expired(&status) => Ended::Expired,
            Ok(Some(error)) => Ended::Failed { from, error },
            Ok(None) | Err(_) => Ended::Closed { from, events },
        }
    }

    /// Takes in events until the stream ends or fails; `at` always holds the version reached.
    async fn follow(
        &self,
        stream: impl Stream<Item = Result<WatchEvent<K>, Error>>,
        at: &mut (String, u64),
    ) -> Option<Error> {
        let mut stream = pin!(stream);
        while let Some(event) = stream.next().await {
            let (object, present) = match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => (object, true),
                Ok(WatchEvent::Deleted(object)) => (object, false),
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    at.0 = bookmark.metadata.resource_version;
                    at.1 += 1;
                    self.shared.advance(&at.0);
                    continue;
                }
                Ok(WatchEvent::Error(status)) => return Some(Error::Api(status)),
                Err(error) => return Some(error),
            };
            if let Some(version) = &object.meta().resource_version {
                at.0.clone_from(version);
            }
            at.1 += 1;
            self.shared.take_in(self.trimmed(object), present, &at.0);
        }
        None
    }

    /// Field ownership is a third of many objects' size, and no controller of ours reads it.
    fn trimmed(&self, mut object: K) -> K {
        object.meta_mut().managed_fields = None;
        (self.trim)(&mut object);
        object
    }
}

impl<K: Cached> Shared<K> {
    fn replace(&self, objects: BTreeMap<ObjectKey, Arc<K>>, version: &str) {
        self.state.write().replace(objects, |known, listed| {
            let (known, listed) = (known.meta(), listed.meta());
            known.uid == listed.uid && known.resource_version == listed.resource_version
        });
        self.advance(version);
    }

    fn take_in(&self, object: K, present: bool, version: &str) {
        let key = ObjectKey::of(object.meta());
        self.state.write().set(key, present.then(|| Arc::new(object)));
        self.advance(version);
    }

    fn advance(&self, version: &str) {
        self.progress.send_modify(|progress| {
            progress.synced = true;
            // A restored server may answer with older versions: what it says now is where the cache is.
            if let Ok(version) = version.parse() {
                progress.version = version;
            }
        });
    }
}

fn is_expired(status: &Status) -> bool {
    status.code == 410 || status.reason == "Expired" || status.reason == "Gone"
}
