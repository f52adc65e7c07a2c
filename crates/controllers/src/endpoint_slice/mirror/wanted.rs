//! From Endpoints and the slices that mirror them to those that are to be made, written and removed. Pure.
//!
//! Upstream: `pkg/controller/endpointslicemirroring` (reconciler.go, utils.go).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::meta::{Meta, controller_ref};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};

use crate::backends::Family;
use crate::endpoint_slice::layout::{Nothing, Origin, Plan, Ports, SERVICE_NAME, Wanted, identity, lay_out};
use crate::endpoint_slice::plan::MANAGED_BY;

pub const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";

/// Addresses of one subset that are mirrored: upstream's --mirroring-max-endpoints-per-subset.
pub const ADDRESSES_MAX: usize = 1_000;

/// Says that nobody is to mirror the Endpoints.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints that are a lock of an election of before Leases.
const LOCK: &str = "control-plane.alpha.kubernetes.io/leader";
/// Annotations that speak of the Endpoints alone.
const OWN: [&str; 2] =
    ["kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time"];

pub struct Mirrored {
    pub plan: Plan,
    /// Addresses beyond the limit.
    pub skipped: usize,
}

pub fn is_mirrored(endpoints: &Endpoints) -> bool {
    endpoints.label(SKIP) != Some("true") && endpoints.annotation(LOCK).is_none()
}

pub fn mirror(endpoints: &Endpoints, existing: &[Arc<EndpointSlice>]) -> Mirrored {
    let mut labels = endpoints.labels().clone();
    labels.insert(SERVICE_NAME.to_owned(), endpoints.name().to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = endpoints.annotations().clone();
    annotations.retain(|name, _| !OWN.contains(&name.as_str()));
    let origin = Origin {
        name: endpoints.name(),
        namespace: endpoints.namespace(),
        owner: controller_ref("v1", "Endpoints", endpoints),
        labels,
        annotations: Some(annotations),
        nothing: Nothing::NoSlice,
    };
    let mut families: BTreeMap<Family, Wanted> = BTreeMap::new();
    let mut skipped = 0;
    for subset in endpoints.subsets.iter().flatten() {
        skipped += collect(subset, &mut families);
    }
    Mirrored { plan: lay_out(&origin, families.into_iter().collect(), existing), skipped }
}

/// Adds the addresses of a subset; how many were beyond the limit.
fn collect(subset: &EndpointSubset, families: &mut BTreeMap<Family, Wanted>) -> usize {
    let mut ports: Ports = subset
        .ports
        .iter()
        .flatten()
        .map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            (port.name.clone().unwrap_or_default(), Some(port.port), protocol, port.app_protocol.clone())
        })
        .collect();
    ports.sort();
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    let others = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
    let mut count = 0;
    for (address, ready) in ready.chain(others) {
        // What is no address is nobody's endpoint; validation lets none in.
        let Ok(ip) = address.ip.parse::<IpAddr>() else { continue };
        count += 1;
        if count > ADDRESSES_MAX {
            continue;
        }
        let family = if ip.is_ipv4() { Family::V4 } else { Family::V6 };
        let endpoint = endpoint(address, ready);
        let wanted = families.entry(family).or_default().entry(ports.clone()).or_default();
        wanted.insert(identity(&endpoint), endpoint);
    }
    count.saturating_sub(ADDRESSES_MAX)
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn endpoints(subsets: Value) -> Endpoints {
        serde_json::from_value(json!({
            "metadata": {"namespace": "ns", "name": "db", "uid": "e", "labels": {"app": "db"}, "annotations": {
                "note": "kept", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "subsets": subsets,
        }))
        .unwrap()
    }

    fn shown(slices: &[EndpointSlice]) -> Value {
        let slice = |slice: &EndpointSlice| {
            let ready = |endpoint: &Endpoint| endpoint.conditions.as_ref().and_then(|known| known.ready);
            let endpoints: Vec<Value> =
                slice.endpoints.iter().map(|known| json!([known.addresses[0], ready(known)])).collect();
            let ports: Vec<i32> = slice.ports.iter().flatten().filter_map(|port| port.port).collect();
            json!([slice.address_type, ports, endpoints])
        };
        slices.iter().map(slice).collect()
    }

    #[test]
    fn addresses_stand_by_family_and_ports_and_say_whose_they_are() {
        let by_hand = endpoints(json!([
            {"addresses": [{"ip": "10.0.0.2"}, {"ip": "fd00::1"}], "notReadyAddresses": [{"ip": "10.0.0.3", "hostname": "c"}],
             "ports": [{"port": 5432}]},
            {"addresses": [{"ip": "10.0.0.2"}], "ports": [{"name": "metrics", "port": 9}]},
        ]));
        let made = mirror(&by_hand, &[]).plan;
        assert_eq!(
            shown(&made.create),
            json!([
                ["IPv4", [5432], [["10.0.0.2", true], ["10.0.0.3", false]]],
                ["IPv4", [9], [["10.0.0.2", true]]],
                ["IPv6", [5432], [["fd00::1", true]]],
            ])
        );
        assert_eq!(
            serde_json::to_value(&made.create[0].metadata).unwrap(),
            json!({"generateName": "db-", "namespace": "ns", "annotations": {"note": "kept"},
                "labels": {"app": "db", "kubernetes.io/service-name": "db",
                    "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Endpoints", "name": "db", "uid": "e",
                    "controller": true, "blockOwnerDeletion": true}]})
        );
    }

    #[test]
    fn slices_follow_and_nothing_is_written_where_nothing_changed() {
        let subset = |ip: &str| json!([{"addresses": [{"ip": ip}], "ports": [{"port": 80}]}]);
        let mut slice = mirror(&endpoints(subset("10.0.0.2")), &[]).plan.create.remove(0);
        slice.metadata.name = Some("db-x".to_owned());
        let existing = [Arc::new(slice)];
        assert!(mirror(&endpoints(subset("10.0.0.2")), &existing).plan.is_empty());
        let moved = mirror(&endpoints(subset("10.0.0.3")), &existing).plan;
        assert_eq!(
            (shown(&moved.update), moved.create.len()),
            (json!([["IPv4", [80], [["10.0.0.3", true]]]]), 0)
        );
        let renoted = Endpoints {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                annotations: None,
                ..endpoints(json!([])).metadata
            },
            ..endpoints(subset("10.0.0.2"))
        };
        let changed = mirror(&renoted, &existing).plan;
        assert_eq!((changed.update.len(), changed.update[0].metadata.annotations.as_ref()), (1, None));
        let none = mirror(&endpoints(json!([])), &existing).plan;
        assert_eq!((none.delete.len(), none.create.len()), (1, 0), "no slice where there are no addresses");
    }

    #[test]
    fn locks_and_those_that_say_so_are_not_mirrored_and_no_more_than_a_thousand_addresses_are() {
        let with =
            |metadata: Value| -> Endpoints { serde_json::from_value(json!({"metadata": metadata})).unwrap() };
        assert!(is_mirrored(&endpoints(json!([]))));
        assert!(!is_mirrored(&with(json!({"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}))));
        assert!(!is_mirrored(&with(
            json!({"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}})
        )));
        let many: Vec<Value> =
            (0..ADDRESSES_MAX + 7).map(|n| json!({"ip": format!("10.0.{}.{}", n / 250, n % 250)})).collect();
        let mirrored = mirror(&endpoints(json!([{"addresses": many, "ports": [{"port": 80}]}])), &[]);
        assert_eq!((mirrored.skipped, mirrored.plan.create.len()), (7, 10));
    }
}
