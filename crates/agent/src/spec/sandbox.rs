//! The sandbox: host name, DNS, ports, namespaces, cgroup.

use std::path::Path;

use cri::{NamespaceMode, Namespaces, PortMapping, Protocol, SandboxConfig, SandboxSecurity};
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::{PodId, security};
use crate::cgroup::PodCgroup;

/// A host name is at most this long (RFC 1123, and the kernel's own limit is 64).
const HOSTNAME_BYTES_MAX: usize = 63;

/// On every sandbox that an agent of ours made; its value tells agents on one runtime apart. What lacks it belongs to
/// somebody else and is left alone.
pub const AGENT_LABEL: &str = "everynode.dev/agent";

/// Whose sandbox it is.
#[derive(Debug, Clone, Copy)]
pub struct SandboxNode<'a> {
    pub name: &'a str,
    /// The value of [`AGENT_LABEL`].
    pub agent: &'a str,
}

/// The sandbox of a Pod. The same arguments give the same configuration.
pub fn sandbox_config(
    pod: &Pod,
    attempt: u32,
    log_root: &Path,
    dns: Option<cri::Dns>,
    cgroup: &PodCgroup,
    node: &SandboxNode<'_>,
) -> SandboxConfig {
    let id = PodId::of(pod);
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    let mut labels = podmachine::labels::sandbox_labels(pod);
    labels.insert(AGENT_LABEL.to_owned(), node.agent.to_owned());
    SandboxConfig {
        name: id.name.clone(),
        namespace: id.namespace.clone(),
        uid: id.uid.clone(),
        attempt,
        // On the node's network the node's own name holds; setting another is refused by the kernel.
        hostname: if api::pod::is_host_network(pod) { String::new() } else { hostname(pod, node.name) },
        log_directory: id.log_folder(log_root).display().to_string(),
        dns,
        port_mappings: port_mappings(spec),
        labels,
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        cgroup_parent: cgroup.path.clone(),
        sysctls: spec
            .security_context
            .iter()
            .flat_map(|context| context.sysctls.iter().flatten())
            .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()))
            .collect(),
        security: SandboxSecurity {
            namespaces: namespaces(spec),
            // A privileged container needs a privileged sandbox.
            privileged: api::pod::all_containers(spec).any(security::is_privileged),
            read_only_rootfs: false,
            run_as_user: None,
            run_as_group: None,
            supplemental_groups: security::supplemental_groups(spec),
            selinux: None,
            seccomp: Some(cri::Profile::RuntimeDefault),
            apparmor: None,
        },
        resources: None,
        overhead: None,
        runtime_handler: String::new(),
    }
}

/// What a process in the Pod is told by `hostname`.
pub fn hostname(pod: &Pod, node_name: &str) -> String {
    if api::pod::is_host_network(pod) {
        return node_name.to_owned();
    }
    let spec = pod.spec.as_ref();
    let own = spec.and_then(|spec| spec.hostname.clone()).filter(|name| !name.is_empty());
    let name = own.or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    let mut end = name.len().min(HOSTNAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].trim_end_matches(['-', '.']).to_owned()
}

pub fn namespaces(spec: &PodSpec) -> Namespaces {
    let on_node = |wanted: Option<bool>| wanted == Some(true);
    Namespaces {
        network: if on_node(spec.host_network) { NamespaceMode::Node } else { NamespaceMode::Pod },
        pid: if on_node(spec.host_pid) {
            NamespaceMode::Node
        } else if spec.share_process_namespace == Some(true) {
            NamespaceMode::Pod
        } else {
            NamespaceMode::Container
        },
        ipc: if on_node(spec.host_ipc) { NamespaceMode::Node } else { NamespaceMode::Pod },
    }
}

fn port_mappings(spec: &PodSpec) -> Vec<PortMapping> {
    if spec.host_network == Some(true) {
        return Vec::new();
    }
    api::pod::all_containers(spec)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            Some(PortMapping {
                protocol: match port.protocol.as_deref() {
                    Some("UDP") => Protocol::Udp,
                    Some("SCTP") => Protocol::Sctp,
                    _ => Protocol::Tcp,
                },
                container_port: u16::try_from(port.container_port).ok()?,
                host_port: u16::try_from(port.host_port.filter(|port| *port > 0)?).ok()?,
                host_ip: port.host_ip.clone().unwrap_or_default(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn host_name_is_the_pods_or_the_nodes_and_never_too_long() {
        let containers = serde_json::json!([{"name": "c"}]);
        let plain = pod(serde_json::json!({"containers": containers}));
        assert_eq!(hostname(&plain, "node"), "p");
        let named = pod(serde_json::json!({"containers": containers, "hostname": "h"}));
        assert_eq!(hostname(&named, "node"), "h");
        let on_host =
            pod(serde_json::json!({"containers": containers, "hostNetwork": true, "hostname": "h"}));
        assert_eq!(hostname(&on_host, "node"), "node");
        let mut long = plain;
        long.metadata.name = Some(format!("{}-{}", "a".repeat(62), "b".repeat(40)));
        assert_eq!(hostname(&long, "node"), "a".repeat(62));
    }

    #[test]
    fn sandbox_on_the_nodes_network_sets_no_host_name() {
        let on_host = pod(serde_json::json!({"containers": [{"name": "c"}], "hostNetwork": true}));
        let cgroup = PodCgroup { path: "/x".to_owned() };
        let config = sandbox_config(
            &on_host,
            0,
            Path::new("/logs"),
            None,
            &cgroup,
            &SandboxNode { name: "node", agent: "a" },
        );
        assert_eq!(config.hostname, "");
        assert_eq!(config.security.namespaces.network, NamespaceMode::Node);
    }

    #[test]
    fn only_ports_with_a_host_port_are_mapped_and_none_on_the_nodes_network() {
        let ports = serde_json::json!([{"containerPort": 80}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"}]);
        let containers = serde_json::json!([{"name": "c", "ports": ports}]);
        let mapped = port_mappings(pod(serde_json::json!({"containers": containers})).spec.as_ref().unwrap());
        assert_eq!(mapped.len(), 1);
        assert_eq!((mapped[0].host_port, mapped[0].protocol), (5353, Protocol::Udp));
        let on_host = pod(serde_json::json!({"containers": containers, "hostNetwork": true}));
        assert!(port_mappings(on_host.spec.as_ref().unwrap()).is_empty());
    }
}
