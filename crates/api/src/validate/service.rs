//! Services.
//!
//! Create and update check the whole object after numbers have been allotted, as upstream does: what is missing then was
//! not allotted. What an update may change of addresses and classes is `validate::service_update`'s.
//! Upstream: `ValidateService` and its neighbours in `pkg/apis/core/validation`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{self, NameSyntax, Scope, object_meta_create, object_meta_update};
use super::{Complaints, address, text};
use crate::field::{FieldError, FieldErrors, Path, shown_value};
use crate::names;
use crate::service::{self, ServiceType};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const TRAFFIC_POLICIES: [&str; 2] = ["Cluster", "Local"];
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameNode", "PreferSameZone"];
/// A day: longer stickiness is refused.
const AFFINITY_SECONDS_MAX: i32 = 86_400;
/// Clouds that open their firewalls too far would expose the node's agent.
const KUBELET_PORT: i32 = 10250;
const ADDRESSES_MAX: usize = 2;
const SOURCE_RANGES_ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

pub fn service_create(service: &Service) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&service.metadata, Scope::Namespaced, NameSyntax::Dns1035, &path);
    errors.extend(contents(service));
    errors
}

pub fn service_update(new: &Service, old: &Service) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    let empty = ServiceSpec::default();
    let (new_spec, old_spec) = (new.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    errors.extend(address_changes(new_spec, old_spec));
    errors.extend(family_changes(new_spec, old_spec));
    errors.extend(class_changes(new_spec, old_spec));
    if service::needs_health_check(new_spec)
        && service::needs_health_check(old_spec)
        && new_spec.health_check_node_port != old_spec.health_check_node_port
    {
        let value = new_spec.health_check_node_port.unwrap_or_default();
        errors.push(FieldError::invalid(&Path::new("spec.healthCheckNodePort"), value, super::IMMUTABLE));
    }
    errors.extend(contents(new));
    super::each_once(errors)
}

pub fn service_status_update(new: &Service, old: &Service) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    let path = Path::new("status.loadBalancer.ingress");
    let balanced = new.spec.as_ref().is_some_and(|spec| service::type_of(spec) == ServiceType::LoadBalancer);
    let status = new.status.clone().unwrap_or_default();
    let ingress = status.load_balancer.and_then(|balancer| balancer.ingress).unwrap_or_default();
    if !balanced && !ingress.is_empty() {
        let detail = "may only be used when `spec.type` is LoadBalancer";
        errors.push(FieldError::forbidden(&path, detail));
    }
    for (i, point) in ingress.iter().enumerate() {
        let path = path.index(i);
        let (ip, host) = (text(&point.ip), text(&point.hostname));
        if !ip.is_empty() {
            errors.syntax(&path.child("ip"), ip, names::ip(ip));
        }
        match point.ip_mode.as_deref() {
            None if !ip.is_empty() => {
                errors
                    .push(FieldError::required(&path.child("ipMode"), "must be specified when `ip` is set"));
            }
            Some(_) if ip.is_empty() => {
                let detail = "may not be specified when `ip` is not set";
                errors.push(FieldError::forbidden(&path.child("ipMode"), detail));
            }
            Some(mode) => errors.one_of(&path.child("ipMode"), mode, &["Proxy", "VIP"]),
            None => {}
        }
        if !host.is_empty() {
            errors.syntax(&path.child("hostname"), host, names::dns1123_subdomain(host));
            if host.parse::<IpAddr>().is_ok() {
                let detail = "must be a DNS name, not an IP address";
                errors.push(FieldError::invalid(&path.child("hostname"), host, detail));
            }
        }
    }
    errors
}

