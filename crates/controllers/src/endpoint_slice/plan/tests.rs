//! What is made, written and removed, as the slices of a Service grow and shrink.

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::*;

fn service(more: Value) -> Service {
    let mut spec = json!({"clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"],
        "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let service = json!({"metadata": {"namespace": "ns", "name": "web", "uid": "s", "labels": {"app": "a"}}, "spec": spec});
    serde_json::from_value(service).unwrap()
}

fn pod(number: usize, ready: &str, more: Value) -> (String, Member) {
    let name = format!("p{number:03}");
    let mut pod = json!({"metadata": {"namespace": "ns", "name": name, "uid": name},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": format!("10.1.{}.{}", number / 200, number % 200),
            "conditions": [{"type": "Ready", "status": ready}]}});
    for (field, value) in more.as_object().unwrap() {
        pod[field].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    }
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let node = json!({"metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z"}}});
    let node: Node = serde_json::from_value(node).unwrap();
    (name, Member::of(&pod, |_| Some(Arc::new(node))).unwrap())
}

fn pods(numbers: std::ops::Range<usize>) -> Vec<(String, Member)> {
    numbers.map(|number| pod(number, "True", json!({}))).collect()
}

/// The slices after a plan, with the names that the server would give.
fn after(existing: Vec<Arc<EndpointSlice>>, plan: Plan) -> Vec<Arc<EndpointSlice>> {
    let mut slices: BTreeMap<String, Arc<EndpointSlice>> =
        existing.into_iter().map(|slice| (slice.name().to_owned(), slice)).collect();
    for gone in plan.delete {
        slices.remove(gone.name());
    }
    for slice in plan.update {
        slices.insert(slice.name().to_owned(), Arc::new(slice));
    }
    for mut slice in plan.create {
        let name = (0..).map(|i| format!("web-{i}")).find(|name| !slices.contains_key(name)).unwrap();
        slice.metadata.name = Some(name.clone());
        slices.insert(name, Arc::new(slice));
    }
    slices.into_values().collect()
}

fn sizes(slices: &[Arc<EndpointSlice>]) -> Vec<usize> {
    slices.iter().map(|slice| slice.endpoints.len()).collect()
}

#[test]
fn an_endpoint_says_where_it_is_and_whether_it_serves() {
    let made = plan(&service(json!({})), &[pod(1, "True", json!({}))], &[]).create.remove(0);
    assert_eq!(
        serde_json::to_value(&made).unwrap(),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"generateName": "web-", "namespace": "ns",
                "labels": {"app": "a", "kubernetes.io/service-name": "web",
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "s",
                    "controller": true, "blockOwnerDeletion": true}]},
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["10.1.0.1"], "nodeName": "n", "zone": "z",
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "namespace": "ns", "name": "p001", "uid": "p001"}}]})
    );
}

#[test]
fn a_terminating_pod_serves_but_is_not_ready_unless_all_are_published() {
    let ending = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let pods = [pod(1, "True", ending), pod(2, "False", json!({}))];
    let conditions = |service: &Service| -> Vec<Value> {
        let made = plan(service, &pods, &[]).create.remove(0);
        made.endpoints.iter().map(|e| serde_json::to_value(&e.conditions).unwrap()).collect()
    };
    let is = |ready: bool, serving: bool, terminating: bool| json!({"ready": ready, "serving": serving, "terminating": terminating});
    assert_eq!(conditions(&service(json!({}))), [is(false, true, true), is(false, false, false)]);
    let all = service(json!({"publishNotReadyAddresses": true}));
    assert_eq!(conditions(&all), [is(true, true, true), is(true, false, false)]);
}

#[test]
fn nothing_to_say_is_said_by_one_empty_slice() {
    let web = service(json!({"clusterIP": "None"}));
    let first = plan(&web, &[], &[]);
    assert_eq!((first.create.len(), first.create[0].endpoints.len()), (1, 0));
    assert_eq!(first.create[0].metadata.labels.as_ref().unwrap()["service.kubernetes.io/headless"], "");
    let slices = after(Vec::new(), first);
    assert_eq!(plan(&web, &[], &slices), Plan::default());
    let filled = plan(&web, &pods(0..1), &slices);
    assert_eq!((filled.create.len(), filled.delete.len()), (1, 1), "other ports, another slice");
    let slices = after(slices, filled);
    let emptied = after(slices.clone(), plan(&web, &[], &slices));
    assert_eq!(sizes(&emptied), [0]);
}

#[test]
fn a_change_writes_only_the_slice_that_it_touches() {
    let web = service(json!({}));
    let all = pods(0..250);
    let slices = after(Vec::new(), plan(&web, &all, &[]));
    assert_eq!(sizes(&slices), [100, 100, 50]);
    assert_eq!(plan(&web, &all, &slices), Plan::default());

    let mut sick = all.clone();
    sick[120] = pod(120, "False", json!({}));
    let one = plan(&web, &sick, &slices);
    assert_eq!((one.create.len(), one.update.len(), one.delete.len()), (0, 1, 0));
    assert_eq!(one.update[0].metadata.name.as_deref(), Some("web-1"));

    // Ten go from one slice, twenty come: the changed one is filled up, the rest goes where it fits.
    let mut moved: Vec<_> =
        all.iter().filter(|(name, _)| !("p010".."p020").contains(&name.as_str())).cloned().collect();
    moved.extend(pods(300..320));
    let two = plan(&web, &moved, &slices);
    assert_eq!((two.create.len(), two.update.len(), two.delete.len()), (0, 2, 0));
    assert_eq!(sizes(&after(slices.clone(), two)), [100, 100, 60]);

    let few = plan(&web, &pods(0..100), &slices);
    assert_eq!((few.update.len(), few.delete.len()), (0, 2));
}

#[test]
fn pods_with_other_numbers_behind_a_named_port_have_slices_of_their_own() {
    let other =
        json!({"spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 9090}]}]}});
    let made = plan(&service(json!({})), &[pod(1, "True", json!({})), pod(2, "True", other)], &[]).create;
    let numbers: Vec<Option<i32>> = made.iter().map(|slice| slice.ports.as_ref().unwrap()[0].port).collect();
    assert_eq!(numbers, [Some(8080), Some(9090)]);
}

#[test]
fn a_service_that_is_relabelled_relabels_its_slices() {
    let slices = after(Vec::new(), plan(&service(json!({})), &pods(0..1), &[]));
    let mut renamed = service(json!({}));
    renamed.metadata.labels = Some([("app".to_owned(), "b".to_owned())].into());
    let update = plan(&renamed, &pods(0..1), &slices).update;
    assert_eq!(update[0].metadata.labels.as_ref().unwrap()["app"], "b");
}

#[test]
fn both_families_have_slices_where_a_service_has_both() {
    let both = service(json!({"ipFamilies": ["IPv4", "IPv6"]}));
    let dual = json!({"status": {"podIPs": [{"ip": "10.1.0.1"}, {"ip": "fd00::1"}]}});
    let made = plan(&both, &[pod(1, "True", dual)], &[]).create;
    let shown: Vec<(&str, &str)> = made
        .iter()
        .map(|slice| (slice.address_type.as_str(), slice.endpoints[0].addresses[0].as_str()))
        .collect();
    assert_eq!(shown, [("IPv4", "10.1.0.1"), ("IPv6", "fd00::1")]);
    let slices = after(Vec::new(), plan(&both, &pods(0..1), &[]));
    assert_eq!(plan(&service(json!({})), &pods(0..1), &slices).delete.len(), 1, "a family that went");
}
