//! Services: what is kept, what falls away with the type, and how the one address and the list of addresses agree.
//!
//! Clients know `clusterIP`, newer ones `clusterIPs` as well; both are brought together before numbers are allotted.
//! Upstream: `pkg/registry/core/service/{strategy.go,storage/storage.go}` (`patchAllocatedValues`,
//! `dropTypeDependentFields`, `normalizeClusterIPs`).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use crate::service::{self, ServiceType};

pub fn service_create(service: &mut Service) {
    service.status = Some(Default::default());
    service.status.get_or_insert_default().load_balancer = Some(Default::default());
    let spec = service.spec.get_or_insert_default();
    if let Some(one) = spec.cluster_ip.clone().filter(|ip| !ip.is_empty())
        && spec.cluster_ips.as_ref().is_none_or(|ips| ips.is_empty())
    {
        spec.cluster_ips = Some(vec![one]);
    }
}

pub fn service_update(new: &mut Service, old: &Service) {
    new.status.clone_from(&old.status);
    let empty = ServiceSpec::default();
    let before = old.spec.as_ref().unwrap_or(&empty);
    let after = new.spec.get_or_insert_default();
    keep_allotted(after, before);
    agree(after, before);
    drop_what_the_type_does_not_have(after, before);
}

pub fn service_status_update(new: &mut Service, old: &Service) {
    new.spec.clone_from(&old.spec);
}

/// An update that leaves numbers out means those that the service has.
fn keep_allotted(after: &mut ServiceSpec, before: &ServiceSpec) {
    if service::needs_cluster_ip(before) && service::needs_cluster_ip(after) {
        if is_empty(&after.cluster_ip) {
            after.cluster_ip.clone_from(&before.cluster_ip);
        }
        if after.cluster_ips.as_ref().is_none_or(|ips| ips.is_empty())
            && after.cluster_ip == before.cluster_ip
        {
            after.cluster_ips.clone_from(&before.cluster_ips);
        }
        if after.ip_family_policy.is_none() {
            after.ip_family_policy.clone_from(&before.ip_family_policy);
        }
        if after.ip_families.as_ref().is_none_or(|families| families.is_empty()) {
            after.ip_families.clone_from(&before.ip_families);
        }
    }
    if service::needs_node_ports(before) && service::needs_node_ports(after) {
        let known: BTreeSet<i32> = node_ports(before).collect();
        let mut used: BTreeSet<i32> = node_ports(after).filter(|port| known.contains(port)).collect();
        for port in after.ports.iter_mut().flatten().filter(|port| port.node_port.unwrap_or_default() == 0) {
            let same = before.ports.iter().flatten().find(|other| other.name == port.name);
            let number = same.and_then(|other| other.node_port).filter(|number| *number != 0);
            if let Some(number) = number
                && used.insert(number)
            {
                port.node_port = Some(number);
            }
        }
    }
    if service::needs_health_check(before)
        && service::needs_health_check(after)
        && after.health_check_node_port.unwrap_or_default() == 0
    {
        after.health_check_node_port = before.health_check_node_port;
    }
}

/// A client that changes only the old field means the list as well.
fn agree(after: &mut ServiceSpec, before: &ServiceSpec) {
    let same_list = after.cluster_ips == before.cluster_ips;
    let now = after.cluster_ip.clone().unwrap_or_default();
    let was = before.cluster_ip.clone().unwrap_or_default();
    match (was.is_empty(), now.is_empty()) {
        // The list alone was cleared.
        (false, false) if was == now && after.cluster_ips.as_ref().is_none_or(Vec::is_empty) => {
            after.cluster_ip = None;
        }
        _ if was == now => {}
        (false, true) if same_list => after.cluster_ips = None,
        (_, false) if same_list => {
            let rest = after.cluster_ips.iter().flatten().skip(1).cloned();
            after.cluster_ips = Some(std::iter::once(now).chain(rest).collect());
        }
        _ => {}
    }
}

/// What no longer applies and was not set anew falls away silently.
fn drop_what_the_type_does_not_have(after: &mut ServiceSpec, before: &ServiceSpec) {
    if service::needs_cluster_ip(before) && !service::needs_cluster_ip(after) {
        if after.cluster_ip == before.cluster_ip && after.cluster_ips == before.cluster_ips {
            after.cluster_ip = None;
            after.cluster_ips = None;
        }
        if after.ip_families == before.ip_families {
            after.ip_families = None;
        }
        if after.ip_family_policy == before.ip_family_policy {
            after.ip_family_policy = None;
        }
    }
    if service::needs_node_ports(before)
        && !service::needs_node_ports(after)
        && node_ports(after).eq(node_ports(before))
    {
        for port in after.ports.iter_mut().flatten() {
            port.node_port = None;
        }
    }
    if service::needs_health_check(before)
        && !service::needs_health_check(after)
        && after.health_check_node_port == before.health_check_node_port
    {
        after.health_check_node_port = None;
    }
    let balanced = |spec: &ServiceSpec| service::type_of(spec) == ServiceType::LoadBalancer;
    if balanced(before) && !balanced(after) {
        if after.allocate_load_balancer_node_ports == before.allocate_load_balancer_node_ports {
            after.allocate_load_balancer_node_ports = None;
        }
        if after.load_balancer_class == before.load_balancer_class {
            after.load_balancer_class = None;
        }
    }
    if service::is_externally_accessible(before)
        && !service::is_externally_accessible(after)
        && after.external_traffic_policy == before.external_traffic_policy
    {
        after.external_traffic_policy = None;
    }
}

fn node_ports(spec: &ServiceSpec) -> impl Iterator<Item = i32> {
    spec.ports.iter().flatten().filter_map(|port| port.node_port).filter(|port| *port != 0)
}

fn is_empty(text: &Option<String>) -> bool {
    text.as_deref().unwrap_or_default().is_empty()
}