fn contents(service: &Service) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let empty = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&empty);
    let path = Path::new("spec");
    let ports = spec.ports.as_deref().unwrap_or_default();
    let headless = service::is_headless(spec);
    let kind = service::type_of(spec);
    if ports.is_empty() && !headless && kind != ServiceType::ExternalName {
        errors.push(FieldError::required(&path.child("ports"), ""));
    }
    errors.extend(by_type(spec, kind, headless, ports, &path));

    let ports_path = path.child("ports");
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        errors.extend(service_port(port, ports.len() > 1, &mut seen, &ports_path.index(i)));
    }
    if let Some(selector) = &spec.selector {
        errors.extend(metadata::labels(selector, &path.child("selector")));
    }
    errors.extend(affinity(spec, &path));
    if kind != ServiceType::ExternalName {
        errors.extend(cluster_addresses(spec, headless, &path));
    }
    for (i, ip) in spec.external_ips.iter().flatten().enumerate() {
        let path = path.child("externalIPs").index(i);
        errors.extend(address::plain(ip, &path));
    }
    let type_path = path.child("type");
    if errors.required_text(&type_path, text(&spec.type_)) {
        errors.one_of(&type_path, text(&spec.type_), &TYPES);
    }
    errors.extend(distinct_ports(ports, kind, &ports_path));
    errors.extend(source_ranges(service, spec, kind, &path));
    match (kind, spec.allocate_load_balancer_node_ports) {
        (ServiceType::LoadBalancer, None) => {
            // COMPAT(v1): upstream leaves `spec` out of this path.
            errors.push(FieldError::required(&Path::new("allocateLoadBalancerNodePorts"), ""));
        }
        (ServiceType::LoadBalancer, Some(_)) | (_, None) => {}
        (_, Some(_)) => {
            let detail = "may only be used when `type` is 'LoadBalancer'";
            errors.push(FieldError::forbidden(&path.child("allocateLoadBalancerNodePorts"), detail));
        }
    }
    if let Some(class) = spec.load_balancer_class.as_deref() {
        let path = path.child("loadBalancerClass");
        if kind != ServiceType::LoadBalancer {
            let detail = "may only be used when `type` is 'LoadBalancer'";
            errors.push(FieldError::forbidden(&path, detail));
        } else {
            errors.syntax(&path, class, names::qualified_name(class));
        }
    }
    errors.extend(traffic(spec, kind, &path));
    errors
}

fn by_type(
    spec: &ServiceSpec,
    kind: ServiceType,
    headless: bool,
    ports: &[ServicePort],
    path: &Path,
) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let no_address = |detail: &str| FieldError::invalid(&path.child("clusterIPs").index(0), "None", detail);
    match kind {
        ServiceType::LoadBalancer => {
            for (i, port) in ports.iter().enumerate().filter(|(_, port)| port.port == KUBELET_PORT) {
                let detail =
                    format!("may not expose port {KUBELET_PORT} externally since it is used by kubelet");
                errors.push(FieldError::invalid(&path.child("ports").index(i), port.port, detail));
            }
            if headless {
                errors.push(no_address("may not be set to 'None' for LoadBalancer services"));
            }
        }
        ServiceType::NodePort if headless => {
            errors.push(no_address("may not be set to 'None' for NodePort services"));
        }
        ServiceType::ExternalName => {
            let detail = "may not be set for ExternalName services";
            if spec.cluster_ips.as_ref().is_some_and(|ips| !ips.is_empty()) {
                errors.push(FieldError::forbidden(&path.child("clusterIPs"), detail));
            }
            if spec.ip_families.as_ref().is_some_and(|families| !families.is_empty()) {
                errors.push(FieldError::forbidden(&path.child("ipFamilies"), detail));
            }
            if spec.ip_family_policy.is_some() {
                errors.push(FieldError::forbidden(&path.child("ipFamilyPolicy"), detail));
            }
            // A name may end in a dot: it is fully qualified then.
            let name = text(&spec.external_name);
            let name = name.strip_suffix('.').unwrap_or(name);
            if errors.required_text(&path.child("externalName"), name) {
                errors.syntax(&path.child("externalName"), name, names::dns1123_subdomain(name));
            }
        }
        ServiceType::NodePort | ServiceType::ClusterIp | ServiceType::Unknown => {}
    }
    errors
}

