//! A Pod's row: its one-word status is worked out from phase, containers and deletion, as people know it.
//!
//! Upstream: `printPod` in `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use super::cells::{NONE, age as age_cell, integer, list, name, or_none, text};

/// What upstream writes into a Pod's reason when its node is gone.
const NODE_LOST: &str = "NodeLost";

/// What the containers add up to.
struct Summary {
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
    reason: String,
}

pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let sidecars = list(pod, "/spec/initContainers").iter().filter(|container| is_sidecar(container)).count();
    let total = list(pod, "/spec/containers").len() + sidecars;
    let summary = summarize(pod);
    let restarts = match summary.last_restart {
        Some(last) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, age::human(now.duration_since(last).as_secs()))
        }
        _ => summary.restarts.to_string(),
    };
    vec![
        name(pod),
        format!("{}/{total}", summary.ready).into(),
        summary.reason.into(),
        restarts.into(),
        age_cell(pod, now),
        or_none(text(pod, "/status/podIPs/0/ip")).into(),
        or_none(text(pod, "/spec/nodeName")).into(),
        or_none(text(pod, "/status/nominatedNodeName")).into(),
        readiness_gates(pod).into(),
    ]
}

/// The row condition of a Pod that has ended, so that clients can leave it out.
pub(super) fn completed(pod: &Value) -> Option<Value> {
    let (reason, message) = match text(pod, "/status/phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!({"type": "Completed", "status": "True", "reason": reason, "message": message}))
}

fn summarize(pod: &Value) -> Summary {
    let mut summary =
        Summary { ready: 0, restarts: 0, last_restart: None, reason: base_reason(pod).to_owned() };
    let sidecars = init_containers(pod, &mut summary);
    match sidecars {
        Initialization::Under { .. } if condition(pod, "Initialized") != Some("True") => {}
        Initialization::Under { sidecars } | Initialization::Over { sidecars } => {
            summary.restarts = sidecars.restarts;
            summary.last_restart = sidecars.last;
            containers(pod, &mut summary);
        }
    }
    if pod.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()) {
        if text(pod, "/status/reason") == NODE_LOST {
            summary.reason = "Unknown".to_owned();
        } else if !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
            summary.reason = "Terminating".to_owned();
        }
    }
    summary
}

/// Before any container is looked at.
fn base_reason(pod: &Value) -> &str {
    let gated = list(pod, "/status/conditions").iter().any(|condition| {
        text(condition, "/type") == "PodScheduled" && text(condition, "/reason") == "SchedulingGated"
    });
    match text(pod, "/status/reason") {
        _ if gated => "SchedulingGated",
        "" => text(pod, "/status/phase"),
        reason => reason,
    }
}

#[derive(Default)]
struct Restarts {
    restarts: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.restarts += integer(status, "/restartCount");
        self.last = self.last.max(last_termination(status));
    }
}

/// Whether init containers are still at work, with the restarts of those that stay (sidecars).
enum Initialization {
    Under { sidecars: Restarts },
    Over { sidecars: Restarts },
}

fn init_containers(pod: &Value, summary: &mut Summary) -> Initialization {
    let specs = list(pod, "/spec/initContainers");
    let mut all = Restarts::default();
    let mut sidecars = Restarts::default();
    let mut waiting_for = None;
    for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        let spec = specs.iter().find(|spec| text(spec, "/name") == text(status, "/name"));
        let sidecar = spec.is_some_and(is_sidecar);
        all.add(status);
        if sidecar {
            sidecars.add(status);
        }
        let terminated = state(status, "terminated");
        if terminated.is_some_and(|state| integer(state, "/exitCode") == 0) {
            continue;
        }
        if sidecar && status.get("started") == Some(&Value::Bool(true)) {
            summary.ready += usize::from(is_ready(status));
            continue;
        }
        let waiting = state(status, "waiting").map_or("", |state| text(state, "/reason"));
        waiting_for = Some(match (terminated, waiting) {
            (Some(state), _) => format!("Init:{}", ended(state)),
            (None, "" | "PodInitializing") => format!("Init:{index}/{}", specs.len()),
            (None, reason) => format!("Init:{reason}"),
        });
        break;
    }
    match waiting_for {
        None => Initialization::Over { sidecars },
        Some(reason) => {
            summary.reason = reason;
            summary.restarts = all.restarts;
            summary.last_restart = all.last;
            Initialization::Under { sidecars }
        }
    }
}

fn containers(pod: &Value, summary: &mut Summary) {
    let mut running = false;
    let mut restarts = Restarts { restarts: summary.restarts, last: summary.last_restart };
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        restarts.add(status);
        let waiting = state(status, "waiting").map_or("", |state| text(state, "/reason"));
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if let Some(terminated) = state(status, "terminated") {
            summary.reason = ended(terminated);
        } else if is_ready(status) && state(status, "running").is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    summary.restarts = restarts.restarts;
    summary.last_restart = restarts.last;
    // One container has ended well, another still works.
    if summary.reason == "Completed" && running {
        let ready = condition(pod, "Ready") == Some("True");
        summary.reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
}

/// How a terminated container ended.
fn ended(terminated: &Value) -> String {
    match (text(terminated, "/reason"), integer(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", integer(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn state<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status.get("state")?.get(name).filter(|state| state.is_object())
}

fn last_termination(status: &Value) -> Option<Timestamp> {
    text(status, "/lastState/terminated/finishedAt").parse().ok()
}

fn is_ready(status: &Value) -> bool {
    status.get("ready") == Some(&Value::Bool(true))
}

fn is_sidecar(container: &Value) -> bool {
    text(container, "/restartPolicy") == "Always"
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a str> {
    let found = list(pod, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind);
    found.map(|condition| text(condition, "/status"))
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let open = gates.iter().filter(|gate| condition(pod, text(gate, "/conditionType")) == Some("True"));
    format!("{}/{}", open.count(), gates.len())
}
