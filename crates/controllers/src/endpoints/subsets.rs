//! From a Service and the Pods behind it to the subsets of its Endpoints. Pure.
//!
//! Pods that answer on the same ports stand in one subset, the ready ones apart from the others. Upstream:
//! `pkg/controller/endpoint`, `pkg/api/v1/endpoints` (RepackSubsets, but ordered by name instead of by a hash).

use std::collections::BTreeMap;

use api::meta::Meta;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Service};

use crate::backends::{Family, Member, has_address, protocol};

/// Addresses in one object: upstream's limit; slices hold the rest.
pub const ADDRESSES_MAX: usize = 1_000;

pub struct Wanted {
    pub subsets: Vec<EndpointSubset>,
    /// There were more addresses.
    pub truncated: bool,
}

/// Ordered by what a subset has in common: name, number and protocol of each port.
type Ports = Vec<(String, i32, String, Option<String>)>;

#[derive(Default)]
struct Group {
    ready: Vec<EndpointAddress>,
    not_ready: Vec<EndpointAddress>,
}

pub fn wanted(service: &Service, members: &[(String, Member)]) -> Wanted {
    let Some(spec) = service.spec.as_ref() else { return Wanted { subsets: Vec::new(), truncated: false } };
    let all = spec.publish_not_ready_addresses == Some(true);
    let family = Family::of(service).first().copied().unwrap_or(Family::V4);
    let ports = spec.ports.as_deref().unwrap_or_default();
    let mut groups: BTreeMap<Ports, Group> = BTreeMap::new();
    for (name, member) in members.iter().filter(|(_, member)| all || !member.ending) {
        let Some(ip) = member.addresses(family).into_iter().next() else { continue };
        let mut answered: Ports = ports
            .iter()
            .filter_map(|port| {
                let number = member.port(port)?;
                let name = port.name.clone().unwrap_or_default();
                Some((name, number, protocol(port).to_owned(), port.app_protocol.clone()))
            })
            .collect();
        // A headless Service may be without ports; any other leads nowhere then.
        if answered.is_empty() && (!ports.is_empty() || has_address(spec)) {
            continue;
        }
        answered.sort();
        let address = EndpointAddress {
            ip,
            hostname: member.hostname(service),
            node_name: member.node.clone(),
            target_ref: Some(member.reference(service.namespace(), name)),
        };
        let group = groups.entry(answered).or_default();
        if all || member.ready { group.ready.push(address) } else { group.not_ready.push(address) }
    }
    let (mut subsets, mut truncated) = (Vec::new(), false);
    // Ready addresses are kept before the others.
    let ready: usize = groups.values().map(|group| group.ready.len()).sum();
    let (mut ready_left, mut others_left) = (ADDRESSES_MAX, ADDRESSES_MAX.saturating_sub(ready));
    for (ports, mut group) in groups {
        truncated |= cut(&mut group.ready, &mut ready_left);
        truncated |= cut(&mut group.not_ready, &mut others_left);
        if group.ready.is_empty() && group.not_ready.is_empty() {
            continue;
        }
        let ports: Vec<EndpointPort> = ports.into_iter().map(port).collect();
        subsets.push(EndpointSubset {
            addresses: (!group.ready.is_empty()).then_some(group.ready),
            not_ready_addresses: (!group.not_ready.is_empty()).then_some(group.not_ready),
            ports: (!ports.is_empty()).then_some(ports),
        });
    }
    Wanted { subsets, truncated }
}

fn port((name, number, protocol, app_protocol): (String, i32, String, Option<String>)) -> EndpointPort {
    EndpointPort {
        name: (!name.is_empty()).then_some(name),
        port: number,
        protocol: Some(protocol),
        app_protocol,
    }
}

fn cut(addresses: &mut Vec<EndpointAddress>, left: &mut usize) -> bool {
    addresses.sort_by(|a, b| (&a.ip, name_of(a)).cmp(&(&b.ip, name_of(b))));
    let too_many = addresses.len() > *left;
    addresses.truncate(*left);
    *left -= addresses.len();
    too_many
}