fn service_port(
    port: &ServicePort,
    name_required: bool,
    seen: &mut BTreeSet<String>,
    path: &Path,
) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let name = text(&port.name);
    if !name.is_empty() {
        errors.syntax(&path.child("name"), name, names::dns1123_label(name));
        if !seen.insert(name.to_owned()) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    } else if name_required {
        errors.push(FieldError::required(&path.child("name"), ""));
    }
    errors.extend(number(port.port, &path.child("port")));
    let protocol_path = path.child("protocol");
    if errors.required_text(&protocol_path, text(&port.protocol)) {
        errors.one_of(&protocol_path, text(&port.protocol), &PROTOCOLS);
    }
    let target = path.child("targetPort");
    match &port.target_port {
        Some(IntOrString::String(name)) => errors.syntax(&target, name, names::port_name(name)),
        Some(IntOrString::Int(port)) => errors.extend(number(*port, &target)),
        None => errors.extend(number(0, &target)),
    }
    if let Some(protocol) = port.app_protocol.as_deref() {
        errors.syntax(&path.child("appProtocol"), protocol, names::qualified_name(protocol));
    }
    errors
}

fn number(port: i32, path: &Path) -> FieldErrors {
    let complaints = names::port_number(i64::from(port));
    complaints.into_iter().map(|detail| FieldError::invalid(path, port, detail)).collect()
}

fn affinity(spec: &ServiceSpec, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let kind = text(&spec.session_affinity);
    let kind_path = path.child("sessionAffinity");
    if errors.required_text(&kind_path, kind) {
        errors.one_of(&kind_path, kind, &["ClientIP", "None"]);
    }
    let path = path.child("sessionAffinityConfig");
    match (kind, &spec.session_affinity_config) {
        ("ClientIP", config) => errors.extend(client_affinity(config.as_ref(), &path)),
        ("None", Some(_)) => {
            let detail = "must not be set when session affinity is None";
            errors.push(FieldError::forbidden(&path, detail));
        }
        _ => {}
    }
    errors
}

fn client_affinity(config: Option<&SessionAffinityConfig>, path: &Path) -> Option<FieldError> {
    let detail = "when session affinity type is ClientIP";
    let Some(config) = config else { return Some(FieldError::required(path, detail)) };
    let path = path.child("clientIP");
    let Some(client) = &config.client_ip else { return Some(FieldError::required(&path, detail)) };
    let path = path.child("timeoutSeconds");
    match client.timeout_seconds {
        None => Some(FieldError::required(&path, detail)),
        Some(seconds) if (1..=AFFINITY_SECONDS_MAX).contains(&seconds) => None,
        Some(seconds) => {
            let detail = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
            Some(FieldError::invalid(&path, seconds, detail))
        }
    }
}

/// clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy, each alone and together.
fn cluster_addresses(spec: &ServiceSpec, headless: bool, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let addresses = spec.cluster_ips.as_deref().unwrap_or_default();
    let families = spec.ip_families.as_deref().unwrap_or_default();
    let addresses_path = path.child("clusterIPs");
    let families_path = path.child("ipFamilies");
    let one = text(&spec.cluster_ip);
    if !one.is_empty() && addresses.is_empty() {
        errors.push(FieldError::required(&addresses_path, ""));
    } else if addresses.first().map_or("", String::as_str) != one {
        let detail = "first value must match `clusterIP`";
        errors.push(FieldError::invalid(&addresses_path, addresses.to_vec(), detail));
    }
    for (i, family) in families.iter().enumerate() {
        errors.one_of(&families_path.index(i), family, &FAMILIES);
        if families[..i].contains(family) {
            errors.push(FieldError::duplicate(&families_path.index(i), family.as_str()));
        }
    }
    if let Some(policy) = spec.ip_family_policy.as_deref() {
        errors.one_of(&path.child("ipFamilyPolicy"), policy, &POLICIES);
    }
    let mut bad = false;
    for (i, ip) in addresses.iter().enumerate() {
        if i == 0 && ip == service::NONE {
            if addresses.len() > 1 {
                bad = true;
                let detail = "'None' must be the first and only value";
                errors.push(FieldError::invalid(&addresses_path, addresses.to_vec(), detail));
            }
            continue;
        }
        let complaints = names::ip(ip);
        bad |= !complaints.is_empty();
        errors.syntax(&addresses_path.index(i), ip, complaints);
    }
    if addresses.len() > ADDRESSES_MAX {
        let detail = "may only hold up to 2 values";
        errors.push(FieldError::invalid(&addresses_path, addresses.to_vec(), detail));
    }
    if bad {
        return errors;
    }
    let family_of =
        |ip: &String| ip.parse::<IpAddr>().ok().map(|ip| if ip.is_ipv4() { "IPv4" } else { "IPv6" });
    if addresses.len() > 1 {
        let found: BTreeSet<_> = addresses.iter().filter_map(family_of).collect();
        if found.len() < addresses.len() {
            let detail = "may specify no more than one IP for each IP family";
            errors.push(FieldError::invalid(&addresses_path, addresses.to_vec(), detail));
        }
    }
    if !headless {
        for (i, (ip, family)) in addresses.iter().zip(families).enumerate() {
            if family_of(ip).is_some_and(|found| found != family) && FAMILIES.contains(&family.as_str()) {
                let detail = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
                errors.push(FieldError::invalid(&addresses_path.index(i), ip.as_str(), detail));
            }
        }
    }
    errors
}

