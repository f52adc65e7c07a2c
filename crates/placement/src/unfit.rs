//! Why a Pod may not be on a Node, in the words of upstream's scheduler.
//!
//! The `Display` text of each reason is a wire string: users and their scripts read it inside
//! FailedScheduling events and the PodScheduled condition.

use std::fmt;

/// One reason why a Node was refused for a Pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// spec.unschedulable is set and the Pod does not tolerate the unschedulable taint.
    Unschedulable,
    /// spec.nodeName asks for another Node.
    NodeName,
    /// The first taint with an effect that keeps Pods away and that no toleration covers.
    UntoleratedTaint { key: String, value: String },
    /// spec.nodeSelector or the required node affinity does not match.
    NodeSelection,
    /// A host port that the Pod asks for is taken.
    HostPorts,
    /// The Node already has as many Pods as it allows.
    TooManyPods,
    /// Less of a resource is free than the Pod requests.
    Insufficient { resource: String, ever: Ever },
    /// The Pod's own required pod affinity.
    PodAffinity,
    /// The Pod's own required pod anti-affinity.
    PodAntiAffinity,
    /// The required anti-affinity of a Pod that is already there.
    ExistingPodsAntiAffinity,
    /// A topology spread constraint would be exceeded.
    TopologySpread,
    /// The Node lacks the topology label of a spread constraint.
    TopologySpreadMissingLabel,
}

/// Whether an empty Node of this size could take the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ever {
    /// It would fit, were the other Pods away.
    WhenOthersLeave,
    /// The request is larger than the Node's whole allocatable amount.
    Never,
}

/// Whether removing lower-priority Pods from the Node might remove the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preemption {
    MayHelp,
    NotHelpful,
}

impl Unfit {
    /// Upstream: a filter's `Unschedulable` against `UnschedulableAndUnresolvable`.
    pub fn preemption(&self) -> Preemption {
        match self {
            Unfit::HostPorts
            | Unfit::TooManyPods
            | Unfit::Insufficient { ever: Ever::WhenOthersLeave, .. }
            | Unfit::PodAntiAffinity
            | Unfit::ExistingPodsAntiAffinity
            | Unfit::TopologySpread => Preemption::MayHelp,
            Unfit::Unschedulable
            | Unfit::NodeName
            | Unfit::UntoleratedTaint { .. }
            | Unfit::NodeSelection
            | Unfit::Insufficient { ever: Ever::Never, .. }
            | Unfit::PodAffinity
            | Unfit::TopologySpreadMissingLabel => Preemption::NotHelpful,
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Unschedulable => f.write_str("node(s) were unschedulable"),
            Unfit::NodeName => f.write_str("node(s) didn't match the requested node name"),
            Unfit::UntoleratedTaint { key, value } => {
                write!(f, "node(s) had untolerated taint {{{key}: {value}}}")
            }
            Unfit::NodeSelection => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Unfit::HostPorts => f.write_str("node(s) didn't have free ports for the requested pod ports"),
            Unfit::TooManyPods => f.write_str("Too many pods"),
            Unfit::Insufficient { resource, .. } => write!(f, "Insufficient {resource}"),
            Unfit::PodAffinity => f.write_str("node(s) didn't match pod affinity rules"),
            Unfit::PodAntiAffinity => f.write_str("node(s) didn't match pod anti-affinity rules"),
            Unfit::ExistingPodsAntiAffinity => {
                f.write_str("node(s) didn't satisfy existing pods anti-affinity rules")
            }
            Unfit::TopologySpread => f.write_str("node(s) didn't match pod topology spread constraints"),
            Unfit::TopologySpreadMissingLabel => {
                f.write_str("node(s) didn't match pod topology spread constraints (missing required label)")
            }
        }
    }
}