fn name_of(address: &EndpointAddress) -> Option<&str> {
    address.target_ref.as_ref().and_then(|pod| pod.name.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    fn service(spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": "web"}, "spec": spec})).unwrap()
    }

    fn pod(name: &str, ip: &str, ready: &str, more: Value) -> (String, Member) {
        let mut pod = json!({"metadata": {"namespace": "ns", "name": name, "uid": name},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": ready}]}});
        for (field, value) in more.as_object().unwrap() {
            pod[field].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        }
        let pod: Pod = serde_json::from_value(pod).unwrap();
        (name.to_owned(), Member::of(&pod, |_| None).unwrap())
    }

    fn shown(wanted: &Wanted) -> Value {
        let names = |addresses: &Option<Vec<EndpointAddress>>| -> Vec<String> {
            addresses.iter().flatten().map(|a| format!("{}={}", name_of(a).unwrap(), a.ip)).collect()
        };
        let subset = |subset: &EndpointSubset| {
            let ports: Vec<String> = subset
                .ports
                .iter()
                .flatten()
                .map(|port| format!("{}:{}", port.name.as_deref().unwrap_or("-"), port.port))
                .collect();
            json!([ports, names(&subset.addresses), names(&subset.not_ready_addresses)])
        };
        wanted.subsets.iter().map(subset).collect()
    }

    #[test]
    fn ready_pods_stand_apart_and_ports_are_found_by_name() {
        let web = service(json!({"clusterIP": "10.0.0.1", "ports": [
            {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"},
            {"name": "metrics", "port": 9, "targetPort": 9000, "protocol": "TCP"}]}));
        let pods = [
            pod("a", "10.1.0.2", "True", json!({})),
            pod("b", "10.1.0.1", "True", json!({})),
            pod("c", "10.1.0.3", "False", json!({})),
            pod("d", "10.1.0.4", "True", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
            pod("e", "10.1.0.5", "True", json!({"spec": {"containers": [{"name": "c"}]}})),
            pod("f", "fd00::1", "True", json!({})),
        ];
        assert_eq!(
            shown(&wanted(&web, &pods)),
            json!([
                [["http:8080", "metrics:9000"], ["b=10.1.0.1", "a=10.1.0.2"], ["c=10.1.0.3"]],
                [["metrics:9000"], ["e=10.1.0.5"], []],
            ])
        );
    }

    #[test]
    fn a_headless_service_may_have_no_ports_and_may_publish_all() {
        let pods = [
            pod("a", "10.1.0.1", "False", json!({"spec": {"hostname": "one", "subdomain": "web"}})),
            pod("d", "10.1.0.4", "True", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
        ];
        let headless = service(json!({"clusterIP": "None", "publishNotReadyAddresses": true}));
        let found = wanted(&headless, &pods);
        assert_eq!(shown(&found), json!([[[], ["a=10.1.0.1", "d=10.1.0.4"], []]]));
        assert_eq!(found.subsets[0].addresses.as_ref().unwrap()[0].hostname.as_deref(), Some("one"));
        assert_eq!(shown(&wanted(&service(json!({"clusterIP": "10.0.0.1"})), &pods)), json!([]));
    }

    #[test]
    fn beyond_the_limit_addresses_that_are_not_ready_go_first() {
        let web = service(json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80, "targetPort": 80}]}));
        let ready = |i: usize| if i < 5 { "False" } else { "True" };
        let pods: Vec<(String, Member)> = (0..ADDRESSES_MAX + 3)
            .map(|i| pod(&format!("p{i:04}"), &format!("10.2.{}.{}", i / 250, i % 250), ready(i), json!({})))
            .collect();
        let found = wanted(&web, &pods);
        assert!(found.truncated);
        let subset = &found.subsets[0];
        let count = |addresses: &Option<Vec<EndpointAddress>>| addresses.as_ref().map_or(0, Vec::len);
        assert_eq!((count(&subset.addresses), count(&subset.not_ready_addresses)), (998, 2));
    }
}
