//! One seed: a fleet, what happens to it, and how it has to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use apiserver::access::User;
use apiserver::access::token::Issuer;
use apiserver::{Config, Server};
use client::lease::Candidacy;
use controllers::{Controller, Options};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use process::clock::manual::ManualClock;
use process::{Clock, Shutdown};
use serde_json::{Value, json};
use store::memory::MemoryStore;
use store::{Change, Expect, Store, Write};

use crate::checks::Checks;
use crate::faults::{Dice, Lie, Net, Wire};

/// Nodes, and those of them that may get taints.
const NODES: u64 = 6;
const FICKLE: [u64; 2] = [3, 5];
/// Virtual time with faults: so many ticks of so long.
const TICKS: u64 = 150;
const TICK: Duration = Duration::from_millis(500);
/// Virtual time within which a fleet that is left alone has to come to rest: back-off of failed Pods is the longest part.
const REST_TICKS: u64 = 400;
const REST_TICK: Duration = Duration::from_secs(5);
/// Then nothing may be written any more for this long.
const QUIET_TICKS: u64 = 40;
/// Namespace and name of the controllers' Lease, where several compete.
const LEASE: (&str, &str) = ("kube-system", "controllers");
/// Turns that every task gets before nothing is thought to move.
const TURNS: u32 = 40;

pub struct Fleet {
    pub net: Arc<Net>,
    store: Arc<MemoryStore>,
    issuer: Arc<Issuer>,
    /// Without faults: the hand that edits, and the nodes.
    client: Client,
    /// One, or those that compete for the Lease.
    pub controllers: Vec<Process>,
    scheduler: Process,
    image: u64,
}

/// What runs, and its way to the server.
pub struct Process {
    pub identity: Option<String>,
    wire: Arc<Wire>,
    shutdown: Shutdown,
}

impl Process {
    /// As kill -9 does: nothing of it reaches the server any more.
    pub fn kill(&self) {
        self.wire.cut();
        self.shutdown.trigger();
    }
}

pub async fn run(seed: u64, lie: Lie) -> Result<(), String> {
    let mut fleet = Fleet::start(seed, lie, &[None]).await;
    let surges = seed % 4 == 3 && lie == Lie::None;
    fleet.create(surges).await;
    fleet.net.faulty.store(true, Ordering::Relaxed);
    for _ in 0..TICKS {
        fleet.happen().await;
        fleet.nodes_do_their_part().await;
        fleet.pass(TICK).await;
        fleet.unbroken(seed)?;
    }
    fleet.net.faulty.store(false, Ordering::Relaxed);
    fleet.take_taints_away().await;
    let mut seen = String::new();
    for _ in 0..REST_TICKS {
        fleet.nodes_do_their_part().await;
        fleet.pass(REST_TICK).await;
        fleet.unbroken(seed)?;
        seen = match fleet.is_at_rest().await {
            Ok(()) => return fleet.stays_at_rest(seed).await,
            Err(seen) => seen,
        };
    }
    let explained = fleet.explained().await;
    Err(format!("seed {seed} does not come to rest: {seen}\n{explained}"))
}

fn shared_issuer() -> Arc<Issuer> {
    static ISSUER: std::sync::OnceLock<Arc<Issuer>> = std::sync::OnceLock::new();
    Arc::clone(ISSUER.get_or_init(|| Arc::new(Issuer::ephemeral().expect("a key"))))
}

/// A store with what a server writes into an empty one: made once, because that takes longer than a rollout.
async fn with_built_ins(issuer: &Arc<Issuer>, clock: &ManualClock) -> Arc<MemoryStore> {
    static ENTRIES: std::sync::OnceLock<Vec<(String, bytes::Bytes)>> = std::sync::OnceLock::new();
    let store = Arc::new(MemoryStore::new());
    if let Some(entries) = ENTRIES.get() {
        for (key, value) in entries {
            let write =
                Write { key: key.clone(), change: Change::Put(value.clone()), expect: Expect::Absent };
            store.write(write).await.expect("an empty store takes it");
        }
        return store;
    }
    let _server = Fleet::server(&store, issuer, clock).await;
    let page = store.scan("", None, None).await.expect("what was written");
    let _ = ENTRIES.set(page.entries.into_iter().map(|entry| (entry.key, entry.value)).collect());
    store
}

