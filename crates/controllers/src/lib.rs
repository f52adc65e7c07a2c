//! The controllers, one module each, over one set of shared caches.
//!
//! Each watches, decides from what it saw and writes through the public API; none calls another. What they share is
//! the [`Context`]: the client, the clock and the caches of Pods and Nodes, which keep what controllers ask for ([`trim`]).
//! Which of them run is [`Options::which`]; what none of these needs is not watched. Upstream: kube-controller-manager.

pub mod account_tokens;
mod backends;
pub mod bootstrap_tokens;
pub mod certificates;
pub mod daemonset;
pub mod disruption;
pub mod endpoint_slice;
pub mod endpoints;
pub mod garbage_collector;
mod kinds;
pub mod namespace;
pub mod node_lifecycle;
pub mod pod_gc;
pub mod role_aggregation;
pub mod root_ca;
mod selected;
mod selection;
pub mod service_account;
mod trim;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::meta::Meta;
use client::Cache;
use client::events::{Recorder, Speaker};
use client::lease::{Candidacy, while_leading};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{Api, Client};
use process::{Clock, Shutdown, SystemClock, Tasks};

pub use selection::{Selection, UnknownController};

/// How long the controllers may take to stop: a write under way is waited for, nothing new is begun.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Index of the Pod cache: by `spec.nodeName`.
pub const PODS_BY_NODE: &str = "node";
/// Index of the Pod cache: by the uid of the controlling owner.
pub const PODS_BY_CONTROLLER: &str = "controller";

/// One of the controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    DaemonSet,
    GarbageCollector,
    NodeLifecycle,
    PodGc,
    Namespace,
    ServiceAccount,
    RootCa,
    RoleAggregation,
    CertificateApproving,
    CertificateSigning,
    CertificateCleaner,
    TokenCleaner,
    AccountTokens,
    Disruption,
    Endpoints,
    EndpointSlice,
    EndpointSliceMirroring,
}

impl Controller {
    pub const ALL: [Controller; 17] = [
        Controller::DaemonSet,
        Controller::GarbageCollector,
        Controller::NodeLifecycle,
        Controller::PodGc,
        Controller::Namespace,
        Controller::ServiceAccount,
        Controller::RootCa,
        Controller::RoleAggregation,
        Controller::CertificateApproving,
        Controller::CertificateSigning,
        Controller::CertificateCleaner,
        Controller::TokenCleaner,
        Controller::AccountTokens,
        Controller::Disruption,
        Controller::Endpoints,
        Controller::EndpointSlice,
        Controller::EndpointSliceMirroring,
    ];
}

/// What the controllers are told at their start.
#[derive(Clone)]
pub struct Options {
    pub which: BTreeSet<Controller>,
    /// The certificate that Pods are to trust, as PEM, for each namespace's `kube-root-ca.crt`.
    pub root_ca_pem: Option<String>,
    /// What signs certificate requests; without it nothing does.
    pub signing: Option<Arc<certificates::authority::Authority>>,
    /// Where several processes run controllers: only the one that leads acts. `None`: this is the only one.
    pub election: Option<Candidacy>,
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            which: Controller::ALL.into(),
            root_ca_pem: None,
            signing: None,
            election: None,
            clock: SystemClock::shared(),
        }
    }
}

/// What the controllers share. Clones share the caches.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub clock: Arc<dyn Clock>,
    pub tasks: Tasks,
    pub pods: Cache<Pod>,
    pub nodes: Cache<Node>,
}

impl Context {
    /// Starts the shared caches.
    pub fn start(client: Client, clock: Arc<dyn Clock>, tasks: Tasks) -> Context {
        let pods = Cache::<Pod>::builder(Api::all(client.clone()))
            .index(PODS_BY_NODE, |pod| api::pod::node_name(pod).map(str::to_owned).into_iter().collect())
            .index(PODS_BY_CONTROLLER, |pod| {
                pod.controller_owner().map(|owner| owner.uid.clone()).into_iter().collect()
            })
            .trim(trim::pod)
            .clock(Arc::clone(&clock))
            .start(&tasks);
        let nodes = Cache::<Node>::builder(Api::all(client.clone()))
            .trim(trim::node)
            .clock(Arc::clone(&clock))
            .start(&tasks);
        Context { client, clock, tasks, pods, nodes }
    }

    fn all_namespaces(&self) -> Cache<Namespace> {
        let all = Cache::<Namespace>::builder(Api::all(self.client.clone()));
        all.clock(Arc::clone(&self.clock)).start(&self.tasks)
    }