fn distinct_ports(ports: &[ServicePort], kind: ServiceType, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let node_port = |port: &ServicePort| port.node_port.unwrap_or_default();
    if kind == ServiceType::ClusterIp {
        for (i, _) in ports.iter().enumerate().filter(|(_, port)| node_port(port) != 0) {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(&path.index(i).child("nodePort"), detail));
        }
    }
    for (i, port) in ports.iter().enumerate().filter(|(_, port)| node_port(port) != 0) {
        let same =
            |other: &ServicePort| other.protocol == port.protocol && node_port(other) == node_port(port);
        if ports[..i].iter().any(same) {
            errors.push(FieldError::duplicate(&path.index(i).child("nodePort"), node_port(port)));
        }
    }
    for (i, port) in ports.iter().enumerate() {
        let same = |other: &ServicePort| other.protocol == port.protocol && other.port == port.port;
        if ports[..i].iter().any(same) {
            let key = serde_json::json!({"protocol": text(&port.protocol), "port": port.port});
            errors.push(FieldError::duplicate(&path.index(i), key));
        }
    }
    errors
}

fn source_ranges(service: &Service, spec: &ServiceSpec, kind: ServiceType, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let forbidden = "may only be used when `type` is 'LoadBalancer'";
    let range = |text: &str| super::node::is_cidr(text.trim());
    let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    if !ranges.is_empty() {
        let path = path.child("loadBalancerSourceRanges");
        if kind != ServiceType::LoadBalancer {
            errors.push(FieldError::forbidden(&path, forbidden));
        }
        for (i, text) in ranges.iter().enumerate().filter(|(_, text)| !range(text)) {
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.push(FieldError::invalid(&path.index(i), text.as_str(), detail));
        }
    } else if let Some(text) =
        service.metadata.annotations.as_ref().and_then(|all| all.get(SOURCE_RANGES_ANNOTATION))
    {
        let path = Path::new("metadata.annotations").key(SOURCE_RANGES_ANNOTATION);
        if kind != ServiceType::LoadBalancer {
            errors.push(FieldError::forbidden(&path, forbidden));
        }
        if !text.trim().is_empty() && !text.split(',').all(range) {
            let detail = "must be a comma separated list of CIDRs e.g. 192.168.0.0/16,10.0.0.0/8";
            errors.push(FieldError::invalid(&path, text.as_str(), detail));
        }
    }
    errors
}

