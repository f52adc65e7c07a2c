//! What a Pod that fits nowhere waits for: which news may change the answer, which cannot.
//!
//! [`Waiting`] keeps the causes of the refusals; [`Waiting::may_help`] holds a piece of news against them. It errs on the side
//! of hope: a Pod that is tried in vain waits again. Upstream: the plugins' EventsToRegister and queueing hints.

use std::collections::BTreeSet;

use api::meta::Meta;
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::fits_node;
use crate::incoming::Incoming;
use crate::load::{Demand, NodeLoad};
use crate::spread::{Constraint, HARD, constraints_of};
use crate::terms::{NamespaceLabels, PodTerms};
use crate::unfit::Unfit;

/// Why a Pod waits, with what it takes to hold news against that.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    causes: BTreeSet<Cause>,
    demand: Demand,
    terms: PodTerms,
    spread: Vec<Constraint>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Ports,
    PodCount,
    Resource(String),
    Affinity,
    OwnDistance,
    OthersDistance,
    Spread,
}

/// Something that happened in the cluster.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    NodeCame(&'a Node),
    NodeChanged {
        before: &'a Node,
        after: &'a Node,
    },
    NodeLeft(&'a Node),
    /// A Pod is on a Node, or will be.
    PodCame(&'a Pod),
    PodChanged {
        before: &'a Pod,
        after: &'a Pod,
    },
    /// A Pod has left its Node, or has ended.
    PodLeft(&'a Pod),
    /// A namespace's labels changed.
    Namespace,
}

/// Whether the news are of a Node that the Pod may be on at all, by the names that its affinity gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Within,
    Beyond,
}

impl Waiting {
    /// After these refusals; none at all is a Pod that only a new Node can help.
    pub fn after<'r>(incoming: &Incoming<'_>, refusals: impl IntoIterator<Item = &'r Unfit>) -> Self {
        let cause = |reason: &Unfit| match reason {
            Unfit::HostPorts => Some(Cause::Ports),
            Unfit::TooManyPods => Some(Cause::PodCount),
            Unfit::Insufficient { resource, .. } => Some(Cause::Resource(resource.clone())),
            Unfit::PodAffinity => Some(Cause::Affinity),
            Unfit::PodAntiAffinity => Some(Cause::OwnDistance),
            Unfit::ExistingPodsAntiAffinity => Some(Cause::OthersDistance),
            Unfit::TopologySpread | Unfit::TopologySpreadMissingLabel => Some(Cause::Spread),
            // Only the Node itself can change these.
            Unfit::Unschedulable
            | Unfit::NodeName
            | Unfit::UntoleratedTaint { .. }
            | Unfit::NodeSelection => None,
        };
        Waiting {
            causes: refusals.into_iter().filter_map(cause).collect(),
            demand: incoming.demand.clone(),
            terms: incoming.terms.clone(),
            spread: constraints_of(incoming.pod, HARD),
        }
    }

    /// Pods of other Nodes may decide: news from beyond its reach count too.
    pub fn looks_around(&self) -> bool {
        self.causes.iter().any(Cause::is_between_pods)
    }

    /// May the Pod that waits fit now?
    pub fn may_help(&self, pod: &Pod, news: &News<'_>, reach: Reach, namespaces: &NamespaceLabels) -> bool {
        let within = reach == Reach::Within;
        match news {
            News::NodeCame(node) => (within && self.could_be_on(pod, node)) || self.spreads_over(node),
            News::NodeChanged { before, after } => {
                (within && self.changes_the_answer(pod, before, after)) || self.moves_a_domain(before, after)
            }
            News::NodeLeft(_) => self.looks_around(),
            News::PodCame(there) => self.wants(pod, there, namespaces),
            News::PodLeft(there) => (within && self.frees(there)) || self.gives_way(pod, there, namespaces),
            News::PodChanged { before, after } => {
                let other_labels = before.labels() != after.labels();
                let leaves = after.is_deleting() && !before.is_deleting();
                (within && self.shrinks(before, after))
                    || (other_labels && self.wants(pod, after, namespaces))
                    || ((other_labels || leaves) && self.gives_way(pod, before, namespaces))
            }
            News::Namespace => {
                let terms = self.terms.affinity.iter().chain(&self.terms.anti_affinity);
                self.looks_around() && terms.into_iter().any(|term| term.asks_for_namespaces())
            }
        }
    }

    /// A Node that no other Pod is on yet.
    fn could_be_on(&self, pod: &Pod, node: &Node) -> bool {
        fits_node(pod, node).is_ok() && NodeLoad::empty(node).lacking(&self.demand).is_empty()
    }

    fn changes_the_answer(&self, pod: &Pod, before: &Node, after: &Node) -> bool {
        let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
        let lacks = || self.causes.iter().any(|c| matches!(c, Cause::PodCount | Cause::Resource(_)));
        let (was, is) = (fits_node(pod, before), fits_node(pod, after));
        // Another reason than before does not help, but is to be told.
        (was.is_err() && was != is)
            || (is.is_ok() && before.uid() != after.uid())
            || (is.is_ok() && lacks() && allocatable(before) != allocatable(after))
    }

    /// The Node joins, leaves or changes a topology domain that has a say.
    fn moves_a_domain(&self, before: &Node, after: &Node) -> bool {
        // What keeps away from this Pod may do so by any label.
        (self.causes.contains(&Cause::OthersDistance) && before.labels() != after.labels())
            || (self.looks_around() && self.keys().any(|key| before.label(key) != after.label(key)))
    }

    fn spreads_over(&self, node: &Node) -> bool {
        self.causes.contains(&Cause::Spread)
            && self.spread.iter().any(|constraint| node.label(&constraint.topology_key).is_some())
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        let terms = self.terms.affinity.iter().chain(&self.terms.anti_affinity);
        let spread = self.spread.iter().map(|constraint| constraint.topology_key.as_str());
        terms.map(|term| term.topology_key.as_str()).chain(spread)
    }

    /// Somebody's coming helps whoever waits for company, or for other domains to fill up.
    fn wants(&self, pod: &Pod, there: &Pod, namespaces: &NamespaceLabels) -> bool {
        (self.causes.contains(&Cause::Affinity) && self.terms.attracts(there, namespaces))
            || self.spreads_with(pod, there)
    }

    /// Somebody's leaving frees what was lacking.
    fn frees(&self, there: &Pod) -> bool {
        let demand = Demand::of(there);
        self.causes.iter().any(|cause| match cause {
            Cause::PodCount => true,
            Cause::Resource(name) => demand.requests.contains_key(name),
            Cause::Ports => {
                let conflicts =
                    |own: &api::pod::HostPort| demand.host_ports.iter().any(|port| port.conflicts_with(own));
                self.demand.host_ports.iter().any(conflicts)
            }
            Cause::Affinity | Cause::OwnDistance | Cause::OthersDistance | Cause::Spread => false,
        })
    }

    fn shrinks(&self, before: &Pod, after: &Pod) -> bool {
        let lacks = |name: &str| self.causes.iter().any(|c| matches!(c, Cause::Resource(n) if n == name));
        let (before, after) = (Demand::of(before).requests, Demand::of(after).requests);
        before.iter().any(|(name, amount)| lacks(name) && after.get(name).is_none_or(|now| now < amount))
    }

    /// Somebody's leaving ends a conflict between Pods.
    fn gives_way(&self, pod: &Pod, there: &Pod, namespaces: &NamespaceLabels) -> bool {
        self.causes.iter().any(|cause| match cause {
            Cause::OwnDistance => self.terms.anti_affinity.iter().any(|term| term.matches(there, namespaces)),
            Cause::OthersDistance => {
                PodTerms::of(there).anti_affinity.iter().any(|term| term.matches(pod, namespaces))
            }
            // With the last one that it wanted to be with gone, it may be the first of its group.
            Cause::Affinity => self.terms.attracts(there, namespaces),
            Cause::Spread => self.spreads_with(pod, there),
            Cause::Ports | Cause::PodCount | Cause::Resource(_) => false,
        })
    }

    fn spreads_with(&self, pod: &Pod, there: &Pod) -> bool {
        let counts = |constraint: &Constraint| {
            there.namespace() == pod.namespace() && constraint.pods.matches(there.labels())
        };
        self.causes.contains(&Cause::Spread) && self.spread.iter().any(counts)
    }
}

impl Cause {
    fn is_between_pods(&self) -> bool {
        match self {
            Cause::Affinity | Cause::OwnDistance | Cause::OthersDistance | Cause::Spread => true,
            Cause::Ports | Cause::PodCount | Cause::Resource(_) => false,
        }
    }
}
