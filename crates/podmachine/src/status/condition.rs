//! The conditions, in upstream's order and words.

use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::desired::{Intent, TerminationCause};
use crate::pod::{self, Role};
use crate::turn::Turn;

const READY_TO_START: &str = "PodReadyToStartContainers";
const DISRUPTION: &str = "DisruptionTarget";
const OWN: [&str; 6] =
    [DISRUPTION, READY_TO_START, "Initialized", "Ready", "ContainersReady", "PodScheduled"];

struct Said {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Said {
    fn yes() -> Self {
        Self { holds: true, reason: None, message: None }
    }

    fn no(reason: &'static str, message: Option<String>) -> Self {
        Self { holds: false, reason: Some(reason), message }
    }
}

/// `[a b]`, as Go prints a list.
fn list(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

pub(super) fn conditions(
    turn: &Turn<'_>,
    status: &PodStatus,
    mains: &[ContainerStatus],
    inits: &[ContainerStatus],
) -> Vec<PodCondition> {
    let last = status.conditions.clone().unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or_default();
    let containers = containers_ready(turn, phase, mains, inits);
    let ready = ready(turn, phase, &last, &containers);
    let sandbox = match turn.view.ready_sandbox() {
        Some(sandbox) if api::pod::is_host_network(turn.pod) || !sandbox.ips.is_empty() => Said::yes(),
        Some(_) | None => Said { holds: false, reason: None, message: None },
    };
    let said = [
        (READY_TO_START, sandbox),
        ("Initialized", initialized(turn, phase, mains, inits)),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", Said::yes()),
    ];
    let mut conditions = Vec::new();
    if let Some(condition) = disruption(turn, &last) {
        conditions.push(condition);
    }
    conditions.extend(said.into_iter().map(|(kind, said)| dated(turn, &last, kind, said)));
    // Conditions of others (readiness gates) are theirs: the object's are newer than ours.
    let object = turn.pod.status.as_ref().map(|status| status.conditions.clone().unwrap_or_default());
    let foreign = |condition: &PodCondition| !OWN.contains(&condition.type_.as_str());
    conditions.extend(object.unwrap_or(last).into_iter().filter(foreign));
    conditions
}

/// The time is kept while the status is.
fn dated(turn: &Turn<'_>, last: &[PodCondition], kind: &str, said: Said) -> PodCondition {
    let status = if said.holds { "True" } else { "False" };
    let same = last.iter().find(|condition| condition.type_ == kind && condition.status == status);
    let since = same.and_then(|condition| condition.last_transition_time.clone());
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: said.reason.map(str::to_owned),
        message: said.message,
        last_probe_time: None,
        last_transition_time: since.or(Some(Time(turn.now))),
        observed_generation: turn.pod.metadata.generation,
    }
}

fn disruption(turn: &Turn<'_>, last: &[PodCondition]) -> Option<PodCondition> {
    let known = last.iter().find(|condition| condition.type_ == DISRUPTION);
    match &turn.desired.intent {
        Intent::Terminate(TerminationCause::Evicted { message, .. }) => {
            let said =
                Said { holds: true, reason: Some("TerminationByKubelet"), message: Some(message.clone()) };
            Some(dated(turn, last, DISRUPTION, said))
        }
        Intent::Run | Intent::Terminate(TerminationCause::Removed) => known.cloned(),
    }
}

fn initialized(turn: &Turn<'_>, phase: &str, mains: &[ContainerStatus], inits: &[ContainerStatus]) -> Said {
    let regular = |name: &str| pod::member(turn.spec, name).is_some_and(|member| member.role == Role::Init);
    if phase == "Succeeded" {
        return Said { holds: true, reason: Some("PodCompleted"), message: None };
    }
    let began = mains.iter().any(|status| status.container_id.is_some());
    let open: Vec<&str> = inits
        .iter()
        .filter(|status| if regular(&status.name) { !status.ready } else { status.started != Some(true) })
        .map(|status| status.name.as_str())
        .collect();
    if open.is_empty() || began {
        return Said::yes();
    }
    let message = format!("containers with incomplete status: {}", list(&open));
    Said::no("ContainersNotInitialized", Some(message))
}

fn containers_ready(
    turn: &Turn<'_>,
    phase: &str,
    mains: &[ContainerStatus],
    inits: &[ContainerStatus],
) -> Said {
    match phase {
        "Succeeded" => return Said::no("PodCompleted", None),
        "Failed" => return Said::no("PodFailed", None),
        _ => (),
    }
    let counts = |status: &&ContainerStatus| {
        pod::member(turn.spec, &status.name).is_some_and(|member| member.role != Role::Init)
    };
    let unready: Vec<&str> = inits
        .iter()
        .chain(mains)
        .filter(counts)
        .filter(|status| !status.ready)
        .map(|status| status.name.as_str())
        .collect();
    if unready.is_empty() {
        return Said::yes();
    }
    Said::no("ContainersNotReady", Some(format!("containers with unready status: {}", list(&unready))))
}

fn ready(turn: &Turn<'_>, phase: &str, last: &[PodCondition], containers: &Said) -> Said {
    if !containers.holds {
        return Said { holds: false, reason: containers.reason, message: containers.message.clone() };
    }
    // Gates are set through the API by others: the object's own conditions are asked too.
    let current =
        turn.pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let find = |kind: &str| current.iter().chain(last).find(|condition| condition.type_ == kind);
    let mut missing = Vec::new();
    for gate in turn.spec.readiness_gates.iter().flatten() {
        let kind = &gate.condition_type;
        match find(kind) {
            None => missing
                .push(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
            Some(condition) if condition.status != "True" => missing.push(format!(
                "the status of pod readiness gate \"{kind}\" is not \"True\", but {}",
                condition.status
            )),
            Some(_) => (),
        }
    }
    if missing.is_empty() || phase == "Succeeded" || phase == "Failed" {
        return Said::yes();
    }
    Said::no("ReadinessGatesNotReady", Some(missing.join(", ")))
}