fn traffic(spec: &ServiceSpec, kind: ServiceType, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let external = text(&spec.external_traffic_policy);
    let external_path = path.child("externalTrafficPolicy");
    if !service::is_externally_accessible(spec) {
        if !external.is_empty() {
            let detail = "may only be set for externally-accessible services";
            errors.push(FieldError::invalid(&external_path, external, detail));
        }
    } else if errors.required_text(&external_path, external) {
        errors.one_of(&external_path, external, &TRAFFIC_POLICIES);
    }
    let health = spec.health_check_node_port.unwrap_or_default();
    let health_path = path.child("healthCheckNodePort");
    match (service::needs_health_check(spec), health) {
        (false, 0) => {}
        (false, port) => {
            let detail =
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(FieldError::invalid(&health_path, port, detail));
        }
        (true, 0) => errors.push(FieldError::required(&health_path, "")),
        (true, port) => errors.extend(number(port, &health_path)),
    }
    let internal_path = path.child("internalTrafficPolicy");
    match spec.internal_traffic_policy.as_deref() {
        None if kind != ServiceType::ExternalName => errors.push(FieldError::required(&internal_path, "")),
        None => {}
        Some(policy) => errors.one_of(&internal_path, policy, &TRAFFIC_POLICIES),
    }
    if let Some(distribution) = spec.traffic_distribution.as_deref() {
        errors.one_of(&path.child("trafficDistribution"), distribution, &DISTRIBUTIONS);
    }
    errors
}

/// A service keeps its first address and may gain or give up the second; on the way to or from ExternalName all may change.
fn address_changes(new: &ServiceSpec, old: &ServiceSpec) -> FieldErrors {
    let named = |spec: &ServiceSpec| service::type_of(spec) == ServiceType::ExternalName;
    if named(new) || named(old) || (service::is_headless(new) && service::is_headless(old)) {
        return FieldErrors::new();
    }
    let (after, before) =
        (new.cluster_ips.as_deref().unwrap_or_default(), old.cluster_ips.as_deref().unwrap_or_default());
    changes(after, before, &Path::new("spec.clusterIPs"), "clusterIP", new)
}

fn family_changes(new: &ServiceSpec, old: &ServiceSpec) -> FieldErrors {
    let named = |spec: &ServiceSpec| service::type_of(spec) == ServiceType::ExternalName;
    // Headless services without a selector may name their families as they like.
    let free = |spec: &ServiceSpec| {
        service::is_headless(spec) && spec.selector.as_ref().is_none_or(|selector| selector.is_empty())
    };
    if named(new) || named(old) || (free(new) && free(old)) {
        return FieldErrors::new();
    }
    let (after, before) =
        (new.ip_families.as_deref().unwrap_or_default(), old.ip_families.as_deref().unwrap_or_default());
    changes(after, before, &Path::new("spec.ipFamilies"), "ipFamily", new)
}

fn changes(after: &[String], before: &[String], path: &Path, noun: &str, spec: &ServiceSpec) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let changed = |i: usize| FieldError::invalid(&path.index(i), after.to_vec(), "may not change once set");
    if after.len() == before.len() {
        errors.extend((0..after.len()).filter(|i| after[*i] != before[*i]).map(changed));
        return errors;
    }
    match (after.first(), before.first()) {
        (None, Some(_)) => {
            let detail = format!("primary {noun} can not be unset");
            errors.push(FieldError::invalid(&path.index(0), after.to_vec(), detail));
        }
        (Some(new), Some(old)) if new != old => errors.push(changed(0)),
        _ => {}
    }
    if after.len() == 1 && before.len() > 1 && spec.ip_family_policy.as_deref() != Some("SingleStack") {
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {noun}");
        let shown = shown_value(&spec.ip_family_policy);
        errors.push(FieldError::invalid(&Path::new("spec.ipFamilyPolicy"), shown, detail));
    }
    errors
}

/// The class is chosen when a service becomes a load balancer, and then stays.
fn class_changes(new: &ServiceSpec, old: &ServiceSpec) -> FieldErrors {
    let balanced = |spec: &ServiceSpec| service::type_of(spec) == ServiceType::LoadBalancer;
    if !(balanced(new) && balanced(old)) || new.load_balancer_class == old.load_balancer_class {
        return FieldErrors::new();
    }
    let path = Path::new("spec.loadBalancerClass");
    vec![FieldError::invalid(&path, shown_value(&new.load_balancer_class), "may not change once set")]
}
