//! Which Pods this node should have, and one worker for each.
//!
//! One task owns the list. It merges the sources, starts a worker per uid, tells workers what changed, and keeps
//! upstream's rules of order (pkg/kubelet/pod_workers.go): of two static Pods with one full name the newer waits until
//! the older is gone, and of several that wait only the last is started. No Pod of the API is taken down before
//! the API was heard: a source that is away says nothing; the manifests alone speak for their own Pods. An edited
//! static Pod goes on until the images of the edit are there ([`crate::edits`]). Nothing is taken on before the first
//! look at the runtime: what runs already is adopted and never refused, everything else asks the node first, the oldest
//! Pod before the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::well_known::{pod_annotation, pod_condition};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use podmachine::admission::Verdict;
use podmachine::{Admission, Desired, Event, EventType, Intent, PodSource, TerminationCause};
use process::Tasks;
use tokio::sync::{mpsc, watch};

use crate::admission::{Answer, Gate};
use crate::context::NodeContext;
use crate::edits::{Edits, News};
use crate::eviction::Eviction;
use crate::logs;
use crate::runtime_events::{Seen, Snapshot, Watcher};
use crate::source::{SourceKind, SourceSet};
use crate::spec::PodId;
use crate::worker::{Gone, Worker};

/// Grace for what runs here and nobody wants: it was given its time when it was removed.
const STRANGER_GRACE_SECONDS: i64 = 1;

/// Upstream's word for a Pod that goes so that a critical one can start, and what is said of it.
const PREEMPTING: &str = "Preempting";
const PREEMPTING_MESSAGE: &str = "Preempted in order to admit critical pod";
/// Upstream's word for a Pod that uses more than it may, or more than the node has.
const EVICTED: &str = "Evicted";
/// The API's default for Pods that do not say.
const GRACE_SECONDS_DEFAULT: u64 = 30;

/// Conditions that come from here or from the scheduler: no news to a worker.
const OWN_CONDITIONS: &[&str] = &[
    pod_condition::SCHEDULED,
    pod_condition::INITIALIZED,
    pod_condition::CONTAINERS_READY,
    pod_condition::READY,
    pod_condition::READY_TO_START_CONTAINERS,
];

/// The list's owner.
pub struct Pods {
    context: Arc<NodeContext>,
    tasks: Tasks,
    sources: BTreeSet<SourceKind>,
    /// Sources that exist on this node and were not heard yet.
    awaited: BTreeSet<SourceKind>,
    /// Sources whose last set is from the disk.
    offline: BTreeSet<SourceKind>,
    wanted: BTreeMap<SourceKind, BTreeMap<String, Pod>>,
    running: BTreeMap<String, Running>,
    /// Order in which waiting Pods were first wanted.
    waiting: Vec<String>,
    /// `None`: nobody has looked yet.
    snapshot: Option<Snapshot>,
    gate: Gate,
    edits: Edits,
    /// Last statuses of static Pods that were removed and put back while they ended, by uid.
    before: BTreeMap<String, PodStatus>,
    gone: mpsc::UnboundedSender<Gone>,
    heard: watch::Sender<bool>,
}

struct Running {
    id: PodId,
    source: PodSource,
    desired: watch::Sender<Arc<Desired>>,
    watcher: Arc<Watcher>,
    /// Removed, and wanted again before it was gone: it starts anew after its end.
    restart: bool,
}

/// What the owner of the list listens to.
pub struct Inputs {
    pub sets: mpsc::Receiver<SourceSet>,
    pub snapshots: mpsc::Receiver<Snapshot>,
    pub evictions: mpsc::Receiver<Eviction>,
}

impl Pods {
    /// `heard` becomes true once every source was heard.
    pub fn start(
        context: Arc<NodeContext>,
        tasks: &Tasks,
        sources: impl IntoIterator<Item = SourceKind>,
        inputs: Inputs,
        gate: Gate,
        heard: watch::Sender<bool>,
    ) {
        let (gone, ends) = mpsc::unbounded_channel();
        let (edits, fetched) = Edits::new(Arc::clone(&context));
        let sources: BTreeSet<SourceKind> = sources.into_iter().collect();
        let pods = Pods {
            context,
            tasks: tasks.clone(),
            awaited: sources.clone(),
            sources,
            offline: BTreeSet::new(),
            wanted: BTreeMap::new(),
            running: BTreeMap::new(),
            waiting: Vec::new(),
            snapshot: None,
            gate,
            edits,
            before: BTreeMap::new(),
            gone,
            heard,
        };
        if pods.awaited.is_empty() {
            pods.heard.send_replace(true);
            pods.context.board.needs_images(BTreeSet::new());
        }
        tasks.spawn("pods", pods.run(inputs, ends, fetched));
    }

