//! Why a Pod that is there does not run, or would not: in one line, from what the scheduler and the node agent wrote.
//!
//! This explains and decides nothing: the controller creates a Pod whether there is room for it or not, as upstream's does.

use k8s_openapi::api::core::v1::{ContainerStatus, Node, Pod};
use placement::{Demand, NodeLoad, Unfit};

use crate::explanation::Cause;

/// Characters of a container's message that are shown: the rest is in the Pod's status.
const MESSAGE_CHARS_MAX: usize = 160;
/// What a container says while all goes well.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// What is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub cause: Cause,
    /// Empty if there is nothing to say.
    pub text: String,
}

/// What would keep a Pod that is not there yet from being scheduled to its Node.
pub fn would_not_fit(pod: &Pod, node: &Node, load: &NodeLoad) -> Option<Trouble> {
    let demand = Demand::of(pod);
    let one = placement::fits_node(pod, node).and_then(|()| load.fits_ports(&demand));
    let reasons = one.map_or_else(|reason| vec![reason], |()| load.lacking(&demand));
    let cause = cause_of(reasons.first()?);
    let texts: Vec<String> = reasons.iter().map(Unfit::to_string).collect();
    Some(Trouble { cause, text: texts.join(", ") })
}

/// Why a Pod is not ready. `there`: its Node, and what is taken of it, this Pod included if it is bound.
pub fn why_not_ready(pod: &Pod, there: Option<(&Node, &NodeLoad)>) -> Trouble {
    if api::pod::node_name(pod).is_none() {
        return not_scheduled(pod, there);
    }
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
    let main = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    if let Some(trouble) = init.iter().chain(main).find_map(stuck) {
        return trouble;
    }
    if let Some(reason) = status.and_then(|status| status.reason.as_deref()) {
        let message = status.and_then(|status| status.message.as_deref());
        return Trouble { cause: Cause::Container, text: with_message(reason, message) };
    }
    if init.is_empty() && main.is_empty() {
        return Trouble { cause: Cause::Container, text: "the node has not begun with it".to_owned() };
    }
    let waiting =
        |container: &&ContainerStatus| container.state.as_ref().is_some_and(|state| state.waiting.is_some());
    if let Some(container) = init.iter().chain(main).find(waiting) {
        return Trouble {
            cause: Cause::Container,
            text: format!("container {} is being started", container.name),
        };
    }
    match main.iter().find(|container| !container.ready) {
        Some(container) => {
            Trouble { cause: Cause::NotReady, text: format!("container {} is not ready", container.name) }
        }
        None => {
            let message = api::pod::ready_condition(pod).and_then(|condition| condition.message.clone());
            Trouble { cause: Cause::NotReady, text: message.unwrap_or_default() }
        }
    }
}

/// Finalizers that keep a terminating Pod.
pub fn held_by(pod: &Pod) -> Option<String> {
    let finalizers = pod.metadata.finalizers.as_deref().filter(|finalizers| !finalizers.is_empty())?;
    Some(finalizers.join(", "))
}

fn not_scheduled(pod: &Pod, there: Option<(&Node, &NodeLoad)>) -> Trouble {
    if api::pod::has_scheduling_gates(pod) {
        let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_deref()).unwrap_or_default();
        let names: Vec<&str> = gates.iter().map(|gate| gate.name.as_str()).collect();
        return Trouble {
            cause: Cause::Scheduler,
            text: format!("pending: held by gates {}", names.join(", ")),
        };
    }
    let condition = api::pod::condition(pod, "PodScheduled").filter(|condition| condition.status == "False");
    let message = condition.and_then(|condition| condition.message.as_deref()).unwrap_or_default();
    let now = there.and_then(|(node, load)| would_not_fit(pod, node, load));
    match (message, now) {
        ("", Some(trouble)) => Trouble { text: format!("pending: {}", trouble.text), ..trouble },
        ("", None) => {
            let scheduler = api::pod::scheduler_name(pod);
            Trouble {
                cause: Cause::Scheduler,
                text: format!("pending: {scheduler} has not looked at it yet"),
            }
        }
        (message, _) => Trouble { cause: cause_in(message), text: format!("pending: {message}") },
    }
}

/// A container that waits for something other than its turn, or that ended.
fn stuck(container: &ContainerStatus) -> Option<Trouble> {
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().filter(|reason| !STARTING.contains(reason))?;
        let restarts = match container.restart_count {
            0 => String::new(),
            count => format!(" after {count} restarts"),
        };
        let text = with_message(&format!("{reason}{restarts}"), waiting.message.as_deref());
        return Some(Trouble {
            cause: Cause::Container,
            text: format!("container {}: {text}", container.name),
        });
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    let reason = ended.reason.as_deref().unwrap_or("ended");
    let text = format!("container {}: {reason}, exit code {}", container.name, ended.exit_code);
    Some(Trouble { cause: Cause::Container, text })
}

fn with_message(reason: &str, message: Option<&str>) -> String {
    let Some(message) = message.filter(|message| !message.is_empty()) else { return reason.to_owned() };
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let shown: String = line.chars().take(MESSAGE_CHARS_MAX).collect();
    let more = if shown.len() < line.len() { "…" } else { "" };
    format!("{reason}: {shown}{more}")
}

fn cause_of(reason: &Unfit) -> Cause {
    match reason {
        Unfit::TooManyPods | Unfit::Insufficient { .. } => Cause::Resources,
        Unfit::HostPorts => Cause::Ports,
        Unfit::UntoleratedTaint { .. } => Cause::Taint,
        Unfit::NodeName => Cause::NodeName,
        Unfit::NodeSelection => Cause::Affinity,
        Unfit::Unschedulable
        | Unfit::PodAffinity
        | Unfit::PodAntiAffinity
        | Unfit::ExistingPodsAntiAffinity
        | Unfit::TopologySpread
        | Unfit::TopologySpreadMissingLabel => Cause::Scheduler,
    }
}

/// What a scheduler's message is about. The part on preemption repeats counts and names no cause.
fn cause_in(message: &str) -> Cause {
    let reasons = message.split(" preemption: ").next().unwrap_or_default();
    if reasons.contains("Insufficient ") || reasons.contains("Too many pods") {
        Cause::Resources
    } else if reasons.contains("free ports") {
        Cause::Ports
    } else if reasons.contains("untolerated taint") {
        Cause::Taint
    } else if reasons.contains("node affinity/selector") {
        Cause::Affinity
    } else {
        Cause::Scheduler
    }
}