    pub fn shutdown(&self) -> &Shutdown {
        self.tasks.shutdown_signal()
    }

    /// The same context with tasks of its own, which end when the scope is dropped: what a controller starts beside
    /// itself does not outlive it, so that one that is started again after a panic starts afresh.
    pub fn scope(&self) -> Scope {
        Scope(Context { tasks: Tasks::new(self.shutdown().child()), ..self.clone() })
    }

    /// An event recorder that speaks as this component.
    pub fn recorder(&self, component: &str) -> Recorder {
        let speaker = Speaker::component(component);
        Recorder::start(self.client.clone(), speaker, Arc::clone(&self.clock), &self.tasks)
    }
}

/// A [`Context`] whose tasks end with it.
pub struct Scope(Context);

impl Scope {
    pub fn context(&self) -> &Context {
        &self.0
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.0.shutdown().trigger();
    }
}

/// Runs the chosen controllers until shutdown. They wait for their caches themselves; an API that is away is
/// waited for.
pub async fn run(client: Client, options: Options, shutdown: Shutdown) {
    let work = |stop| act(client.clone(), &options, stop);
    while_leading(&client, options.election.as_ref(), &options.clock, &shutdown, work).await;
}

async fn act(client: Client, options: &Options, shutdown: Shutdown) {
    let tasks = Tasks::new(shutdown.child());
    let context = Context::start(client, Arc::clone(&options.clock), tasks.clone());
    let mut namespaces: Option<Cache<Namespace>> = None;
    let mut all_namespaces = || namespaces.get_or_insert_with(|| context.all_namespaces()).clone();
    for controller in &options.which {
        let context = context.clone();
        match controller {
            Controller::DaemonSet => tasks.supervise("daemonset", move || daemonset::run(context.clone())),
            Controller::GarbageCollector => {
                tasks.supervise("garbage collector", move || garbage_collector::run(context.clone()));
            }
            Controller::NodeLifecycle => {
                tasks.supervise("node lifecycle", move || node_lifecycle::run(context.clone()));
            }
            Controller::PodGc => tasks.supervise("pod gc", move || pod_gc::run(context.clone())),
            Controller::Namespace => {
                let namespaces = all_namespaces();
                tasks.supervise("namespace", move || namespace::run(context.clone(), namespaces.clone()));
            }
            Controller::ServiceAccount => {
                let namespaces = all_namespaces();
                tasks.supervise("service account", move || {
                    service_account::run(context.clone(), namespaces.clone())
                });
            }
            Controller::Disruption => tasks.supervise("disruption", move || disruption::run(context.clone())),
            Controller::Endpoints => tasks.supervise("endpoints", move || endpoints::run(context.clone())),
            Controller::EndpointSlice => {
                tasks.supervise("endpoint slice", move || endpoint_slice::run(context.clone()));
            }
            Controller::EndpointSliceMirroring => {
                tasks.supervise("endpoint slice mirroring", move || {
                    endpoint_slice::mirror::run(context.clone())
                });
            }
            Controller::RootCa => {
                let Some(pem) = options.root_ca_pem.clone() else { continue };
                let namespaces = all_namespaces();
                tasks.supervise("root ca", move || {
                    root_ca::run(context.clone(), namespaces.clone(), pem.clone())
                });
            }
            Controller::RoleAggregation => {
                tasks.supervise("role aggregation", move || role_aggregation::run(context.clone()));
            }
            Controller::CertificateApproving => {
                tasks.supervise("certificate approver", move || certificates::approver::run(context.clone()));
            }
            Controller::CertificateSigning => {
                let Some(authority) = options.signing.clone() else { continue };
                tasks.supervise("certificate signer", move || {
                    certificates::signer::run(context.clone(), Arc::clone(&authority))
                });
            }
            Controller::CertificateCleaner => {
                tasks.supervise("certificate cleaner", move || certificates::cleaner::run(context.clone()));
            }
            Controller::AccountTokens => {
                let pem = options.root_ca_pem.clone();
                tasks.supervise("account tokens", move || account_tokens::run(context.clone(), pem.clone()));
            }
            Controller::TokenCleaner => {
                tasks.supervise("token cleaner", move || bootstrap_tokens::run(context.clone()));
            }
        }
    }
    shutdown.cancelled().await;
    // Late tasks are named in the log by `Tasks`.
    let _ = tasks.shutdown(STOP_PATIENCE).await;
}
