//! What a Service needs, by its type: an address, node ports, a health check port, an external traffic policy.
//!
//! Upstream: `pkg/api/service`, `pkg/registry/core/service/strategy.go`.

use k8s_openapi::api::core::v1::ServiceSpec;

/// `clusterIP: None`: no address, the name leads to the Pods themselves.
pub const NONE: &str = "None";

/// `spec.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceType {
    ClusterIp,
    NodePort,
    LoadBalancer,
    ExternalName,
    /// None of them: refused by validation.
    Unknown,
}

pub fn type_of(spec: &ServiceSpec) -> ServiceType {
    match spec.type_.as_deref().unwrap_or_default() {
        "ClusterIP" | "" => ServiceType::ClusterIp,
        "NodePort" => ServiceType::NodePort,
        "LoadBalancer" => ServiceType::LoadBalancer,
        "ExternalName" => ServiceType::ExternalName,
        _ => ServiceType::Unknown,
    }
}

pub fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ips.as_deref().is_some_and(|ips| matches!(ips, [one] if one == NONE))
        || spec.cluster_ip.as_deref() == Some(NONE)
}

/// Has an address, or says that it has none.
pub fn needs_cluster_ip(spec: &ServiceSpec) -> bool {
    matches!(type_of(spec), ServiceType::ClusterIp | ServiceType::NodePort | ServiceType::LoadBalancer)
}

/// A load balancer may do without them.
pub fn needs_node_ports(spec: &ServiceSpec) -> bool {
    match type_of(spec) {
        ServiceType::NodePort => true,
        ServiceType::LoadBalancer => spec.allocate_load_balancer_node_ports != Some(false),
        ServiceType::ClusterIp | ServiceType::ExternalName | ServiceType::Unknown => false,
    }
}

pub fn needs_health_check(spec: &ServiceSpec) -> bool {
    type_of(spec) == ServiceType::LoadBalancer && spec.external_traffic_policy.as_deref() == Some("Local")
}

/// Traffic from outside the cluster reaches it.
pub fn is_externally_accessible(spec: &ServiceSpec) -> bool {
    match type_of(spec) {
        ServiceType::NodePort | ServiceType::LoadBalancer => true,
        ServiceType::ClusterIp => spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()),
        ServiceType::ExternalName | ServiceType::Unknown => false,
    }
}