    async fn run(
        mut self,
        mut inputs: Inputs,
        mut ends: mpsc::UnboundedReceiver<Gone>,
        mut fetched: mpsc::UnboundedReceiver<News>,
    ) {
        let shutdown = self.tasks.shutdown_signal().clone();
        loop {
            tokio::select! {
                // Channels keep what is not taken.
                () = shutdown.cancelled() => return,
                Some(set) = inputs.sets.recv() => self.take_set(set),
                Some(snapshot) = inputs.snapshots.recv() => {
                    let first = self.snapshot.replace(snapshot).is_none();
                    self.end_strangers();
                    if first {
                        self.start_waiting();
                    }
                }
                Some(eviction) = inputs.evictions.recv() => self.evict(&eviction),
                Some(news) = fetched.recv() => {
                    self.edits.take(news);
                    self.settle();
                }
                Some(gone) = ends.recv() => self.take_gone(&gone.uid),
                () = self.gate.changed() => self.start_waiting(),
            }
        }
    }

    fn all_heard(&self) -> bool {
        self.awaited.is_empty()
    }

    fn take_set(&mut self, set: SourceSet) {
        let was_waiting = !self.all_heard();
        if set.heard {
            self.awaited.remove(&set.kind);
            self.offline.remove(&set.kind);
        } else {
            self.offline.insert(set.kind);
        }
        let mut pods = BTreeMap::new();
        for pod in set.pods {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let taken =
                self.wanted.iter().any(|(kind, others)| *kind != set.kind && others.contains_key(&uid));
            if uid.is_empty() || taken {
                tracing::warn!(pod = %PodId::of(&pod), %uid, "Pod is left out: its uid is empty or another source's");
                continue;
            }
            pods.insert(uid, pod);
        }
        for uid in pods.keys() {
            let fresh = !self.running.contains_key(uid) && !self.waiting.contains(uid);
            if fresh {
                self.waiting.push(uid.clone());
            }
        }
        self.wanted.insert(set.kind, pods);
        let names =
            self.wanted.iter().filter(|(kind, _)| kind.is_static()).flat_map(|(_, pods)| pods.values());
        let names = names.map(|pod| (pod.metadata.namespace.clone(), pod.metadata.name.clone()));
        self.context.board.expect(names.collect());
        if self.sources.iter().all(|kind| self.wanted.contains_key(kind)) {
            self.context.board.needs_images(images(self.wanted.values().flat_map(BTreeMap::values)));
        }
        self.waiting.retain(|uid| self.wanted.values().any(|pods| pods.contains_key(uid)));
        self.settle();
        if self.all_heard() {
            if was_waiting {
                tracing::info!(pods = self.running.len(), "every source of Pods was heard");
            }
            self.heard.send_replace(true);
        }
    }

