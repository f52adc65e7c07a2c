//! An edited static Pod's images, fetched while the Pod before the edit still runs.
//!
//! DIFFERS(static-pull-first): upstream stops the old Pod at once and then pulls. Here the gap of an edit has no pull in
//! it, and an edit whose images cannot be had ends nothing: the fault is reported, and tried again until the file changes
//! or the images come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use podmachine::{Event, EventType, PodSource, PulledImages};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::context::NodeContext;
use crate::image;
use crate::source::ledger::{FaultLine, Page, Writer};
use crate::spec::PodId;

/// Upstream's back-off of pulls.
const RETRY_SECONDS_MIN: u64 = 10;
const RETRY_SECONDS_MAX: u64 = 300;

/// How an edit stands.
enum Stand {
    Fetching(AbortHandle),
    Ready(PulledImages),
}

/// All edits that wait, by the uid of what is to come.
pub struct Edits {
    context: Arc<NodeContext>,
    tasks: JoinSet<()>,
    stands: BTreeMap<String, Stand>,
    faults: BTreeMap<String, FaultLine>,
    news: mpsc::UnboundedSender<News>,
}

/// What became of one attempt.
pub struct News {
    uid: String,
    outcome: Result<PulledImages, FaultLine>,
}

impl Edits {
    /// The receiver hears of each attempt; its owner hands it to [`Edits::take`].
    pub fn new(context: Arc<NodeContext>) -> (Edits, mpsc::UnboundedReceiver<News>) {
        // Bounded by the edits that wait: each says one thing and then sleeps.
        let (news, heard) = mpsc::unbounded_channel();
        let edits =
            Edits { context, tasks: JoinSet::new(), stands: BTreeMap::new(), faults: BTreeMap::new(), news };
        (edits, heard)
    }

    /// Whether all images of the Pod are there; begins to fetch them if nobody does.
    pub fn are_fetched(&mut self, uid: &str, pod: &Pod, before: &str) -> bool {
        match self.stands.get(uid) {
            Some(Stand::Ready(_)) => return true,
            Some(Stand::Fetching(_)) => return false,
            None => {}
        }
        tracing::info!(pod = %PodId::of(pod), uid, "images of an edit are fetched before the Pod is stopped");
        while self.tasks.try_join_next().is_some() {}
        let fetch = fetch(
            Arc::clone(&self.context),
            uid.to_owned(),
            pod.clone(),
            before.to_owned(),
            self.news.clone(),
        );
        let handle = self.tasks.spawn(fetch);
        self.stands.insert(uid.to_owned(), Stand::Fetching(handle));
        false
    }

    pub fn take(&mut self, news: News) {
        if !self.stands.contains_key(&news.uid) {
            return;
        }
        match news.outcome {
            Ok(pulled) => {
                self.faults.remove(&news.uid);
                self.stands.insert(news.uid, Stand::Ready(pulled));
            }
            Err(fault) => drop(self.faults.insert(news.uid, fault)),
        }
        self.report();
    }

    /// What was fetched for a Pod that starts now.
    pub fn begin(&mut self, uid: &str) -> PulledImages {
        match self.stands.remove(uid) {
            Some(Stand::Ready(pulled)) => pulled,
            Some(Stand::Fetching(handle)) => {
                handle.abort();
                PulledImages::default()
            }
            None => PulledImages::default(),
        }
    }

    /// Forgets edits that wait no more.
    pub fn retain(&mut self, waiting: &[String]) {
        let waiting: BTreeSet<&String> = waiting.iter().collect();
        self.stands.retain(|uid, stand| {
            let stays = waiting.contains(uid);
            if !stays && let Stand::Fetching(handle) = stand {
                handle.abort();
            }
            stays
        });
        let before = self.faults.len();
        self.faults.retain(|uid, _| self.stands.contains_key(uid));
        if self.faults.len() != before {
            self.report();
        }
    }

    fn report(&self) {
        let page = Page {
            place: "edits".to_owned(),
            faults: self.faults.values().cloned().collect(),
            ..Page::default()
        };
        self.context.ledger.write(Writer::Edits, page);
    }
}

/// Until all images are there.
async fn fetch(
    context: Arc<NodeContext>,
    uid: String,
    pod: Pod,
    before: String,
    news: mpsc::UnboundedSender<News>,
) {
    let mut wait_seconds = RETRY_SECONDS_MIN;
    loop {
        let outcome = image::fetch_all(&context, &pod, PodSource::Static).await;
        let failed = outcome.is_err();
        let outcome = outcome.map_err(|message| {
            let event = Event {
                event_type: EventType::Warning,
                reason: "Failed".to_owned(),
                message: format!("{message}; the Pod before the edit keeps running"),
                field_path: None,
            };
            context.say(&pod, &event);
            FaultLine { about: PodId::of(&pod).to_string(), message, keeps: vec![before.clone()] }
        });
        // Nobody listens only when the agent ends.
        if news.send(News { uid: uid.clone(), outcome }).is_err() || !failed {
            return;
        }
        context.clock.sleep(Duration::from_secs(wait_seconds)).await;
        wait_seconds = (wait_seconds * 2).min(RETRY_SECONDS_MAX);
    }
}
