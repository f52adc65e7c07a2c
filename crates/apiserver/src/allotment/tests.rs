//! Numbers are proposed where they are needed, refused where they are somebody's, and claimed once.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};
use store::memory::MemoryStore;

use super::*;

fn service(spec: Value) -> Service {
    let mut service: Service =
        serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
    api::default::service(&mut service);
    api::strategy::service_create(&mut service);
    service
}

fn allotment(range: &str) -> Allotment {
    Allotment::new(range.parse().unwrap())
}

fn proposed(allotment: &Allotment, spec: Value) -> Result<ServiceSpec, String> {
    let mut service = service(spec);
    allotment.propose(&mut service, None).map_err(|error| error.to_string())?;
    Ok(service.spec.unwrap())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn ranges_give_neither_network_nor_broadcast_nor_the_servers_own() {
    let range: ServiceRange = "10.1.2.200/29".parse().unwrap();
    assert_eq!(range.to_string(), "10.1.2.200/29");
    assert_eq!(range.first(), ip("10.1.2.201"));
    for (address, inside) in [
        ("10.1.2.200", false),
        ("10.1.2.201", true),
        ("10.1.2.206", true),
        ("10.1.2.207", false),
        ("fd00::1", false),
    ] {
        assert_eq!(range.contains(ip(address)), inside, "{address}");
    }
    let mut given = BTreeSet::new();
    while let Some(next) = range.pick(7, |ip| !given.contains(&ip)) {
        given.insert(next);
    }
    assert_eq!(given, (202..=206).map(|last| ip(&format!("10.1.2.{last}"))).collect());

    let wide: ServiceRange = "fd00::/64".parse().unwrap();
    assert_eq!((wide.first(), wide.family()), (ip("fd00::1"), "IPv6"));
    let usual = ServiceRange::usual();
    for seed in [0, 1, 999_999_999, u64::MAX] {
        let picked = usual.pick(seed, |_| true).unwrap();
        assert!(
            usual.contains(picked) && picked > ip("10.96.0.255"),
            "{picked} is beyond the band that people use"
        );
    }
    for bad in ["", "10.96.0.0", "10.96.0.0/33", "x/8", "10.96.0.0/30"] {
        assert!(bad.parse::<ServiceRange>().is_err(), "{bad}");
    }
}

#[test]
fn each_type_gets_what_it_needs() {
    let allotment = allotment("10.96.0.0/12");
    let plain = proposed(&allotment, json!({"ports": [{"port": 80}], "selector": {"a": "b"}})).unwrap();
    let address: IpAddr = plain.cluster_ip.clone().unwrap().parse().unwrap();
    assert!(allotment.range.contains(address));
    assert_eq!(plain.cluster_ips, Some(vec![address.to_string()]));
    assert_eq!(plain.ip_families.as_deref(), Some(&["IPv4".to_owned()][..]));
    assert_eq!(plain.ip_family_policy.as_deref(), Some("SingleStack"));
    assert_eq!(plain.ports.unwrap()[0].node_port, None);

    let headless = proposed(&allotment, json!({"clusterIP": "None", "selector": {"a": "b"}})).unwrap();
    assert_eq!(headless.cluster_ips.as_deref(), Some(&["None".to_owned()][..]));
    assert_eq!(headless.ip_families.as_deref(), Some(&["IPv4".to_owned()][..]));

    let node = json!({"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30080}]});
    let node = proposed(&allotment, node).unwrap().ports.unwrap();
    assert_eq!(node[1].node_port, Some(30_080));
    let chosen = node[0].node_port.unwrap();
    assert!((30_086..=32_767).contains(&chosen), "{chosen} is beyond the band that people use");

    let balanced = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
    let balanced = proposed(&allotment, balanced).unwrap();
    let health = balanced.health_check_node_port.unwrap();
    assert_ne!(Some(health), balanced.ports.unwrap()[0].node_port);
    let without =
        json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}]});
    assert_eq!(proposed(&allotment, without).unwrap().ports.unwrap()[0].node_port, None);

    let named = proposed(&allotment, json!({"type": "ExternalName", "externalName": "a.b"})).unwrap();
    assert_eq!((named.cluster_ip, named.ip_families, named.ip_family_policy), (None, None, None));
}