    fn take_gone(&mut self, uid: &str) {
        let Some(running) = self.running.remove(uid) else { return };
        self.context.measures.pods.dec();
        tracing::info!(pod = %running.id, uid, "Pod is gone from this node");
        self.context.watchers.forget(uid);
        let last = self.context.board.get(uid).map(|row| row.status);
        self.context.board.remove(uid);
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.remove(uid);
        }
        logs::remove_folder(&self.context.log_root, &running.id);
        if running.restart && self.find_wanted(uid).is_some() {
            self.waiting.push(uid.to_owned());
            self.before.extend(last.map(|status| (uid.to_owned(), status)));
        }
        self.settle();
    }

    fn find_wanted(&self, uid: &str) -> Option<(SourceKind, &Pod)> {
        self.wanted.iter().find_map(|(kind, pods)| Some((*kind, pods.get(uid)?)))
    }

    /// The Pod that waits for this full name, if one does: the last that asked.
    fn next_in_line(&self, full_name: &str) -> Option<(String, Pod)> {
        self.waiting.iter().rev().find_map(|uid| {
            let (kind, pod) = self.find_wanted(uid)?;
            let next = kind.is_static() && PodId::of(pod).full_name() == full_name;
            next.then(|| (uid.clone(), pod.clone()))
        })
    }

    /// Static Pods that were edited and go on until the images of the edit are there.
    fn held_by_edits(&mut self) -> BTreeSet<String> {
        let mut held = BTreeSet::new();
        let unwanted = |(uid, running): &(&String, &Running)| {
            let desired = running.desired.borrow();
            running.source == PodSource::Static
                && self.find_wanted(uid).is_none()
                && desired.intent == Intent::Run
                && desired.admission == Admission::Admitted
                && !self.context.board.has_ended(uid)
        };
        let unwanted: Vec<(String, PodId)> = self
            .running
            .iter()
            .filter(unwanted)
            .map(|(uid, running)| (uid.clone(), running.id.clone()))
            .collect();
        for (uid, id) in unwanted {
            if let Some((next, pod)) = self.next_in_line(&id.full_name())
                && !self.edits.are_fetched(&next, &pod, &id.to_string())
            {
                held.insert(uid);
            }
        }
        held
    }

    /// Brings workers in line with what is wanted.
    fn settle(&mut self) {
        self.edits.retain(&self.waiting);
        let held = self.held_by_edits();
        let heard = |kind: SourceKind| !self.awaited.contains(&kind);
        let static_heard = heard(SourceKind::File) && heard(SourceKind::Http);
        for (uid, running) in &mut self.running {
            let wanted = self.wanted.iter().find_map(|(kind, pods)| Some((*kind, pods.get(uid)?)));
            let current = Arc::clone(&running.desired.borrow());
            let removed = current.intent == Intent::Terminate(TerminationCause::Removed);
            let refused = current.admission != Admission::Admitted && running.source == PodSource::Static;
            let remove = |running: &Running| {
                let intent = Intent::Terminate(TerminationCause::Removed);
                running.desired.send_replace(Arc::new(Desired { intent, ..(*current).clone() }));
            };
            match wanted {
                // COMPAT(kubelet): the same Pod removed and wanted again ends first and is started anew.
                Some(_) if removed => running.restart = true,
                // Its file changed but not its uid: it asks again, as what it is now.
                Some((_, pod)) if refused && !same_wish(&current.pod, pod) => {
                    running.restart = true;
                    remove(running);
                }
                Some((_, pod)) if !same_wish(&current.pod, pod) => {
                    running.desired.send_replace(Arc::new(current.of(pod.clone())));
                }
                Some(_) => {}
                None if removed => running.restart = false,
                // DIFFERS(static-removal): a file that is gone ends its Pod even if the API was never heard;
                // the folder alone speaks for its Pods. Upstream waits for every source.
                None if held.contains(uid) => {}
                None if self.awaited.is_empty() || (running.source == PodSource::Static && static_heard) => {
                    remove(running);
                }
                None => {}
            }
        }
        self.end_strangers();
        self.start_waiting();
    }

    fn start_waiting(&mut self) {
        if self.snapshot.is_none() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        // Of several that wait for one name only the last is started.
        let mut last_by_name: BTreeMap<String, String> = BTreeMap::new();
        for uid in &waiting {
            if let Some((kind, pod)) = self.find_wanted(uid)
                && kind.is_static()
            {
                last_by_name.insert(PodId::of(pod).full_name(), uid.clone());
            }
        }
        // What runs is adopted before anything new asks for room; among these the oldest is first, as upstream.
        waiting.sort_by_key(|uid| {
            let created = self.find_wanted(uid).and_then(|(_, pod)| pod.metadata.creation_timestamp.clone());
            (self.seen(uid).is_none(), created.map(|time| time.0))
        });
        let strangers = self.strangers();
        for uid in waiting {
            let Some((kind, pod)) = self.find_wanted(&uid) else { continue };
            let (pod, id) = (pod.clone(), PodId::of(pod));
            if kind.is_static() {
                let name = id.full_name();
                if last_by_name.get(&name) != Some(&uid) {
                    continue;
                }
                let occupied = self
                    .running
                    .values()
                    .any(|running| running.source == PodSource::Static && running.id.full_name() == name);
                if occupied || strangers.iter().any(|(_, seen)| is_called(seen, &name)) {
                    self.waiting.push(uid);
                    continue;
                }
            }
            let source = kind.pod_source();
            match self.admission(&pod, &uid, kind) {
                Some(admission) => self.start_worker(id, pod, source, Intent::Run, admission),
                None => self.waiting.push(uid),
            }
        }
    }

    /// The node's word, asked once; whoever must go for this Pod is told. `None`: to be asked again later.
    fn admission(&self, pod: &Pod, uid: &str, kind: SourceKind) -> Option<Admission> {
        let ending = pod.metadata.deletion_timestamp.is_some() || api::pod::is_terminal(pod);
        // What was kept on the disk was admitted before.
        if self.seen(uid).is_some() || ending || self.offline.contains(&kind) {
            return Some(Admission::Admitted);
        }
        let counts = |uid: &str, desired: &Desired| {
            desired.admission == Admission::Admitted
                && desired.intent == Intent::Run
                && !self.context.board.has_ended(uid)
        };
        let running = self.running.iter().map(|(uid, running)| (uid, Arc::clone(&running.desired.borrow())));
        let others: Vec<Arc<Desired>> =
            running.filter(|(uid, desired)| counts(uid, desired)).map(|(_, desired)| desired).collect();
        let others: Vec<&Pod> = others.iter().map(|desired| &desired.pod).collect();
        match self.gate.ask(pod, &others) {
            Answer::Said(Verdict::Admitted) => Some(Admission::Admitted),
            Answer::Said(Verdict::Refused { reason, message }) => {
                tracing::warn!(pod = %PodId::of(pod), reason, message, "Pod is refused by this node");
                Some(Admission::Refused { reason, message })
            }
            Answer::Said(Verdict::InPlaceOf { victims }) => {
                for victim in victims.iter().filter_map(|uid| self.running.get(uid)) {
                    self.preempt(victim, pod);
                }
                Some(Admission::Admitted)
            }
            Answer::AskAgain => {
                tracing::info!(pod = %PodId::of(pod), "Pod waits for the Node object: without it the Pod would be refused");
                None
            }
        }
    }

    fn preempt(&self, victim: &Running, pod: &Pod) {
        tracing::warn!(victim = %victim.id, pod = %PodId::of(pod), "Pod ends in favour of a critical one");
        let desired = Arc::clone(&victim.desired.borrow());
        let own = desired.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let grace_seconds =
            own.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(GRACE_SECONDS_DEFAULT);
        self.end(victim, PREEMPTING, PREEMPTING_MESSAGE, grace_seconds);
    }

    /// COMPAT(kubelet): critical Pods, static ones among them, are never evicted.
    fn evict(&self, eviction: &Eviction) {
        let Some(running) = self.running.get(&eviction.uid) else { return };
        let desired = Arc::clone(&running.desired.borrow());
        if desired.intent != Intent::Run || api::pod::is_critical(&desired.pod) {
            return;
        }
        tracing::warn!(pod = %running.id, message = eviction.message, "Pod is evicted");
        self.end(running, EVICTED, &eviction.message, eviction.grace_seconds);
    }

    fn end(&self, running: &Running, reason: &str, message: &str, grace_seconds: u64) {
        let desired = Arc::clone(&running.desired.borrow());
        let event = Event {
            event_type: EventType::Warning,
            reason: reason.to_owned(),
            message: message.to_owned(),
            field_path: None,
        };
        self.context.say(&desired.pod, &event);
        let (reason, message) = (reason.to_owned(), message.to_owned());
        let intent = Intent::Terminate(TerminationCause::Evicted { reason, message, grace_seconds });
        running.desired.send_replace(Arc::new(Desired { intent, ..(*desired).clone() }));
    }

    /// The Pod as the runtime showed it.
    fn seen(&self, uid: &str) -> Option<&Seen> {
        self.snapshot.as_ref()?.get(uid)
    }

    fn start_worker(
        &mut self,
        id: PodId,
        mut pod: Pod,
        source: PodSource,
        intent: Intent,
        admission: Admission,
    ) {
        if let Some(before) = self.before.remove(&id.uid) {
            // COMPAT(kubelet): what was put back goes on counting its restarts.
            let status = pod.status.get_or_insert_default();
            status.container_statuses = before.container_statuses;
            status.init_container_statuses = before.init_container_statuses;
        }
        let pulled = self.edits.begin(&id.uid);
        let uid = id.uid.clone();
        let desired = Desired { intent, admission, ..Desired::run(pod, source, self.context.host()) };
        let (sender, receiver) = watch::channel(Arc::new(desired));
        let watcher = self.context.watchers.register(&uid);
        if let Some(seen) = self.seen(&uid) {
            for container in seen.containers.keys().chain(seen.sandboxes.keys()) {
                self.context.watchers.owns(&uid, container);
            }
        }
        let worker = Worker {
            context: Arc::clone(&self.context),
            id: id.clone(),
            desired: receiver,
            watcher: Arc::clone(&watcher),
            gone: self.gone.clone(),
            pulled,
            shutdown: self.tasks.shutdown_signal().clone(),
        };
        tracing::info!(pod = %id, uid, ?source, "Pod is taken on");
        self.tasks.supervise(format!("pod {id}"), move || worker.clone().run());
        self.running.insert(uid, Running { id, source, desired: sender, watcher, restart: false });
        self.context.measures.pods.inc();
    }

    /// What runs here, is ours, and no source wants.
    fn strangers(&self) -> Vec<(String, Seen)> {
        let seen = self.snapshot.iter().flatten();
        seen.filter(|(_, seen)| seen.agent.as_deref() == Some(self.context.agent_id.as_str()))
            .filter(|(uid, _)| !self.running.contains_key(*uid) && self.find_wanted(uid).is_none())
            .map(|(uid, seen)| (uid.clone(), seen.clone()))
            .collect()
    }

    /// Ends what runs here and no source wants, and what is left of Pods that are long gone. Nothing before every
    /// source was heard, but for what an edit takes the place of: that goes when the edit's images are there.
    fn end_strangers(&mut self) {
        if self.snapshot.is_none() {
            return;
        }
        let heard = self.all_heard();
        let mut strangers = self.strangers();
        strangers.retain(|(_, seen)| {
            let full_name = format!("{}_{}", seen.name, seen.namespace);
            match self.next_in_line(&full_name) {
                Some((next, pod)) if is_called(seen, &full_name) => {
                    self.edits.are_fetched(&next, &pod, &format!("{}/{}", seen.namespace, seen.name))
                }
                Some(_) | None => heard,
            }
        });
        for (uid, seen) in strangers {
            tracing::info!(uid, namespace = %seen.namespace, name = %seen.name, "no source wants this Pod: it ends");
            let pod = stranger(&uid, &seen);
            self.start_worker(
                PodId::of(&pod),
                pod,
                PodSource::Static,
                Intent::Terminate(TerminationCause::Removed),
                Admission::Admitted,
            );
        }
        if !heard {
            return;
        }
        for uid in self.context.volumes.pods_with_folders() {
            let known = self.running.contains_key(&uid)
                || self.seen(&uid).is_some()
                || self.find_wanted(&uid).is_some();
            if !known && let Err(error) = self.context.volumes.remove(&uid) {
                tracing::warn!(uid, error = %crate::error_chain(&error), "folder of a Pod long gone stays");
            }
        }
    }
}