impl Fleet {
    pub async fn start(seed: u64, lie: Lie, controllers: &[Option<&str>]) -> Fleet {
        let clock = ManualClock::at_new_year();
        let issuer = shared_issuer();
        let store = with_built_ins(&issuer, &clock).await;
        let server = Fleet::server(&store, &issuer, &clock).await;
        let mut checks = Checks::default();
        checks.max_unavailable = 1;
        checks.fickle.extend(FICKLE.map(|i| format!("node-{i}")));
        let net = Arc::new(Net {
            server: Mutex::new(server),
            clock,
            dice: Mutex::new(Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))),
            faulty: AtomicBool::new(false),
            moves: AtomicU64::new(0),
            checks: Mutex::new(checks),
            lie,
        });
        let client = Wire::new(&net, User::admin(), false).client();
        let fleet = Fleet {
            controllers: controllers.iter().map(|one| Fleet::start_controllers(&net, *one)).collect(),
            scheduler: Fleet::start_scheduler(&net),
            client,
            net,
            store,
            issuer,
            image: 1,
        };
        for i in 0..NODES {
            let name = format!("node-{i}");
            let node = json!({"metadata": {"name": name,
                "labels": {"topology.kubernetes.io/zone": format!("zone-{}", i % 3)}}});
            let node: Node = serde_json::from_value(node).expect("a Node");
            fleet.nodes().create(&PostParams::default(), &node).await.expect("create");
            let room = json!({"status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"}}});
            let params = PatchParams::default();
            fleet.nodes().patch_status(&name, &params, &Patch::Merge(&room)).await.expect("room");
            // Admission taints a new node as not ready; this one is ready.
            fleet.taints(i, json!([])).await;
        }
        fleet
    }

    async fn server(store: &Arc<MemoryStore>, issuer: &Arc<Issuer>, clock: &ManualClock) -> Server {
        let config = Config { issuer: Some(Arc::clone(issuer)), ..Config::new(Arc::new(clock.clone())) };
        Server::new(store.clone(), config).await.expect("the server starts")
    }

    fn start_controllers(net: &Arc<Net>, identity: Option<&str>) -> Process {
        let (wire, shutdown) = (Wire::new(net, User::controllers(), true), Shutdown::new());
        let election = identity.map(|identity| Candidacy {
            namespace: LEASE.0.to_owned(),
            name: LEASE.1.to_owned(),
            identity: identity.to_owned(),
        });
        let which = [Controller::DaemonSet].into();
        let options = Options { which, election, clock: Arc::new(net.clock.clone()), ..Options::default() };
        tokio::spawn(controllers::run(wire.client(), options, shutdown.clone()));
        Process { identity: identity.map(str::to_owned), wire, shutdown }
    }

    fn start_scheduler(net: &Arc<Net>) -> Process {
        let (wire, shutdown) = (Wire::new(net, User::scheduler(), false), Shutdown::new());
        let options = scheduler::Options { clock: Arc::new(net.clock.clone()), ..Default::default() };
        tokio::spawn(scheduler::run(wire.client(), options, shutdown.clone()));
        Process { identity: None, wire, shutdown }
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    fn sets(&self) -> Api<DaemonSet> {
        Api::default_namespaced(self.client.clone())
    }

    fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    fn roll(&self, sides: u64) -> u64 {
        self.net.dice.lock().roll(sides)
    }

    fn say(&self, what: &str) {
        let now = self.net.clock.now();
        self.net.checks.lock().say(now, what);
    }

    pub fn unbroken(&self, seed: u64) -> Result<(), String> {
        let broken = self.net.checks.lock().broken.clone();
        broken.map_or(Ok(()), |broken| Err(format!("seed {seed}: {broken}")))
    }

    /// The hand that edits and the nodes have a good line: what they do is done.
    async fn without_faults<T>(&self, work: impl Future<Output = T>) -> T {
        let faulty = self.net.faulty.swap(false, Ordering::Relaxed);
        let done = work.await;
        self.net.faulty.store(faulty, Ordering::Relaxed);
        done
    }

    pub async fn create(&mut self, surges: bool) {
        let rolling = if surges {
            json!({"maxUnavailable": 0, "maxSurge": 1})
        } else {
            json!({"maxUnavailable": 1, "maxSurge": 0})
        };
        if surges {
            self.net.checks.lock().max_unavailable = 0;
        }
        let object = json!({"metadata": {"name": "foo"}, "spec": {
            "selector": {"matchLabels": {"app": "foo"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "template": {"metadata": {"labels": {"app": "foo"}},
                "spec": {"containers": [{"name": "c", "image": "image:1"}]}}}});
        let object: DaemonSet = serde_json::from_value(object).expect("a DaemonSet");
        self.sets().create(&PostParams::default(), &object).await.expect("create");
    }

    /// Every task gets its turn until nothing moves, then time moves.
    pub async fn pass(&self, time: Duration) {
        self.settle().await;
        self.net.clock.advance(time);
        self.settle().await;
    }

    async fn settle(&self) {
        loop {
            let before = self.net.moves.load(Ordering::Relaxed);
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            if self.net.moves.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }

    async fn happen(&mut self) {
        match self.roll(100) {
            0..=2 => {
                let image = self.roll(3) + 1;
                self.edit(image).await;
            }
            3..=5 => {
                let node = FICKLE[usize::try_from(self.roll(2)).unwrap_or_default()];
                let effect = ["NoSchedule", "NoExecute"][usize::try_from(self.roll(2)).unwrap_or_default()];
                let taints = match self.roll(2) {
                    0 => json!([]),
                    _ => json!([{"key": "t", "effect": effect}]),
                };
                self.say(&format!("node-{node}: taints {taints}"));
                let taints = self.taints(node, taints);
                self.without_faults(taints).await;
            }
            6 | 7 => {
                self.say("the controllers crash");
                self.controllers.drain(..).for_each(|process| process.kill());
                self.controllers.push(Fleet::start_controllers(&self.net, None));
            }
            8 => {
                self.say("the scheduler crashes");
                self.scheduler.kill();
                self.scheduler = Fleet::start_scheduler(&self.net);
            }
            9 => {
                self.say("the server crashes");
                let server = Fleet::server(&self.store, &self.issuer, &self.net.clock).await;
                let dead = std::mem::replace(&mut *self.net.server.lock(), server);
                dead.end_watches();
            }
            10 => {
                self.say("watches lose their place");
                let server = self.net.server.lock().clone();
                server.forget_events();
            }
            11 | 12 => self.hurt_a_pod().await,
            _ => {}
        }
    }

    pub async fn edit(&mut self, image: u64) {
        self.image = image;
        let image = format!("image:{image}");
        self.say(&format!("edit: {image}"));
        let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
        let (sets, params, patch) = (self.sets(), PatchParams::default(), Patch::Strategic(&patch));
        let patched = sets.patch("foo", &params, &patch);
        self.without_faults(patched).await.expect("edit");
    }

    /// Who holds the Lease of the controllers.
    pub async fn leader(&self) -> Option<String> {
        let leases = Api::<Lease>::namespaced(self.client.clone(), LEASE.0);
        let lease = leases.get_opt(LEASE.1).await.expect("get")?;
        lease.spec?.holder_identity.filter(|holder| !holder.is_empty())
    }

    /// Pods of the newest image.
    pub async fn updated(&self) -> usize {
        let image = format!("image:{}", self.image);
        let runs =
            |pod: &&Pod| pod.spec.as_ref().and_then(|spec| spec.containers[0].image.as_ref()) == Some(&image);
        self.pods().list(&ListParams::default()).await.expect("list").items.iter().filter(runs).count()
    }

    async fn hurt_a_pod(&self) {
        let list = async { self.pods().list(&ListParams::default()).await.expect("list").items };
        let pods = self.without_faults(list).await;
        if pods.is_empty() {
            return;
        }
        let n = self.roll(u64::try_from(pods.len()).unwrap_or(1));
        let pod = &pods[usize::try_from(n).unwrap_or_default()];
        let name = pod.metadata.name.clone().unwrap_or_default();
        match self.roll(3) {
            0 => {
                self.say(&format!("{name} fails"));
                self.status(&name, json!({"phase": "Failed", "conditions": []})).await;
            }
            1 if api::pod::is_ready(pod) => {
                self.say(&format!("{name} gets unready"));
                self.status(&name, ready(false, self.net.clock.now())).await;
            }
            _ => {
                self.say(&format!("someone deletes {name}"));
                let (pods, params) = (self.pods(), DeleteParams::default());
                // It may be gone meanwhile.
                let _ = self.without_faults(pods.delete(&name, &params)).await;
            }
        }
    }

    async fn status(&self, name: &str, status: Value) {
        let patch = json!({ "status": status });
        let (pods, params) = (self.pods(), PatchParams::default());
        // It may be gone meanwhile.
        let _ = self.without_faults(pods.patch_status(name, &params, &Patch::Merge(&patch))).await;
    }

    async fn taints(&self, node: u64, taints: Value) {
        let name = format!("node-{node}");
        let now = self.net.clock.now();
        {
            let mut checks = self.net.checks.lock();
            match taints.as_array().is_some_and(Vec::is_empty) {
                true => checks.tainted.remove(&name),
                false if checks.tainted.contains_key(&name) => None,
                false => checks.tainted.insert(name.clone(), now),
            };
        }
        let patch = json!({"spec": {"taints": taints}});
        self.nodes().patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.expect("taints");
    }

    async fn take_taints_away(&self) {
        for node in FICKLE {
            // One stays, so that the end is not the same for all.
            let taints =
                if node == FICKLE[0] { json!([{"key": "t", "effect": "NoExecute"}]) } else { json!([]) };
            self.taints(node, taints).await;
        }
    }

    /// What the agents would do, now and then.
    pub async fn nodes_do_their_part(&self) {
        let pods = self.net.checks.lock().pods.clone();
        for (name, pod) in pods {
            if pod.going {
                if self.roll(3) == 0 {
                    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                    let pods = self.pods();
                    // It may be gone already.
                    let _ = self.without_faults(pods.delete(&name, &now)).await;
                    self.net.checks.lock().forget(&name);
                }
            } else if pod.bound && !pod.over && !pod.ready && self.roll(4) == 0 {
                self.status(&name, ready(true, self.net.clock.now())).await;
            }
        }
    }

    /// Or what is missing.
    pub async fn is_at_rest(&self) -> Result<(), String> {
        let set = self.sets().get("foo").await.expect("get");
        let pods = self.pods().list(&ListParams::default()).await.expect("list").items;
        let tainted = self.net.checks.lock().tainted.clone();
        let image = format!("image:{}", self.image);
        for i in 0..NODES {
            let node = format!("node-{i}");
            let here: Vec<&Pod> =
                pods.iter().filter(|pod| api::pod::target_node_name(pod) == Some(node.as_str())).collect();
            if tainted.contains_key(&node) {
                if !here.is_empty() {
                    return Err(format!("{node} has a NoExecute taint and {} pods", here.len()));
                }
                continue;
            }
            let [pod] = here.as_slice() else { return Err(format!("{node} has {} pods", here.len())) };
            let runs = pod.spec.as_ref().and_then(|spec| spec.containers[0].image.as_ref()) == Some(&image);
            if !runs || !api::pod::is_ready(pod) || pod.metadata.deletion_timestamp.is_some() {
                return Err(format!("the pod on {node} is old, not ready or going"));
            }
        }
        let status = set.status.unwrap_or_default();
        let wanted =
            i32::try_from(NODES).unwrap_or_default() - i32::try_from(tainted.len()).unwrap_or_default();
        let told = (
            status.desired_number_scheduled,
            status.number_ready,
            status.updated_number_scheduled,
            status.number_available,
            status.number_misscheduled,
            status.observed_generation,
        );
        let expected = (wanted, wanted, Some(wanted), Some(wanted), 0, set.metadata.generation);
        if told == expected { Ok(()) } else { Err(format!("the status is {told:?}, not {expected:?}")) }
    }

    pub async fn stays_at_rest(&self, seed: u64) -> Result<(), String> {
        let before = self.net.checks.lock().writes;
        for _ in 0..QUIET_TICKS {
            self.pass(REST_TICK).await;
        }
        self.unbroken(seed)?;
        let writes = self.net.checks.lock().writes - before;
        if writes > 0 {
            return Err(format!("seed {seed}: {writes} writes more after all was done"));
        }
        let revisions = Api::<ControllerRevision>::default_namespaced(self.client.clone());
        let count = revisions.list(&ListParams::default()).await.expect("list").items.len();
        if count > 3 { Err(format!("seed {seed}: {count} revisions of three templates")) } else { Ok(()) }
    }

    async fn explained(&self) -> String {
        let now = self.net.clock.now();
        match controllers::daemonset::explain(self.client.clone(), "default", "foo", now).await {
            Ok(explained) => explained.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

fn ready(ready: bool, now: Timestamp) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": status,
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}]})
}
