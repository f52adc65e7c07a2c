//! What the scheduler's caches keep of Pods and Nodes: what a decision asks for. A third of a typical Pod stays.
//!
//! Invariant: the scheduler writes by patches and bindings only, so what is left out here is never written away.

use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec, PodStatus};

/// Keeps what it asks for, where it may be, and how scheduling stands.
pub(crate) fn pod(pod: &mut Pod) {
    pod.metadata.annotations = None;
    pod.metadata.owner_references = None;
    if let Some(spec) = &mut pod.spec {
        let full = std::mem::take(spec);
        *spec = PodSpec {
            affinity: full.affinity,
            containers: full.containers.into_iter().map(container).collect(),
            host_network: full.host_network,
            init_containers: full.init_containers.map(|all| all.into_iter().map(container).collect()),
            node_name: full.node_name,
            node_selector: full.node_selector,
            overhead: full.overhead,
            preemption_policy: full.preemption_policy,
            priority: full.priority,
            resources: full.resources,
            scheduler_name: full.scheduler_name,
            scheduling_gates: full.scheduling_gates,
            tolerations: full.tolerations,
            topology_spread_constraints: full.topology_spread_constraints,
            ..PodSpec::default()
        };
    }
    if let Some(status) = &mut pod.status {
        let full = std::mem::take(status);
        *status = PodStatus {
            conditions: full.conditions,
            nominated_node_name: full.nominated_node_name,
            phase: full.phase,
            start_time: full.start_time,
            ..PodStatus::default()
        };
    }
}

fn container(full: Container) -> Container {
    Container {
        image: full.image,
        name: full.name,
        ports: full.ports,
        resources: full.resources,
        restart_policy: full.restart_policy,
        ..Container::default()
    }
}

/// Leaves out what only people and the node's agent read.
pub(crate) fn node(node: &mut Node) {
    node.metadata.annotations = None;
    if let Some(status) = &mut node.status {
        status.addresses = None;
        status.capacity = None;
        status.conditions = None;
        status.node_info = None;
        status.volumes_in_use = None;
        status.volumes_attached = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_trimmed_pod_still_asks_for_the_same() {
        let spec = json!({
            "overhead": {"cpu": "1"}, "priority": 5, "nodeSelector": {"a": "b"}, "volumes": [{"name": "v"}],
            "initContainers": [{"name": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "2"}}}],
            "containers": [{"name": "c", "image": "i", "env": [{"name": "E"}], "resources": {"requests": {"cpu": "3"}},
                "ports": [{"containerPort": 80, "hostPort": 80}]}]});
        let full: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": {"a": "b"}, "annotations": {"k": "v"}}, "spec": spec,
            "status": {"phase": "Pending", "podIP": "10.0.0.1", "nominatedNodeName": "n"}}))
        .unwrap();
        let mut trimmed = full.clone();
        pod(&mut trimmed);
        assert_eq!(placement::Demand::of(&trimmed), placement::Demand::of(&full));
        assert_eq!(trimmed.metadata.labels, full.metadata.labels);
        let shown = serde_json::to_value(&trimmed).unwrap();
        assert_eq!(shown["spec"]["nodeSelector"], json!({"a": "b"}));
        assert_eq!(shown["status"], json!({"phase": "Pending", "nominatedNodeName": "n"}));
        assert_eq!(
            (&shown["spec"]["volumes"], &shown["metadata"]["annotations"]),
            (&Value::Null, &Value::Null)
        );
    }
}
