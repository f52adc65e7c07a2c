//! What should be: the Pod as its source gives it, and whether it shall run or go.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

/// One Pod's desired state.
#[derive(Debug, Clone)]
pub struct Desired {
    /// Defaulted and validated. `status` is the last one known (API or own disk); its conditions' times and a
    /// terminal phase are kept.
    pub pod: Pod,
    /// From [`ephemeral_containers`](crate::ephemeral_containers), made once for each spec.
    pub ephemeral: Vec<Container>,
    pub source: PodSource,
    pub intent: Intent,
    /// What the node's admission said. Asked once per Pod by the agent.
    pub admission: Admission,
    pub host: Host,
}

impl Desired {
    /// A Pod that shall run.
    pub fn run(pod: Pod, source: PodSource, host: Host) -> Desired {
        let ephemeral = crate::pod::ephemeral_containers(&pod);
        Desired { pod, ephemeral, source, intent: Intent::Run, admission: Admission::Admitted, host }
    }

    /// The same wish for another version of the Pod.
    pub fn of(&self, pod: Pod) -> Desired {
        let ephemeral = crate::pod::ephemeral_containers(&pod);
        Desired { pod, ephemeral, ..self.clone() }
    }
}

/// Where the Pod comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodSource {
    Api,
    /// Manifest directory, file or URL: no API object to delete, a mirror at most.
    Static,
}

/// Run or go. A Pod with a deletionTimestamp is terminated whatever stands here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    Run,
    Terminate(TerminationCause),
}

/// Why a Pod is taken down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminationCause {
    /// Gone from its source (manifest removed, API object force-deleted): its own grace, at least 1 s.
    Removed,
    /// Taken down by the node: phase Failed with these words, and this grace.
    Evicted { reason: String, message: String, grace_seconds: u64 },
}

/// The node's own word on whether the Pod may run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    Admitted,
    /// Phase Failed with this reason; nothing is started. Ignored for a Pod that already runs.
    Refused {
        reason: String,
        message: String,
    },
}

/// What a status says about the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// All addresses of the node, the first one first.
    pub ips: Vec<String>,
    /// Scheme of container ids in a status: `containerd`.
    pub runtime: String,
    /// Per-node maximum of the crash back-off; 300 s unless set.
    pub crash_backoff_seconds_max: Option<u32>,
    /// When the agent started: probes of containers that are older start with a spread.
    pub agent_started_at: Option<Timestamp>,
}