#[test]
fn what_is_not_to_be_had_is_refused_in_upstreams_words() {
    let allotment = allotment("10.96.0.0/28");
    allotment.learn(Claim::Address(ip("10.96.0.5")));
    allotment.learn(Claim::Port(30_080));
    let ports = json!([{"port": 80}]);
    let node = |port: u16| json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    let table = [
        (
            json!({"clusterIP": "10.96.0.5", "ports": ports}),
            "spec.clusterIPs: Invalid value: [\"10.96.0.5\"]: failed to allocate IP 10.96.0.5: provided IP is already allocated",
        ),
        (
            json!({"clusterIP": "10.97.0.5", "ports": ports}),
            "spec.clusterIPs: Invalid value: [\"10.97.0.5\"]: failed to allocate IP 10.97.0.5: provided IP is not in the valid range. The range of valid IPs is 10.96.0.0/28",
        ),
        (
            json!({"clusterIP": "fd00::5", "ports": ports}),
            "spec.clusterIPs[0]: Invalid value: [\"fd00::5\"]: IPv6 is not configured on this cluster",
        ),
        (
            json!({"ipFamilies": ["IPv6"], "ports": ports}),
            "spec.ipFamilies[0]: Invalid value: [\"IPv6\"]: IPv6 is not configured on this cluster",
        ),
        (
            json!({"ipFamilyPolicy": "RequireDualStack", "ports": ports}),
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
        ),
        (node(30_080), "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"),
        (
            node(80),
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767",
        ),
    ];
    for (spec, expect) in table {
        assert_eq!(proposed(&allotment, spec).unwrap_err(), format!("Service \"a\" is invalid: {expect}"));
    }
    for last in 1..15 {
        allotment.learn(Claim::Address(ip(&format!("10.96.0.{last}"))));
    }
    assert_eq!(
        proposed(&allotment, json!({"ports": ports})).unwrap_err(),
        "Internal error occurred: failed to allocate a serviceIP: range is full"
    );
}

#[test]
fn a_service_keeps_its_own_numbers() {
    let allotment = allotment("10.96.0.0/12");
    let spec =
        json!({"type": "NodePort", "clusterIP": "10.96.9.9", "ports": [{"port": 80, "nodePort": 30080}]});
    let mut old = service(spec.clone());
    allotment.propose(&mut old, None).unwrap();
    for claim in Claim::of(&old) {
        allotment.learn(claim);
    }
    let mut new = service(spec);
    allotment.propose(&mut new, Some(&old)).unwrap();
    assert_eq!(new.spec, old.spec);
}

#[test]
fn a_port_that_two_protocols_share_is_one_number() {
    let shared = service(json!({"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [
        {"name": "t", "port": 53, "nodePort": 30053}, {"name": "u", "port": 53, "protocol": "UDP", "nodePort": 30053}]}));
    assert_eq!(Claim::of(&shared), [Claim::Address(ip("10.96.0.9")), Claim::Port(30_053)]);
    for claim in Claim::of(&shared) {
        assert_eq!(Claim::parse(&claim.text()), Some(claim));
    }
    assert!(proposed(&allotment("10.96.0.0/12"), serde_json::to_value(shared.spec).unwrap()).is_ok());
}

#[tokio::test]
async fn of_two_servers_one_gets_the_number_and_the_other_learns_of_it() {
    let store = MemoryStore::new();
    let (one, other) = (allotment("10.96.0.0/12"), allotment("10.96.0.0/12"));
    let address = Claim::Address(ip("10.96.7.7"));
    let wanted = [Claim::Port(30_001), address];
    assert_eq!(one.claim(&store, "default/a", &[address]).await.unwrap(), Claimed::All);
    assert_eq!(other.claim(&store, "default/b", &wanted).await.unwrap(), Claimed::Lost);
    assert!(other.taken.lock().contains(&address), "what was lost is known");
    assert!(!other.taken.lock().contains(&wanted[0]), "what was made is given back");
    assert_eq!(one.claim(&store, "default/c", &wanted[..1]).await.unwrap(), Claimed::All);
    one.release(&store, &[address]).await;
    assert_eq!(other.claim(&store, "default/b", &[address]).await.unwrap(), Claimed::All);
}
