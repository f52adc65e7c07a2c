//! What the shared caches keep of Pods and Nodes: what some controller asks for, and nothing that only the node's agent or the
//! scheduler reads. A third of a typical Pod stays.
//!
//! Invariant: controllers write Pods and Nodes by patches only, so what is left out here is never written away.

use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec};

/// Keeps metadata, status, where it is and may be, and its containers' names, images and ports.
pub(crate) fn pod(pod: &mut Pod) {
    if let Some(annotations) = &mut pod.metadata.annotations {
        annotations.remove(api::well_known::pod_annotation::LAST_APPLIED);
    }
    let Some(spec) = &mut pod.spec else { return };
    let full = std::mem::take(spec);
    *spec = PodSpec {
        active_deadline_seconds: full.active_deadline_seconds,
        affinity: full.affinity,
        containers: full.containers.into_iter().map(container).collect(),
        host_network: full.host_network,
        hostname: full.hostname,
        init_containers: full.init_containers.map(|all| all.into_iter().map(container).collect()),
        node_name: full.node_name,
        node_selector: full.node_selector,
        priority: full.priority,
        readiness_gates: full.readiness_gates,
        restart_policy: full.restart_policy,
        scheduler_name: full.scheduler_name,
        service_account_name: full.service_account_name,
        subdomain: full.subdomain,
        termination_grace_period_seconds: full.termination_grace_period_seconds,
        tolerations: full.tolerations,
        ..PodSpec::default()
    };
}

fn container(full: Container) -> Container {
    Container {
        image: full.image,
        name: full.name,
        ports: full.ports,
        restart_policy: full.restart_policy,
        ..Container::default()
    }
}

/// Leaves out the images that the Node has and the volumes that it uses.
pub(crate) fn node(node: &mut Node) {
    if let Some(status) = &mut node.status {
        status.images = None;
        status.volumes_in_use = None;
        status.volumes_attached = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_controllers_ask_for_stays_and_the_bulk_goes() {
        let mut trimmed: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": {"a": "b"}, "annotations": {"k": "v",
                "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "spec": {"nodeName": "n", "tolerations": [{"operator": "Exists"}], "volumes": [{"name": "v"}],
                "containers": [{"name": "c", "env": [{"name": "E"}], "command": ["x"],
                    "ports": [{"containerPort": 80, "name": "http"}]}]},
            "status": {"phase": "Running"}}))
        .unwrap();
        pod(&mut trimmed);
        let expected = json!({
            "metadata": {"name": "p", "labels": {"a": "b"}, "annotations": {"k": "v"}},
            "spec": {"nodeName": "n", "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "c", "ports": [{"containerPort": 80, "name": "http"}]}]},
            "status": {"phase": "Running"}});
        let mut shown = serde_json::to_value(&trimmed).unwrap();
        shown.as_object_mut().unwrap().retain(|field, _| field != "apiVersion" && field != "kind");
        assert_eq!(shown, expected);
    }
}
