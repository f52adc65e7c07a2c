//! Endpoints and EndpointSlices: where a Service's traffic goes.
//!
//! Upstream: `validateEndpoints` in `pkg/apis/core/validation`, `pkg/apis/discovery/validation`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort as SlicePort, EndpointSlice};

use super::metadata::{self, NameSyntax, Scope, object_meta_create, object_meta_update};
use super::{Complaints, address, text};
use crate::field::{FieldError, FieldErrors, Path};
use crate::names;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
/// Upstream's limits of one slice.
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const TOPOLOGY_LABELS_MAX: usize = 16;
const HINTS_MAX: usize = 8;

pub fn endpoints_create(endpoints: &Endpoints) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&endpoints.metadata, Scope::Namespaced, NameSyntax::Subdomain, &path);
    errors.extend(subsets(endpoints));
    errors
}

pub fn endpoints_update(new: &Endpoints, old: &Endpoints) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(subsets(new));
    errors
}

fn subsets(endpoints: &Endpoints) -> FieldErrors {
    let subsets = endpoints.subsets.iter().flatten().enumerate();
    subsets.flat_map(|(i, subset)| self::subset(subset, &Path::new("subsets").index(i))).collect()
}

fn subset(subset: &EndpointSubset, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let ready = subset.addresses.as_deref().unwrap_or_default();
    let waiting = subset.not_ready_addresses.as_deref().unwrap_or_default();
    if ready.is_empty() && waiting.is_empty() {
        errors.push(FieldError::required(path, "must specify `addresses` or `notReadyAddresses`"));
    }
    for (field, list) in [("addresses", ready), ("notReadyAddresses", waiting)] {
        for (i, one) in list.iter().enumerate() {
            errors.extend(endpoint_address(one, &path.child(field).index(i)));
        }
    }
    let ports = subset.ports.as_deref().unwrap_or_default();
    for (i, port) in ports.iter().enumerate() {
        errors.extend(endpoint_port(port, ports.len() > 1, &path.child("ports").index(i)));
    }
    errors
}

fn endpoint_address(one: &EndpointAddress, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let complaints = names::ip(&one.ip);
    let well_formed = complaints.is_empty();
    errors.syntax(&path.child("ip"), &one.ip, complaints);
    let hostname = text(&one.hostname);
    if !hostname.is_empty() {
        errors.syntax(&path.child("hostname"), hostname, names::dns1123_label(hostname));
    }
    if let Some(node) = &one.node_name {
        errors.syntax(&path.child("nodeName"), node, names::dns1123_subdomain(node));
    }
    if well_formed {
        errors.extend(address::non_special(&one.ip, &path.child("ip")));
    }
    errors
}

fn endpoint_port(port: &EndpointPort, name_required: bool, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let name = text(&port.name);
    if !name.is_empty() {
        errors.syntax(&path.child("name"), name, names::dns1123_label(name));
    } else if name_required {
        errors.push(FieldError::required(&path.child("name"), ""));
    }
    for detail in names::port_number(i64::from(port.port)) {
        errors.push(FieldError::invalid(&path.child("port"), port.port, detail));
    }
    let protocol_path = path.child("protocol");
    if errors.required_text(&protocol_path, text(&port.protocol)) {
        errors.one_of(&protocol_path, text(&port.protocol), &PROTOCOLS);
    }
    if let Some(protocol) = &port.app_protocol {
        errors.syntax(&path.child("appProtocol"), protocol, names::qualified_name(protocol));
    }
    errors
}

pub fn endpoint_slice_create(slice: &EndpointSlice) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&slice.metadata, Scope::Namespaced, NameSyntax::Subdomain, &path);
    errors.extend(slice_contents(slice));
    errors
}

pub fn endpoint_slice_update(new: &EndpointSlice, old: &EndpointSlice) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(slice_contents(new));
    errors.immutable(&Path::new("addressType"), &new.address_type, &old.address_type);
    errors
}

