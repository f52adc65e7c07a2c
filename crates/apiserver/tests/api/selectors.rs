//! Field selectors: what each kind can be selected by, and in which words it refuses others.

use serde_json::{Value, json};

use crate::world::World;

const PODS: &str = "/api/v1/namespaces/default/pods";
const CORE_EVENTS: &str = "/api/v1/namespaces/default/events";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

/// The names of what a selector finds, or the refusal.
async fn found(world: &World, url: &str, selector: &str) -> String {
    let selector: String = form_urlencoded::byte_serialize(selector.as_bytes()).collect();
    let answer = world.get(&format!("{url}?fieldSelector={selector}")).await;
    if answer.status != 200 {
        return answer.said();
    }
    let list = answer.json();
    let names =
        list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap());
    names.collect::<Vec<_>>().join(" ")
}

fn pod(name: &str, spec: Value) -> Value {
    let mut pod =
        json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    pod
}

async fn filled() -> World {
    let world = World::new().await;
    let special =
        json!({"nodeName": "n", "restartPolicy": "Never", "schedulerName": "mine", "hostNetwork": true});
    world.post(PODS, pod("a", special)).await;
    world.post(PODS, pod("b", json!({"nodeName": "other"}))).await;
    let status = json!({"status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
        "nominatedNodeName": "m"}});
    assert_eq!(world.merge(&format!("{PODS}/a/status"), status).await.status, 200);
    world.post("/api/v1/nodes", json!({"metadata": {"name": "open"}})).await;
    world.post("/api/v1/nodes", json!({"metadata": {"name": "shut"}, "spec": {"unschedulable": true}})).await;
    world.post("/api/v1/namespaces", json!({"metadata": {"name": "ending"}})).await;
    world.delete("/api/v1/namespaces/ending").await;
    let secrets = "/api/v1/namespaces/default/secrets";
    world.post(secrets, json!({"metadata": {"name": "plain"}})).await;
    world.post(secrets, json!({"metadata": {"name": "release"}, "type": "helm.sh/release.v1"})).await;
    for (name, component, reporter, about) in [("old", "kubelet", "", "p"), ("new", "", "scheduler", "q")] {
        let event = json!({"metadata": {"name": name}, "reason": format!("Reason{name}"), "type": "Normal",
            "source": {"component": component}, "reportingComponent": reporter,
            "involvedObject": {"kind": "Pod", "apiVersion": "v1", "name": about, "namespace": "default",
                "uid": format!("u-{about}"), "resourceVersion": "7", "fieldPath": format!("spec.{about}")}});
        let made = world.post(CORE_EVENTS, event).await;
        assert_eq!(made.status, 201, "{}", made.said());
    }
    world
}

#[tokio::test]
async fn every_field_of_a_kind_selects_and_others_are_refused_in_its_words() {
    let world = filled().await;
    let sets = "/apis/apps/v1/daemonsets";
    for (url, selector, expect) in [
        (PODS, "metadata.name=a", "a"),
        (PODS, "metadata.name!=a,metadata.namespace=default", "b"),
        (PODS, "spec.nodeName=n", "a"),
        (PODS, "spec.restartPolicy=Never", "a"),
        (PODS, "spec.schedulerName==mine", "a"),
        (PODS, "spec.serviceAccountName=default", "a b"),
        (PODS, "spec.hostNetwork=true", "a"),
        (PODS, "spec.hostNetwork=false", "b"),
        (PODS, "status.phase!=Running", "b"),
        (PODS, "status.podIP=10.0.0.1", "a"),
        (PODS, "status.podIPs=10.0.0.1", "a"),
        (PODS, "status.nominatedNodeName=m", "a"),
        (PODS, "status.nominatedNodeName=", "b"),
        (PODS, "spec.colour=red", "400 BadRequest: field label not supported: spec.colour"),
        ("/api/v1/nodes", "spec.unschedulable=true", "shut"),
        ("/api/v1/nodes", "spec.unschedulable=false,metadata.name!=x", "open"),
        (
            "/api/v1/nodes",
            "metadata.namespace=x",
            "400 BadRequest: field label not supported: metadata.namespace",
        ),
        ("/api/v1/namespaces", "status.phase=Terminating", "ending"),
        ("/api/v1/namespaces", "metadata.name=ending", "ending"),
        ("/api/v1/namespaces", "name=ending", "400 BadRequest: field label not supported: name"),
        ("/api/v1/namespaces/default/secrets", "type=helm.sh/release.v1", "release"),
        ("/api/v1/secrets", "data=x", "400 BadRequest: field label not supported: data"),
        (
            sets,
            "status.numberReady=1",
            "400 BadRequest: \"status.numberReady\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (sets, "metadata.namespace=default", ""),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", "metadata.namespace=,metadata.name=view", "view"),
    ] {
        assert_eq!(found(&world, url, selector).await, expect, "{url} {selector}");
    }
}

#[tokio::test]
async fn events_are_selected_in_the_words_of_their_group() {
    let world = filled().await;
    for (core, new, value) in [
        ("involvedObject.kind", "regarding.kind", "Pod"),
        ("involvedObject.namespace", "regarding.namespace", "default"),
        ("involvedObject.name", "regarding.name", "q"),
        ("involvedObject.uid", "regarding.uid", "u-q"),
        ("involvedObject.apiVersion", "regarding.apiVersion", "v1"),
        ("involvedObject.resourceVersion", "regarding.resourceVersion", "7"),
        ("involvedObject.fieldPath", "regarding.fieldPath", "spec.q"),
        ("reportingComponent", "reportingController", "scheduler"),
    ] {
        let expect = if matches!(value, "Pod" | "default" | "v1" | "7") { "new old" } else { "new" };
        assert_eq!(found(&world, CORE_EVENTS, &format!("{core}={value}")).await, expect, "{core}");
        assert_eq!(found(&world, EVENTS, &format!("{new}={value}")).await, expect, "{new}");
        for (url, foreign) in [(CORE_EVENTS, new), (EVENTS, core)] {
            let refusal = format!("400 BadRequest: field label not supported: {foreign}");
            assert_eq!(found(&world, url, &format!("{foreign}={value}")).await, refusal);
        }
    }
    for url in [CORE_EVENTS, EVENTS] {
        assert_eq!(found(&world, url, "reason=Reasonold").await, "old");
        assert_eq!(found(&world, url, "type=Normal").await, "new old");
        assert_eq!(found(&world, url, "source=kubelet").await, "old");
        assert_eq!(
            found(&world, url, "source=scheduler").await,
            "new",
            "the reporter stands in for the source"
        );
    }
}
