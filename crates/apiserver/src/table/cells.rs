//! The cells of each kind but Pod, in the order of [`super::columns`].

use api::label::Selector;
use api::scheme::Resource;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{age, network, pod, storage};

/// What a cell shows for nothing.
pub(super) const NONE: &str = "<none>";

/// The cells of an object, as many as its kind has columns.
pub(super) fn of(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    match (resource.group, resource.kind) {
        ("", "Pod") => pod::cells(object, now),
        ("", "Node") => node(object, now),
        ("", "Namespace") => vec![name(object), text(object, "/status/phase").into(), age(object, now)],
        ("", "ConfigMap") => {
            let entries = count(object, "/data") + count(object, "/binaryData");
            vec![name(object), entries.into(), age(object, now)]
        }
        ("", "Secret") => {
            let entries = count(object, "/data");
            vec![name(object), text(object, "/type").into(), entries.into(), age(object, now)]
        }
        ("", "ServiceAccount") => vec![name(object), count(object, "/secrets").into(), age(object, now)],
        ("" | "events.k8s.io", "Event") => event(object, now),
        ("apps" | "extensions", "DaemonSet") => daemon_set(object, now),
        ("apps", "ControllerRevision") => controller_revision(object, now),
        ("coordination.k8s.io", "Lease") => {
            vec![name(object), text(object, "/spec/holderIdentity").into(), age(object, now)]
        }
        ("scheduling.k8s.io", "PriorityClass") => priority_class(object, now),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(object, now),
        ("", "Service") => network::service(object, now),
        ("", "Endpoints") => network::endpoints(object, now),
        ("", "PodTemplate") => pod_template(object),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(object, now),
        ("policy", "PodDisruptionBudget") => disruption_budget(object, now),
        ("node.k8s.io", "RuntimeClass") => {
            vec![name(object), text(object, "/handler").into(), age(object, now)]
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => signing_request(object, now),
        ("storage.k8s.io", "StorageClass") => storage::class(object, now),
        ("storage.k8s.io", "CSINode") => storage::node(object, now),
        ("storage.k8s.io", "CSIDriver") => storage::driver(object, now),
        _ => vec![name(object), text(object, "/metadata/creationTimestamp").into()],
    }
}

/// The text at a JSON pointer, or the empty text.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn integer(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn or_none(text: &str) -> &str {
    if text.is_empty() { NONE } else { text }
}

pub(super) fn name(object: &Value) -> Value {
    text(object, "/metadata/name").into()
}

pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    age::since(object.pointer("/metadata/creationTimestamp").and_then(Value::as_str), now).into()
}

/// Entries of a list or map.
pub(super) fn count(object: &Value, pointer: &str) -> usize {
    match object.pointer(pointer) {
        Some(Value::Array(list)) => list.len(),
        Some(Value::Object(map)) => map.len(),
        _ => 0,
    }
}

pub(super) fn joined<'a>(texts: impl Iterator<Item = &'a str>, separator: &str) -> String {
    texts.collect::<Vec<_>>().join(separator)
}

fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let containers = list(object, "/spec/template/spec/containers");
    vec![
        name(object),
        integer(object, "/status/desiredNumberScheduled").into(),
        integer(object, "/status/currentNumberScheduled").into(),
        integer(object, "/status/numberReady").into(),
        integer(object, "/status/updatedNumberScheduled").into(),
        integer(object, "/status/numberAvailable").into(),
        labels(object.pointer("/spec/template/spec/nodeSelector")).into(),
        age(object, now),
        joined(containers.iter().map(|container| text(container, "/name")), ",").into(),
        joined(containers.iter().map(|container| text(container, "/image")), ",").into(),
        selector(object.pointer("/spec/selector")).into(),
    ]
}

/// `a=1,b=2`.
pub(super) fn labels(map: Option<&Value>) -> String {
    let pairs = map.and_then(Value::as_object).into_iter().flatten();
    let pairs: Vec<String> =
        pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    or_none(&pairs.join(",")).to_owned()
}

fn selector(value: Option<&Value>) -> String {
    let Some(value) = value.filter(|value| !value.is_null()) else { return NONE.to_owned() };
    let typed = serde_json::from_value::<k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>(
        value.clone(),
    );
    match typed.ok().and_then(|typed| Selector::from_label_selector(&typed).ok()) {
        Some(selector) => or_none(&selector.to_string()).to_owned(),
        None => "<error>".to_owned(),
    }
}

fn controller_revision(object: &Value, now: Timestamp) -> Vec<Value> {
    let owners = list(object, "/metadata/ownerReferences");
    let controller = owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    let controller = controller.map_or_else(
        || NONE.to_owned(),
        |owner| {
            let kind = text(owner, "/kind").to_lowercase();
            let name = text(owner, "/name");
            match text(owner, "/apiVersion").split_once('/') {
                Some((group, _)) => format!("{kind}.{group}/{name}"),
                None => format!("{kind}/{name}"),
            }
        },
    );
    vec![name(object), controller.into(), integer(object, "/revision").into(), age(object, now)]
}

fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = list(object, "/status/conditions").iter().find(|c| text(c, "/type") == "Ready");
    let mut status = match ready.map(|condition| text(condition, "/status")) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if object.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let address = |kind: &str| {
        let addresses = list(object, "/status/addresses");
        let found = addresses.iter().find(|address| text(address, "/type") == kind);
        Value::from(or_none(found.map_or("", |address| text(address, "/address"))))
    };
    let reported = |pointer: &str| match text(object, pointer) {
        "" => Value::from(age::UNKNOWN),
        known => Value::from(known),
    };
    vec![
        name(object),
        status.into(),
        roles(object).into(),
        age(object, now),
        text(object, "/status/nodeInfo/kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        reported("/status/nodeInfo/osImage"),
        reported("/status/nodeInfo/kernelVersion"),
        reported("/status/nodeInfo/containerRuntimeVersion"),
    ]
}

fn roles(node: &Value) -> String {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    or_none(&roles.join(",")).to_owned()
}

/// Both groups' events: events.k8s.io names the same fields otherwise.
fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let first_of =
        |pointers: &[&str]| pointers.iter().map(|p| text(object, p)).find(|t| !t.is_empty()).unwrap_or("");
    let since = |timestamp: &str| age::since(Some(timestamp).filter(|t| !t.is_empty()), now);

    let first = first_of(&["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"]);
    let series = object.get("series").filter(|series| series.is_object());
    let last = match series {
        Some(series) => text(series, "/lastObservedTime"),
        None => match first_of(&["/lastTimestamp", "/deprecatedLastTimestamp"]) {
            "" => first,
            last => last,
        },
    };
    let count = match series {
        Some(series) => integer(series, "/count"),
        None => integer(object, "/count").max(integer(object, "/deprecatedCount")).max(1),
    };
    let target = object.get("involvedObject").or_else(|| object.get("regarding")).unwrap_or(&Value::Null);
    let kind = text(target, "/kind").to_lowercase();
    let shown = match text(target, "/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let component = first_of(&[
        "/source/component",
        "/deprecatedSource/component",
        "/reportingComponent",
        "/reportingController",
    ]);
    let source = match first_of(&["/source/host", "/deprecatedSource/host", "/reportingInstance"]) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    };
    vec![
        since(last).into(),
        text(object, "/type").into(),
        text(object, "/reason").into(),
        shown.into(),
        text(target, "/fieldPath").into(),
        source.into(),
        first_of(&["/message", "/note"]).trim().into(),
        since(first).into(),
        count.into(),
        name(object),
    ]
}

fn pod_template(object: &Value) -> Vec<Value> {
    let containers = list(object, "/template/spec/containers");
    vec![
        name(object),
        joined(containers.iter().map(|container| text(container, "/name")), ",").into(),
        joined(containers.iter().map(|container| text(container, "/image")), ",").into(),
        labels(object.pointer("/template/metadata/labels")).into(),
    ]
}

fn disruption_budget(object: &Value, now: Timestamp) -> Vec<Value> {
    let amount = |pointer: &str| match object.pointer(pointer) {
        Some(Value::String(percent)) => Value::from(percent.as_str()),
        Some(Value::Number(count)) => Value::from(count.to_string()),
        _ => Value::from("N/A"),
    };
    vec![
        name(object),
        amount("/spec/minAvailable"),
        amount("/spec/maxUnavailable"),
        integer(object, "/status/disruptionsAllowed").into(),
        age(object, now),
    ]
}

/// COMPAT(kubectl): upstream's order of words, `Approved,Issued`.
fn signing_request(object: &Value, now: Timestamp) -> Vec<Value> {
    let conditions = list(object, "/status/conditions");
    let has = |kind: &str| conditions.iter().any(|condition| text(condition, "/type") == kind);
    // Denied wins over Approved.
    let mut words = vec![match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }];
    if has("Failed") {
        words.push("Failed");
    }
    if !text(object, "/status/certificate").is_empty() {
        words.push("Issued");
    }
    let lasts = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    let signer = text(object, "/spec/signerName");
    vec![
        name(object),
        age(object, now),
        or_none(signer).into(),
        text(object, "/spec/username").into(),
        lasts.map_or_else(|| NONE.to_owned(), age::human).into(),
        words.join(",").into(),
    ]
}

fn priority_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let global = object.get("globalDefault") == Some(&Value::Bool(true));
    vec![
        name(object),
        integer(object, "/value").into(),
        json!(global),
        age(object, now),
        text(object, "/preemptionPolicy").into(),
    ]
}

fn binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = list(object, "/subjects");
    let named = |kind: &str| {
        let names = subjects.iter().filter(|s| text(s, "/kind") == kind).map(|s| text(s, "/name"));
        Value::from(joined(names, ", "))
    };
    let accounts: Vec<String> = subjects
        .iter()
        .filter(|subject| text(subject, "/kind") == "ServiceAccount")
        .map(|subject| format!("{}/{}", text(subject, "/namespace"), text(subject, "/name")))
        .collect();
    vec![
        name(object),
        format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name")).into(),
        age(object, now),
        named("User"),
        named("Group"),
        accounts.join(", ").into(),
    ]
}
