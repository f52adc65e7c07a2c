//! Claims about Pods, from JSON as a client would write it.

use serde_json::{Value, json};

use super::*;
use crate::quantity::Quantity;

fn pod(spec: Value, status: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec, "status": status})).unwrap()
}

fn container(name: &str, requests: Value, limits: Value) -> Value {
    json!({"name": name, "resources": {"requests": requests, "limits": limits}})
}

fn sidecar(name: &str, requests: Value) -> Value {
    json!({"name": name, "restartPolicy": "Always", "resources": {"requests": requests}})
}

fn amount(resources: &Resources, name: &str) -> String {
    resources.get(name).copied().unwrap_or(Quantity::ZERO).to_string()
}

#[test]
fn available_means_ready_for_longer_than_the_minimum() {
    let ready = pod(
        json!({"containers": []}),
        json!({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
    );
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert!(is_available(&ready, at("2026-01-01T00:00:00Z"), 0));
    assert!(!is_available(&ready, at("2026-01-01T00:00:10Z"), 10), "exactly the minimum is too early");
    assert!(is_available(&ready, at("2026-01-01T00:00:11Z"), 10));
    assert_eq!(
        availability(&ready, at("2026-01-01T00:00:04Z"), 10),
        Availability::ReadyIn(SignedDuration::from_secs(6))
    );
    let timeless =
        pod(json!({"containers": []}), json!({"conditions": [{"type": "Ready", "status": "True"}]}));
    assert!(is_available(&timeless, at("2026-01-01T00:00:00Z"), 0));
    assert!(!is_available(&timeless, at("2036-01-01T00:00:00Z"), 10));
    let unready =
        pod(json!({"containers": []}), json!({"conditions": [{"type": "Ready", "status": "False"}]}));
    assert_eq!(availability(&unready, at("2026-01-01T00:00:00Z"), 0), Availability::NotReady);
}

#[test]
fn terminal_phases_are_succeeded_and_failed() {
    for (phase, terminal) in
        [("Pending", false), ("Running", false), ("Succeeded", true), ("Failed", true), ("Unknown", false)]
    {
        assert_eq!(
            is_terminal(&pod(json!({"containers": []}), json!({"phase": phase}))),
            terminal,
            "{phase}"
        );
    }
}

#[test]
fn requests_are_the_larger_of_running_and_starting_plus_overhead() {
    let spec = json!({
        "containers": [container("a", json!({"cpu": "100m"}), json!({})), container("b", json!({"cpu": "200m"}), json!({}))],
        "initContainers": [
            container("i1", json!({"cpu": "250m"}), json!({})),
            sidecar("s", json!({"cpu": "50m", "memory": "1Mi"})),
            container("i2", json!({"cpu": "400m"}), json!({})),
        ],
        "overhead": {"cpu": "10m"},
    });
    let requests = requests(&pod(spec, json!({})));
    // running: 100+200+50; starting: max(250, 50, 400+50) = 450; overhead 10.
    assert_eq!(amount(&requests, "cpu"), "460m");
    assert_eq!(amount(&requests, "memory"), "1Mi");
}

#[test]
fn amounts_of_the_pod_replace_those_of_its_containers() {
    let spec = json!({
        "resources": {"requests": {"cpu": "1"}},
        "containers": [container("a", json!({"cpu": "100m", "memory": "1Gi"}), json!({}))],
    });
    let requests = requests(&pod(spec, json!({})));
    assert_eq!((amount(&requests, "cpu"), amount(&requests, "memory")), ("1".into(), "1Gi".into()));
}

#[test]
fn quality_of_service_follows_requests_and_limits() {
    let both = json!({"cpu": "1", "memory": "1Gi"});
    let table = [
        (json!([container("a", json!({}), json!({}))]), QosClass::BestEffort),
        (json!([container("a", json!({"cpu": "0"}), json!({}))]), QosClass::BestEffort),
        (json!([container("a", json!({"nvidia.com/gpu": "1"}), json!({}))]), QosClass::BestEffort),
        (json!([container("a", both.clone(), both.clone())]), QosClass::Guaranteed),
        (
            json!([container(
                "a",
                json!({"cpu": "1", "memory": "1Gi"}),
                json!({"cpu": "1000m", "memory": "1024Mi"})
            )]),
            QosClass::Guaranteed,
        ),
        (json!([container("a", both.clone(), json!({"cpu": "1"}))]), QosClass::Burstable),
        (json!([container("a", json!({"cpu": "1"}), json!({}))]), QosClass::Burstable),
        (
            json!([container("a", both.clone(), both.clone()), container("b", json!({}), json!({}))]),
            QosClass::Burstable,
        ),
    ];
    for (containers, expect) in table {
        let pod = pod(json!({"containers": containers}), json!({}));
        assert_eq!(qos_class(&pod.spec.unwrap()), expect, "{containers}");
    }
}

#[test]
fn target_node_is_the_bound_one_or_the_pinned_one() {
    let pinned = |values: Value| {
        json!({"containers": [], "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": values}]}]}}}})
    };
    assert_eq!(target_node_name(&pod(pinned(json!(["n1"])), json!({}))), Some("n1"));
    assert_eq!(target_node_name(&pod(pinned(json!(["n1", "n2"])), json!({}))), None);
    assert_eq!(target_node_name(&pod(json!({"containers": [], "nodeName": "n0"}), json!({}))), Some("n0"));
    assert_eq!(target_node_name(&pod(json!({"containers": []}), json!({}))), None);
}

#[test]
fn host_ports_of_a_pod_in_the_hosts_network_are_its_container_ports() {
    let ports = |host_network: bool| {
        let spec = json!({"hostNetwork": host_network, "containers": [{"name": "a", "ports": [
            {"containerPort": 80}, {"containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "127.0.0.1"}]}]});
        host_ports(&pod(spec, json!({})))
    };
    assert_eq!(ports(false).len(), 1);
    assert_eq!(ports(true)[0], HostPort { ip: "0.0.0.0".into(), protocol: "TCP".into(), port: 80 });
    let any = HostPort { ip: "0.0.0.0".into(), protocol: "UDP".into(), port: 53 };
    assert!(any.conflicts_with(&ports(false)[0]));
    let other = HostPort { ip: "127.0.0.2".into(), ..any };
    assert!(!other.conflicts_with(&ports(false)[0]));
}

#[test]
fn mirrors_and_static_pods_are_critical() {
    let annotated = |key: &str, value: &str| {
        let mut pod = pod(json!({"containers": []}), json!({}));
        pod.metadata.annotations = Some([(key.to_owned(), value.to_owned())].into());
        pod
    };
    assert!(is_mirror(&annotated("kubernetes.io/config.mirror", "h")));
    assert!(is_static(&annotated("kubernetes.io/config.source", "file")));
    assert!(!is_static(&annotated("kubernetes.io/config.source", "api")));
    assert!(is_critical(&annotated("kubernetes.io/config.source", "http")));
    assert!(is_critical(&pod(json!({"containers": [], "priority": 2_000_000_000}), json!({}))));
}
