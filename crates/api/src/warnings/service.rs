//! What is legal in a Service or its Endpoints and most likely a mistake.
//!
//! Upstream: `pkg/api/service/warnings.go`, `pkg/registry/core/endpoint/strategy.go`.

use k8s_openapi::api::core::v1::{Endpoints, Service};

use super::address;
use crate::field::Path;
use crate::meta::Meta;
use crate::service::{NONE, ServiceType, type_of};

const OLD_TOPOLOGY: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY: &str = "service.kubernetes.io/topology-mode";
/// The controller's own Endpoints need no second look.
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");

/// Of a Service at every write of its spec.
pub fn of_service(service: &Service) -> Vec<String> {
    let mut found = Vec::new();
    if service.annotation(OLD_TOPOLOGY).is_some() {
        found.push(format!("annotation {OLD_TOPOLOGY} is deprecated, please use {TOPOLOGY} instead"));
    }
    let Some(spec) = &service.spec else { return found };
    let kind = type_of(spec);
    let path = Path::new("spec");
    let own = spec.cluster_ip.as_deref().unwrap_or_default();
    let headless = kind == ServiceType::ClusterIp && own == NONE;
    let external = spec.external_ips.as_deref().unwrap_or_default();
    let balancer = spec.load_balancer_ip.as_deref().unwrap_or_default();
    if kind != ServiceType::ExternalName && !own.is_empty() && own != NONE {
        for (index, ip) in spec.cluster_ips.iter().flatten().enumerate() {
            found.extend(address::of_ip(&path.child("clusterIPs").index(index), ip));
        }
    }
    if headless {
        let sticks = spec.session_affinity.as_deref().is_some_and(|affinity| affinity != "None");
        for (field, is_set) in [
            ("loadBalancerIP", !balancer.is_empty()),
            ("externalIPs", !external.is_empty()),
            ("SessionAffinity", sticks),
        ] {
            if is_set {
                found.push(format!("spec.{field} is ignored for headless services"));
            }
        }
    }
    for (index, ip) in external.iter().enumerate() {
        found.extend(address::of_ip(&path.child("externalIPs").index(index), ip));
    }
    found.extend(address::of_ip(&path.child("loadBalancerIP"), balancer));
    for (index, range) in spec.load_balancer_source_ranges.iter().flatten().enumerate() {
        found.extend(address::of_network(&path.child("loadBalancerSourceRanges").index(index), range));
    }
    if kind == ServiceType::ExternalName && !external.is_empty() {
        found.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if kind != ServiceType::ExternalName && spec.external_name.as_deref().is_some_and(|name| !name.is_empty())
    {
        found.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if spec.traffic_distribution.as_deref() == Some("PreferClose") {
        let text = "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"";
        found.push(text.to_owned());
    }
    found
}

pub fn of_endpoints(endpoints: &Endpoints) -> Vec<String> {
    if endpoints.label(MANAGED_BY.0) == Some(MANAGED_BY.1) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, subset) in endpoints.subsets.iter().flatten().enumerate() {
        let lists = [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)];
        for (list, addresses) in lists {
            for (at, one) in addresses.iter().flatten().enumerate() {
                let path = Path::new("subsets").index(index).child(list).index(at).child("ip");
                found.extend(address::of_ip(&path, &one.ip));
            }
        }
    }
    found
}
