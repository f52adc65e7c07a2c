//! An API server, the controllers, and nodes that make every Pod ready.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apiserver::access::User;
use apiserver::{Config, Server};
use controllers::{Controller, Options};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use process::{Shutdown, SystemClock};
use serde_json::{Value, json};
use store::memory::MemoryStore;
use tower::ServiceExt;

/// Longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the stand-in for nodes, and a waiting test, look.
const LOOK: Duration = Duration::from_millis(10);

/// How many Pods the API lets the controllers create.
#[derive(Debug, Clone, Copy)]
pub enum Creates {
    All,
    Only(usize),
}

pub struct Cluster {
    pub client: Client,
    /// Creates that arrived up to the first pause of the controller.
    pub creates_in_first_plan: Arc<AtomicUsize>,
    shutdown: Shutdown,
    _server: Server,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Cluster {
    pub async fn start(nodes: usize) -> Self {
        Cluster::start_with(nodes, Creates::All).await
    }

    pub async fn start_with(nodes: usize, creates: Creates) -> Self {
        let config = Config::new(SystemClock::shared());
        let server = Server::new(Arc::new(MemoryStore::new()), config).await.unwrap();
        let client = server.client_for(User::admin());
        let shutdown = Shutdown::new();
        let counted = Arc::new(AtomicUsize::new(0));
        let cluster = Cluster {
            client: client.clone(),
            creates_in_first_plan: Arc::clone(&counted),
            shutdown: shutdown.clone(),
            _server: server.clone(),
        };
        for i in 0..nodes {
            cluster.node(&format!("node-{i}")).await;
        }
        let options = Options { which: [Controller::DaemonSet].into(), ..Options::default() };
        let theirs = counting_client(&server, creates, counted);
        tokio::spawn(controllers::run(theirs, options, shutdown.clone()));
        if matches!(creates, Creates::All) {
            tokio::spawn(nodes_stand_in(client, shutdown));
        }
        cluster
    }

    pub async fn node(&self, name: &str) {
        let node: Node = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Api::all(self.client.clone()).create(&PostParams::default(), &node).await.unwrap();
        // Admission taints a new node as not ready; this one is ready.
        let untainted = json!({"spec": {"taints": []}});
        let nodes = Api::<Node>::all(self.client.clone());
        nodes.patch(name, &PatchParams::default(), &Patch::Merge(&untainted)).await.unwrap();
    }

    pub async fn label(&self, node: &str, labels: Value) {
        let patch = json!({"metadata": {"labels": labels}});
        let nodes = Api::<Node>::all(self.client.clone());
        nodes.patch(node, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    fn sets(&self) -> Api<DaemonSet> {
        Api::default_namespaced(self.client.clone())
    }

    pub async fn create(&self, spec: Value) {
        let mut object = json!({
            "metadata": {"name": "foo"},
            "spec": {
                "selector": {"matchLabels": {"app": "foo"}},
                "template": {
                    "metadata": {"labels": {"app": "foo"}},
                    "spec": {"containers": [{"name": "c", "image": "image:1"}]}}},
        });
        merge(&mut object["spec"], spec);
        let object: DaemonSet = serde_json::from_value(object).unwrap();
        self.sets().create(&PostParams::default(), &object).await.unwrap();
    }

    pub async fn image(&self, image: &str) {
        let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
        self.sets().patch("foo", &PatchParams::default(), &Patch::Strategic(&patch)).await.unwrap();
    }

    pub async fn daemon_set(&self) -> DaemonSet {
        self.sets().get("foo").await.unwrap()
    }

    /// Deletes the DaemonSet and everything of it.
    pub async fn delete(&self) {
        self.sets().delete("foo", &DeleteParams::default()).await.unwrap();
        self.until("the set is gone", || async {
            self.sets().get_opt("foo").await.unwrap().is_none().then_some(())
        })
        .await;
        for pod in self.pods().await {
            let grace = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
            self.pod_api().delete(&pod.metadata.name.unwrap(), &grace).await.unwrap();
        }
        for revision in self.revisions().await {
            let name = revision.metadata.name.unwrap();
            self.revision_api().delete(&name, &DeleteParams::default()).await.unwrap();
        }
    }

    /// Deletes the DaemonSet and leaves Pods and revisions without an owner, as the garbage collector would.
    pub async fn orphan(&self) {
        self.sets().delete("foo", &DeleteParams::default()).await.unwrap();
        self.until("the set is gone", || async {
            self.sets().get_opt("foo").await.unwrap().is_none().then_some(())
        })
        .await;
        let ownerless = json!({"metadata": {"ownerReferences": null}});
        for pod in self.pods().await {
            let name = pod.metadata.name.unwrap();
            let patch = Patch::Merge(&ownerless);
            self.pod_api().patch(&name, &PatchParams::default(), &patch).await.unwrap();
        }
        for revision in self.revisions().await {
            let name = revision.metadata.name.unwrap();
            let patch = Patch::Merge(&ownerless);
            self.revision_api().patch(&name, &PatchParams::default(), &patch).await.unwrap();
        }
    }

    fn pod_api(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    fn revision_api(&self) -> Api<ControllerRevision> {
        Api::default_namespaced(self.client.clone())
    }

    pub async fn pods(&self) -> Vec<Pod> {
        self.pod_api().list(&ListParams::default()).await.unwrap().items
    }

    pub async fn revisions(&self) -> Vec<ControllerRevision> {
        self.revision_api().list(&ListParams::default()).await.unwrap().items
    }

    pub async fn pods_when(&self, what: &str, holds: impl Fn(&[Pod]) -> bool) -> Vec<Pod> {
        self.until(what, || async {
            let pods = self.pods().await;
            holds(&pods).then_some(pods)
        })
        .await
    }

    pub async fn status_when(&self, what: &str, holds: impl Fn(&DaemonSetStatus) -> bool) -> DaemonSetStatus {
        self.until(what, || async {
            let status = self.daemon_set().await.status.unwrap_or_default();
            holds(&status).then_some(status)
        })
        .await
    }

    pub async fn event_when(&self, reason: &str, message: &str) -> Event {
        let events = Api::<Event>::default_namespaced(self.client.clone());
        self.until(reason, || async {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            let said = |event: &Event| event.message.as_ref().is_some_and(|m| m.contains(message));
            all.into_iter().find(|event| event.reason.as_deref() == Some(reason) && said(event))
        })
        .await
    }

    async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, look: impl Fn() -> F) -> T {
        let wait = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(found) => found,
            Err(_) => {
                let now = jiff::Timestamp::now();
                let explained =
                    controllers::daemonset::explain(self.client.clone(), "default", "foo", now).await;
                panic!("not in time: {what}\n{explained:?}\n{:?}", self.sets().get_opt("foo").await);
            }
        }
    }
}

/// The controllers' client, through which the tests count and refuse creates of Pods.
fn counting_client(server: &Server, creates: Creates, first: Arc<AtomicUsize>) -> Client {
    let service = server.service_for(User::controllers());
    let total = Arc::new(AtomicUsize::new(0));
    let counting = Arc::new(AtomicUsize::new(1));
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (service, total) = (service.clone(), Arc::clone(&total));
        let path = request.uri().path().to_owned();
        let creates_pod = request.method() == http::Method::POST && path.ends_with("/pods");
        // The status ends a plan.
        if path.ends_with("/status") && total.load(Ordering::SeqCst) > 0 {
            counting.store(0, Ordering::SeqCst);
        }
        if creates_pod && counting.load(Ordering::SeqCst) == 1 {
            first.fetch_add(1, Ordering::SeqCst);
        }
        async move {
            if let Creates::Only(allowed) = creates
                && creates_pod
                && total.fetch_add(1, Ordering::SeqCst) >= allowed
            {
                return Err::<_, tower::BoxError>("the API takes no more Pods".into());
            }
            if creates_pod && matches!(creates, Creates::All) {
                total.fetch_add(1, Ordering::SeqCst);
            }
            service.oneshot(request).await.map_err(tower::BoxError::from)
        }
    });
    Client::new(service, "default")
}

/// Makes Pods ready, and lets deleted ones go.
async fn nodes_stand_in(client: Client, shutdown: Shutdown) {
    let pods = Api::<Pod>::default_namespaced(client);
    while !shutdown.is_cancelled() {
        let all = pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        for pod in all {
            let name = pod.metadata.name.clone().unwrap();
            if pod.metadata.deletion_timestamp.is_some() {
                let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                let _ = pods.delete(&name, &now).await;
            } else if !api::pod::is_ready(&pod) && !api::pod::is_terminal(&pod) {
                let ready = json!({"status": {"phase": "Running", "conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}]}});
                let _ = pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&ready)).await;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
