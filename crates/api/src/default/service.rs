//! Services, Endpoints and slices.
//!
//! Upstream: `SetDefaults_Service`, `SetDefaults_Endpoints`, `SetDefaults_EndpointPort` (discovery).

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::or_text;
use crate::service::{self, ServiceType};

/// Three hours: how long a client stays with its endpoint.
const AFFINITY_SECONDS: i32 = 10_800;

pub fn service(service: &mut Service) {
    let spec = service.spec.get_or_insert_default();
    or_text(&mut spec.session_affinity, "None");
    match spec.session_affinity.as_deref() {
        Some("None") => spec.session_affinity_config = None,
        Some("ClientIP") => {
            let client =
                spec.session_affinity_config.get_or_insert_default().client_ip.get_or_insert_default();
            client.timeout_seconds.get_or_insert(AFFINITY_SECONDS);
        }
        _ => {}
    }
    or_text(&mut spec.type_, "ClusterIP");
    for port in spec.ports.iter_mut().flatten() {
        or_text(&mut port.protocol, "TCP");
        let unset = match &port.target_port {
            None => true,
            Some(IntOrString::Int(number)) => *number == 0,
            Some(IntOrString::String(name)) => name.is_empty(),
        };
        if unset {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
    if service::is_externally_accessible(spec) {
        or_text(&mut spec.external_traffic_policy, "Cluster");
    }
    let kind = service::type_of(spec);
    if service::needs_cluster_ip(spec) {
        spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".to_owned());
    }
    if kind == ServiceType::LoadBalancer {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
        let ingress = service.status.iter_mut().filter_map(|status| status.load_balancer.as_mut());
        for point in ingress.flat_map(|balancer| balancer.ingress.iter_mut().flatten()) {
            if point.ip.as_deref().is_some_and(|ip| !ip.is_empty()) && point.ip_mode.is_none() {
                point.ip_mode = Some("VIP".to_owned());
            }
        }
    }
}

pub fn endpoints(endpoints: &mut Endpoints) {
    for port in endpoints.subsets.iter_mut().flatten().flat_map(|subset| subset.ports.iter_mut().flatten()) {
        or_text(&mut port.protocol, "TCP");
    }
}

pub fn endpoint_slice(slice: &mut EndpointSlice) {
    for port in slice.ports.iter_mut().flatten() {
        port.name.get_or_insert_default();
        if port.protocol.is_none() {
            port.protocol = Some("TCP".to_owned());
        }
    }
}
