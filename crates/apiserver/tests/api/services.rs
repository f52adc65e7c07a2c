//! Services: their numbers are theirs alone, stay with them, and are given back with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use apiserver::access::User;
use apiserver::{Config, Server};
use process::SystemClock;
use serde_json::{Value, json};
use store::memory::MemoryStore;

use crate::world::{DEADLINE, World};

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn named(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

async fn over(store: &Arc<MemoryStore>, range: &str, advertised: Option<&str>) -> World {
    let config = Config {
        service_range: range.parse().unwrap(),
        advertised: advertised.map(|address| address.parse().unwrap()),
        ..Config::new(SystemClock::shared())
    };
    let store: Arc<dyn store::Store> = Arc::<MemoryStore>::clone(store);
    World { server: Server::new(store, config).await.unwrap(), user: User::admin() }
}

#[tokio::test]
async fn a_service_reads_back_with_its_address_families_and_policies() {
    let world = World::new().await;
    let made = world
        .post(SERVICES, named("a", json!({"ports": [{"port": 80}], "selector": {"a": "b"}})))
        .await
        .json();
    let spec = &made["spec"];
    let address = spec["clusterIP"].as_str().unwrap();
    assert!(address.starts_with("10."), "{address}");
    assert_eq!(
        spec,
        &json!({
            "clusterIP": address, "clusterIPs": [address], "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "selector": {"a": "b"}, "sessionAffinity": "None", "type": "ClusterIP",
        })
    );
    assert_eq!(made["status"], json!({"loadBalancer": {}}));
}

#[tokio::test]
async fn addresses_are_unique_and_come_back_with_deletion_and_change_of_type() {
    let store = Arc::new(MemoryStore::new());
    let world = over(&store, "10.9.0.0/29", None).await;
    let ports = json!({"ports": [{"port": 80}]});
    let mut addresses = BTreeSet::new();
    for i in 0..5 {
        let made = world.post(SERVICES, named(&format!("s{i}"), ports.clone())).await;
        assert_eq!(made.status, 201, "{}", made.said());
        addresses.insert(made.json()["spec"]["clusterIP"].as_str().unwrap().to_owned());
    }
    assert_eq!(addresses.len(), 5);
    let full = "500 InternalError: Internal error occurred: failed to allocate a serviceIP: range is full";
    assert_eq!(world.post(SERVICES, named("more", ports.clone())).await.said(), full);
    assert_eq!(world.delete(&format!("{SERVICES}/s0")).await.status, 200);
    assert_eq!(world.post(SERVICES, named("more", ports.clone())).await.status, 201);

    let away = world
        .merge(&format!("{SERVICES}/s1"), json!({"spec": {"type": "ExternalName", "externalName": "a.b"}}))
        .await;
    assert_eq!(away.status, 200, "{}", away.said());
    assert_eq!((away.json()["spec"].get("clusterIP"), away.json()["spec"].get("clusterIPs")), (None, None));
    let taken = world.post(SERVICES, named("again", ports.clone())).await;
    assert_eq!(taken.status, 201, "{}", taken.said());
    let back = world.merge(&format!("{SERVICES}/s1"), json!({"spec": {"type": "ClusterIP"}})).await.said();
    assert_eq!(back, full);
    let dry = world.post(&format!("{SERVICES}?dryRun=All"), named("dry", ports)).await.said();
    assert_eq!(dry, full, "a dry run finds out as well");
}

#[tokio::test]
async fn node_ports_are_unique_and_an_update_that_leaves_them_out_keeps_them() {
    let world = World::new().await;
    let spec = json!({"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]});
    let made = world.post(SERVICES, named("a", spec.clone())).await.json();
    let port = |object: &Value, i: usize| object["spec"]["ports"][i]["nodePort"].as_i64().unwrap();
    assert!(port(&made, 0) != port(&made, 1) && (30_000..=32_767).contains(&port(&made, 0)));
    assert_eq!(made["spec"]["externalTrafficPolicy"], "Cluster");

    let put = world.put(&format!("{SERVICES}/a"), named("a", spec)).await.json();
    assert_eq!(put["spec"], made["spec"], "numbers that are left out are kept");
    let other = named("b", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port(&made, 0)}]}));
    assert_eq!(
        world.post(SERVICES, other.clone()).await.said(),
        format!(
            "422 Invalid: Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: {}: provided port is already \
             allocated",
            port(&made, 0)
        )
    );
    let plain = world.merge(&format!("{SERVICES}/a"), json!({"spec": {"type": "ClusterIP"}})).await.json();
    assert_eq!(plain["spec"]["ports"][0].get("nodePort"), None, "what the type does not have falls away");
    assert_eq!(plain["spec"].get("externalTrafficPolicy"), None);
    assert_eq!(plain["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    assert_eq!(world.post(SERVICES, other).await.status, 201, "and is free");
}

#[tokio::test]
async fn refusals_name_the_field_in_upstreams_words() {
    let world = World::new().await;
    world.post(SERVICES, named("a", json!({"clusterIP": "10.96.7.7", "ports": [{"port": 80}]}))).await;
    let table = [
        (
            json!({"spec": {"clusterIP": "10.96.7.8"}}),
            "spec.clusterIPs[0]: Invalid value: [\"10.96.7.8\"]: may not change once set",
        ),
        (json!({"spec": {"ports": []}}), "spec.ports: Required value"),
        (
            json!({"spec": {"type": "Other"}}),
            "spec.type: Unsupported value: \"Other\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
        ),
        (
            json!({"spec": {"sessionAffinity": "Some"}}),
            "spec.sessionAffinity: Unsupported value: \"Some\": supported values: \"ClientIP\", \"None\"",
        ),
        (
            json!({"spec": {"ports": [{"port": 0}]}}),
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (json!({"spec": {"ports": [{"port": 1}, {"port": 2}]}}), "spec.ports[0].name: Required value"),
        (
            json!({"spec": {"externalTrafficPolicy": "Local"}}),
            "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
        ),
        (json!({"spec": {"type": "ExternalName"}}), "spec.externalName: Required value"),
        (
            json!({"spec": {"externalIPs": ["127.0.0.1"]}}),
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            json!({"spec": {"type": "NodePort", "clusterIP": "None"}}),
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
        ),
    ];
    for (change, expect) in table {
        let said = world.merge(&format!("{SERVICES}/a"), change).await.said();
        assert!(
            said.starts_with("422 Invalid: Service \"a\" is invalid: ") && said.contains(expect),
            "{said}\n{expect}"
        );
    }
    let said = world.post(SERVICES, named("1a", json!({"ports": [{"port": 80}]}))).await.said();
    assert!(
        said.contains("metadata.name: Invalid value: \"1a\": a DNS-1035 label must consist of"),
        "{said}"
    );
}

#[tokio::test]
async fn status_is_a_door_of_its_own() {
    let world = World::new().await;
    let made =
        world.post(SERVICES, named("a", json!({"type": "LoadBalancer", "ports": [{"port": 80}]}))).await;
    assert_eq!(made.status, 201, "{}", made.said());
    let status = json!({"spec": {"sessionAffinity": "ClientIP"}, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}});
    let written = world.merge(&format!("{SERVICES}/a/status"), status).await;
    assert_eq!(written.status, 200, "{}", written.said());
    let written = written.json();
    assert_eq!(written["spec"]["sessionAffinity"], "None");
    assert_eq!(written["status"]["loadBalancer"]["ingress"], json!([{"ip": "1.2.3.4", "ipMode": "VIP"}]));
    let kept = world.merge(&format!("{SERVICES}/a"), json!({"status": {"loadBalancer": null}})).await.json();
    assert_eq!(kept["status"], written["status"]);
}

#[tokio::test]
async fn put_makes_a_service_that_is_not_there() {
    let world = World::new().await;
    let made = world.put(&format!("{SERVICES}/new"), named("new", json!({"ports": [{"port": 80}]}))).await;
    assert_eq!(made.status, 201, "{}", made.said());
    assert!(made.json()["spec"]["clusterIP"].is_string());
}

#[tokio::test]
async fn two_servers_over_one_store_give_no_number_twice() {
    let store = Arc::new(MemoryStore::new());
    let (one, two) = (over(&store, "10.9.0.0/28", None).await, over(&store, "10.9.0.0/28", None).await);
    let ports = json!({"ports": [{"port": 80}]});
    let mut addresses = BTreeSet::new();
    for i in 0..12 {
        let world = if i % 2 == 0 { &one } else { &two };
        let made = world.post(SERVICES, named(&format!("s{i}"), ports.clone())).await;
        assert_eq!(made.status, 201, "{}", made.said());
        addresses.insert(made.json()["spec"]["clusterIP"].as_str().unwrap().to_owned());
    }
    assert_eq!(addresses.len(), 12);
}

#[tokio::test]
async fn numbers_survive_a_restart_and_what_a_service_lacks_is_claimed_again() {
    let store = Arc::new(MemoryStore::new());
    let ports = json!({"clusterIP": "10.9.0.5", "ports": [{"port": 80}]});
    over(&store, "10.9.0.0/28", None).await.post(SERVICES, named("a", ports.clone())).await;
    let claim = "/registry/serviceclaims/ip/10.9.0.5".to_owned();
    let lost = store::Write { key: claim, expect: store::Expect::Anything, change: store::Change::Delete };
    store::Store::write(&*store, lost).await.unwrap();
    let again = over(&store, "10.9.0.0/28", None).await;
    let said = again.post(SERVICES, named("b", ports)).await.said();
    assert!(said.contains("provided IP is already allocated"), "{said}");
}

#[tokio::test]
async fn the_servers_own_service_leads_to_every_server() {
    let store = Arc::new(MemoryStore::new());
    let one = over(&store, "10.9.0.0/28", Some("192.0.2.1:6443")).await;
    let _two = over(&store, "10.9.0.0/28", Some("192.0.2.2:6443")).await;
    let service = one.get(&format!("{SERVICES}/kubernetes")).await.json();
    assert_eq!(service["spec"]["clusterIP"], "10.9.0.1");
    assert_eq!(
        service["spec"]["ports"],
        json!([{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}])
    );
    assert_eq!(service["metadata"]["labels"], json!({"component": "apiserver", "provider": "kubernetes"}));
    let both = async {
        loop {
            let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
            let slice = one.get(slices).await.json();
            let found: BTreeSet<String> = slice["endpoints"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|endpoint| endpoint["addresses"][0].as_str().unwrap().to_owned())
                .collect();
            if found == BTreeSet::from(["192.0.2.1".to_owned(), "192.0.2.2".to_owned()]) {
                assert_eq!(slice["metadata"]["labels"], json!({"kubernetes.io/service-name": "kubernetes"}));
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, both).await.unwrap();
    let endpoints = async {
        loop {
            let endpoints = one.get("/api/v1/namespaces/default/endpoints/kubernetes").await.json();
            if endpoints["subsets"][0]["addresses"].as_array().map(Vec::len) == Some(2) {
                assert_eq!(
                    endpoints["subsets"][0]["ports"],
                    json!([{"name": "https", "port": 6443, "protocol": "TCP"}])
                );
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, endpoints).await.unwrap();
}

#[tokio::test]
async fn what_has_no_effect_is_told_in_warnings() {
    let world = World::new().await;
    let told = async |url: &str, body: Value| {
        let answer = world.post(url, body).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        answer.warnings()
    };
    let headless =
        json!({"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "sessionAffinity": "ClientIP"}});
    assert_eq!(
        told("/api/v1/namespaces/default/services", headless).await,
        ["299 - \"spec.SessionAffinity is ignored for headless services\""]
    );
    let endpoints = json!({"metadata": {"name": "e"}, "subsets": [{"addresses": [{"ip": "2001:db8:0::1"}]}]});
    assert_eq!(told("/api/v1/namespaces/default/endpoints", endpoints).await.len(), 1);
    let node = json!({"metadata": {"name": "n"}, "spec": {"externalID": "x"}});
    assert_eq!(
        told("/api/v1/nodes", node).await,
        ["299 - \"spec.externalID: this field is deprecated, and is unused by Kubernetes\""]
    );
    let class = json!({"metadata": {"name": "r"}, "handler": "h",
        "scheduling": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}});
    assert_eq!(told("/apis/node.k8s.io/v1/runtimeclasses", class).await.len(), 1);
}
