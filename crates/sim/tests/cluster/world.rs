//! The cluster that tests run in.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiserver::access::User;
use apiserver::{Config, Server};
use client::lease::Candidacy;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use process::{Clock, Shutdown, SystemClock, Tasks};
use serde_json::json;
use sim::latency::{Latencies, Range};
use sim::{NodeKind, SimOptions};
use store::memory::MemoryStore;

/// Longest that anything may take: many times what it does, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);

pub struct World {
    pub client: Client,
    pub server: Server,
    tasks: Tasks,
}

/// Hollow nodes that can be switched off.
pub struct Nodes(Tasks);

impl Nodes {
    /// They fall silent; what the API knows of them stays.
    pub async fn switch_off(self) {
        let late = self.0.shutdown(PATIENCE).await;
        assert!(late.is_empty(), "late to stop: {late:?}");
    }
}

impl World {
    /// Everything by the machine's clock, with `nodes` nodes that are ready.
    pub async fn start(nodes: u32) -> World {
        let world = World::without_nodes(SystemClock::shared()).await;
        let nodes_of_world = world.nodes("hollow", nodes, SystemClock::shared());
        // They end with the world.
        drop(nodes_of_world);
        world.schedulable(nodes).await;
        world
    }

    /// The control plane, its controllers by this clock.
    pub async fn without_nodes(clock: Arc<dyn Clock>) -> World {
        let world = World::without_controllers().await;
        let root_ca_pem = Some("PEM".into());
        let options = controllers::Options { root_ca_pem, clock, ..controllers::Options::default() };
        let (client, stop) =
            (world.server.client_for(User::controllers()), world.tasks.shutdown_signal().clone());
        world.tasks.spawn("controllers", controllers::run(client, options, stop));
        world
    }

    /// API server and scheduler alone.
    pub async fn without_controllers() -> World {
        let config = Config::new(SystemClock::shared());
        let server = Server::new(Arc::new(MemoryStore::new()), config).await.expect("the server starts");
        let tasks = Tasks::new(Shutdown::new());
        let stop = || tasks.shutdown_signal().clone();
        let options = scheduler::Options::default();
        tasks.spawn("scheduler", scheduler::run(server.client_for(User::scheduler()), options, stop()));
        World { client: server.client_for(User::admin()), server, tasks }
    }

    /// Switches hollow nodes on, by this clock. They end with the world at the latest.
    pub fn nodes(&self, prefix: &str, count: u32, clock: Arc<dyn Clock>) -> Nodes {
        self.switch_on(SimOptions { nodes: count, clock, ..World::options(prefix) })
    }

    /// Switches nodes on that are the real agent, with their files in this folder.
    pub fn agents(&self, prefix: &str, count: u32, folder: &Path) -> Nodes {
        let kind = NodeKind::Agent { root_dir: folder.to_owned() };
        self.switch_on(SimOptions { nodes: count, kind, ..World::options(prefix) })
    }

    fn options(prefix: &str) -> SimOptions {
        let latencies = Latencies { start: Range::millis(5, 30), stop: Range::millis(1, 10) };
        SimOptions { latencies, name_prefix: prefix.to_owned(), ..SimOptions::default() }
    }

    fn switch_on(&self, options: SimOptions) -> Nodes {
        let tasks = Tasks::new(self.tasks.shutdown_signal().child());
        let (client, stop) = (self.server.client_for(User::admin()), tasks.shutdown_signal().clone());
        tasks.spawn(options.name_prefix.clone(), async move {
            let _report = sim::run(client, options, stop).await;
        });
        Nodes(tasks)
    }

    /// A further set of controllers, which competes with others of the same candidacy; it ends with the shutdown
    /// of what is returned.
    pub fn candidate(&self, identity: &str) -> Tasks {
        let election = Some(Candidacy {
            namespace: "kube-system".to_owned(),
            name: "controllers".to_owned(),
            identity: identity.to_owned(),
        });
        let tasks = Tasks::new(self.tasks.shutdown_signal().child());
        let options = controllers::Options { election, ..controllers::Options::default() };
        let (client, stop) = (self.server.client_for(User::controllers()), tasks.shutdown_signal().clone());
        tasks.spawn(identity, controllers::run(client, options, stop));
        tasks
    }

    /// Waits until `count` nodes are ready and nothing keeps Pods off them.
    pub async fn schedulable(&self, count: u32) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        self.eventually("nodes are ready and untainted", || async {
            let nodes = nodes.list(&ListParams::default()).await.expect("list").items;
            // Real agents tell the pressure that the machine under the test has: daemons tolerate it.
            let pressure = |taint: &Taint| taint.key.ends_with("-pressure");
            let clean =
                |node: &Node| node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).all(pressure);
            let clean = nodes.iter().filter(|node| clean(node)).count();
            (clean == count as usize).then_some(()).ok_or(format!("{clean} of {}", nodes.len()))
        })
        .await;
    }

    /// Asks until the answer is there; the last refusal is the failure's text.
    pub async fn eventually<T, F, Fut>(&self, what: &str, mut ask: F) -> T
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, String>>,
    {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(seen) => {
                    assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}; seen: {seen}")
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub async fn create_daemon_set(&self, namespace: &str, name: &str) -> DaemonSet {
        let set = json!({"metadata": {"name": name}, "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {
                "containers": [{"name": "c", "image": "example.com/agent:1"}]}}}});
        let set = serde_json::from_value(set).expect("DaemonSet");
        // A new namespace's service account comes a moment later; nobody needs it at this point.
        self.api::<DaemonSet>(namespace).create(&PostParams::default(), &set).await.expect("create")
    }

    pub async fn all_ready(&self, namespace: &str, name: &str, count: i32) {
        let sets = self.api::<DaemonSet>(namespace);
        self.eventually("every node has a ready Pod", || async {
            let status = sets.get(name).await.expect("get").status.unwrap_or_default();
            let done = status.number_ready == count && status.desired_number_scheduled == count;
            done.then_some(()).ok_or(format!("{status:?}"))
        })
        .await;
    }

    pub async fn pods(&self, namespace: &str) -> Vec<Pod> {
        self.api::<Pod>(namespace).list(&ListParams::default()).await.expect("list").items
    }

    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub async fn end(self) {
        let late = self.tasks.shutdown(PATIENCE).await;
        assert!(late.is_empty(), "late to stop: {late:?}");
    }
}