fn slice_contents(slice: &EndpointSlice) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let type_path = Path::new("addressType");
    if errors.required_text(&type_path, &slice.address_type) {
        errors.one_of(&type_path, &slice.address_type, &ADDRESS_TYPES);
    }
    let path = Path::new("endpoints");
    if slice.endpoints.len() > ENDPOINTS_MAX {
        errors.push(FieldError::too_many(&path, slice.endpoints.len(), ENDPOINTS_MAX));
    } else {
        for (i, endpoint) in slice.endpoints.iter().enumerate() {
            errors.extend(slice_endpoint(endpoint, &slice.address_type, &path.index(i)));
        }
    }
    let path = Path::new("ports");
    let ports = slice.ports.as_deref().unwrap_or_default();
    if ports.len() > PORTS_MAX {
        errors.push(FieldError::too_many(&path, ports.len(), PORTS_MAX));
        return errors;
    }
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        errors.extend(slice_port(port, &mut seen, &path.index(i)));
    }
    errors
}

fn slice_endpoint(endpoint: &Endpoint, kind: &str, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let addresses_path = path.child("addresses");
    if endpoint.addresses.is_empty() {
        errors.push(FieldError::required(&addresses_path, "must contain at least 1 address"));
    } else if endpoint.addresses.len() > ADDRESSES_MAX {
        errors.push(FieldError::too_many(&addresses_path, endpoint.addresses.len(), ADDRESSES_MAX));
    }
    for (i, address) in endpoint.addresses.iter().enumerate() {
        let path = addresses_path.index(i);
        let of_family =
            |v4: bool| address.parse::<std::net::IpAddr>().is_ok_and(|parsed| parsed.is_ipv4() == v4);
        match kind {
            "IPv4" if !of_family(true) => {
                errors.push(FieldError::invalid(&path, address.as_str(), "must be a valid IPv4 address"));
            }
            "IPv6" if !of_family(false) => {
                errors.push(FieldError::invalid(&path, address.as_str(), "must be a valid IPv6 address"));
            }
            "IPv4" | "IPv6" => errors.extend(address::non_special(address, &path)),
            "FQDN" => errors.extend(qualified_domain(address, &path)),
            _ => {}
        }
    }
    if let Some(node) = &endpoint.node_name {
        errors.syntax(&path.child("nodeName"), node, names::dns1123_subdomain(node));
    }
    if let Some(topology) = &endpoint.deprecated_topology {
        let path = path.child("deprecatedTopology");
        if topology.len() > TOPOLOGY_LABELS_MAX {
            errors.push(FieldError::too_many(&path, topology.len(), TOPOLOGY_LABELS_MAX));
        }
        errors.extend(metadata::labels(topology, &path));
    }
    if let Some(hostname) = &endpoint.hostname {
        errors.syntax(&path.child("hostname"), hostname, names::dns1123_label(hostname));
    }
    let hints = endpoint.hints.clone().unwrap_or_default();
    let zones = hints.for_zones.unwrap_or_default();
    let zones_path = path.child("hints").child("forZones");
    if zones.len() > HINTS_MAX {
        errors.push(FieldError::too_many(&zones_path, zones.len(), HINTS_MAX));
        return errors;
    }
    for (i, zone) in zones.iter().enumerate() {
        let path = zones_path.index(i).child("name");
        if errors.required_text(&path, &zone.name) {
            errors.syntax(&path, &zone.name, names::label_value(&zone.name));
        }
        if zones[..i].contains(zone) {
            errors.push(FieldError::duplicate(&path, zone.name.as_str()));
        }
    }
    errors
}

fn qualified_domain(name: &str, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let bare = name.strip_suffix('.').unwrap_or(name);
    if !errors.required_text(path, bare) {
        return errors;
    }
    errors.syntax(path, bare, names::dns1123_subdomain(bare));
    if errors.is_empty() && !bare.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, bare, detail));
    }
    errors
}

fn slice_port(port: &SlicePort, seen: &mut BTreeSet<String>, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let name = text(&port.name);
    if !name.is_empty() {
        errors.syntax(&path.child("name"), name, names::dns1123_label(name));
    }
    if !seen.insert(name.to_owned()) {
        errors.push(FieldError::duplicate(&path.child("name"), name));
    }
    let protocol_path = path.child("protocol");
    if errors.required_text(&protocol_path, text(&port.protocol)) {
        errors.one_of(&protocol_path, text(&port.protocol), &PROTOCOLS);
    }
    if let Some(number) = port.port {
        for detail in names::port_number(i64::from(number)) {
            errors.push(FieldError::invalid(&path.child("port"), number, detail));
        }
    }
    if let Some(protocol) = &port.app_protocol {
        errors.syntax(&path.child("appProtocol"), protocol, names::qualified_name(protocol));
    }
    errors
}