/// Images that these Pods name, but for those that have ended.
fn images<'a>(pods: impl Iterator<Item = &'a Pod>) -> BTreeSet<String> {
    let specs = pods.filter(|pod| !api::pod::is_terminal(pod)).filter_map(|pod| pod.spec.as_ref());
    specs.flat_map(api::pod::all_containers).filter_map(|container| container.image.clone()).collect()
}

/// Whether something of this name lives.
fn is_called(seen: &Seen, full_name: &str) -> bool {
    format!("{}_{}", seen.name, seen.namespace) == full_name && seen.sandboxes.values().any(|ready| *ready)
}

impl Drop for Running {
    fn drop(&mut self) {
        // A worker that waits sees the closed channel at once.
        self.watcher.wake();
    }
}

/// Whether nothing differs that a worker would act on: most changes of an API Pod are echoes of its own status.
fn same_wish(a: &Pod, b: &Pod) -> bool {
    let foreign = |pod: &Pod| -> BTreeMap<String, String> {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let others = conditions.filter(|condition| !OWN_CONDITIONS.contains(&condition.type_.as_str()));
        others.map(|condition| (condition.type_.clone(), condition.status.clone())).collect()
    };
    let (x, y) = (&a.metadata, &b.metadata);
    a.spec == b.spec
        && x.labels == y.labels
        && x.annotations == y.annotations
        && x.deletion_timestamp == y.deletion_timestamp
        && x.deletion_grace_period_seconds == y.deletion_grace_period_seconds
        && x.finalizers == y.finalizers
        && foreign(a) == foreign(b)
}

/// A Pod as far as the runtime knows it.
fn stranger(uid: &str, seen: &Seen) -> Pod {
    let names: BTreeSet<&String> = seen.containers.values().map(|(name, _)| name).collect();
    let containers =
        names.into_iter().map(|name| Container { name: name.clone(), ..Container::default() }).collect();
    let source = (pod_annotation::CONFIG_SOURCE.to_owned(), pod_annotation::SOURCE_FILE.to_owned());
    Pod {
        metadata: ObjectMeta {
            name: Some(seen.name.clone()),
            namespace: Some(seen.namespace.clone()),
            uid: Some(uid.to_owned()),
            annotations: Some(BTreeMap::from([source])),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers,
            termination_grace_period_seconds: Some(STRANGER_GRACE_SECONDS),
            ..PodSpec::default()
        }),
        status: None,
    }
}
