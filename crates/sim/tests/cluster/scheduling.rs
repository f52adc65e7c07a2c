//! Claims about the scheduler in a whole cluster.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::World;

async fn make<K>(api: &Api<K>, object: Value)
where
    K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    let object: K = serde_json::from_value(object).expect("an object of its kind");
    api.create(&PostParams::default(), &object).await.expect("create");
}

fn pod(name: &str, more: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name, "labels": {"name": name}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    for (field, value) in more.as_object().expect("fields") {
        pod["spec"][field] = value.clone();
    }
    pod
}

async fn running(world: &World, name: &str) -> Pod {
    let pods = world.api::<Pod>("default");
    world
        .eventually(&format!("{name} runs"), || async {
            let pod = pods.get(name).await.map_err(|error| error.to_string())?;
            if api::pod::is_ready(&pod) { Ok(pod) } else { Err(format!("{:?}", pod.status)) }
        })
        .await
}

/// Messages of the events about a Pod, by reason.
async fn told(world: &World, name: &str, reason: &str) -> Vec<String> {
    let about = ListParams::default().fields(&format!("involvedObject.name={name},reason={reason}"));
    let events = world.api::<Event>("default").list(&about).await.expect("list").items;
    events.into_iter().filter_map(|event| event.message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_more_important_pod_takes_the_place_that_no_budget_keeps_and_its_victim_is_told() {
    let world = World::start(1).await;
    let classes: Api<PriorityClass> = Api::all(world.client.clone());
    make(&classes, json!({"metadata": {"name": "high"}, "value": 1000})).await;
    let seat = json!({"containers": [{"name": "c", "image": "i", "resources": {"limits": {"example.com/seat": "1"}}}]});
    let nodes: Api<Node> = Api::all(world.client.clone());
    let seats =
        json!({"status": {"allocatable": {"example.com/seat": "2"}, "capacity": {"example.com/seat": "2"}}});
    nodes.patch_status("hollow-00000", &PatchParams::default(), &Patch::Merge(seats)).await.expect("seats");
    let pods = world.api::<Pod>("default");
    world
        .eventually("a Pod is let in", || async {
            let kept = serde_json::from_value(pod("kept", seat.clone())).expect("Pod");
            pods.create(&PostParams::default(), &kept).await.map_err(|error| error.to_string())
        })
        .await;
    make(&pods, pod("free", seat.clone())).await;
    running(&world, "kept").await;
    let free = running(&world, "free").await;
    let budgets = world.api::<PodDisruptionBudget>("default");
    make(&budgets, json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"name": "kept"}}}}))
        .await;
    world
        .eventually("the budget is counted", || async {
            let status = budgets.get("b").await.expect("get").status.unwrap_or_default();
            (status.current_healthy == 1).then_some(()).ok_or(format!("{status:?}"))
        })
        .await;

    let mut strong = seat.clone();
    strong["priorityClassName"] = json!("high");
    make(&pods, pod("strong", strong.clone())).await;
    let strong = running(&world, "strong").await;
    running(&world, "kept").await;
    assert!(pods.get_opt("free").await.expect("get").is_none_or(|now| now.metadata.uid != free.metadata.uid));
    let uid = strong.metadata.uid.clone().unwrap_or_default();
    let expected = format!("Preempted by pod {uid} on node hollow-00000");
    world
        .eventually("the victim is told", || async {
            let told = told(&world, "free", "Preempted").await;
            (told == [expected.clone()]).then_some(()).ok_or(format!("{told:?}"))
        })
        .await;
    let why = told(&world, "strong", "FailedScheduling").await;
    let expected = "0/1 nodes are available: 1 Insufficient example.com/seat.";
    assert!(why.iter().any(|text| text == expected), "{why:?}");
    let nominated = strong.status.and_then(|status| status.nominated_node_name);
    assert_eq!(nominated.as_deref(), Some("hollow-00000"));

    // Whoever preempts nobody says so, and nobody leaves.
    let mut patient = seat.clone();

    make(&classes, json!({"metadata": {"name": "patient"}, "value": 2000, "preemptionPolicy": "Never"}))
        .await;
    patient["priorityClassName"] = json!("patient");
    make(&pods, pod("patient", patient)).await;
    let expected = "0/1 nodes are available: 1 Insufficient example.com/seat. \
        preemption: not eligible due to preemptionPolicy=Never.";
    world
        .eventually("the patient one waits", || async {
            let told = told(&world, "patient", "FailedScheduling").await;
            (told == [expected]).then_some(()).ok_or(format!("{told:?}"))
        })
        .await;
    running(&world, "strong").await;
    world.end().await;
}

/// The handbook's annotation, as it is printed there.
fn handbook_affinity() -> Value {
    let among = |value: &str, key: &str| {
        json!([{"labelSelector": {"matchExpressions": [
            {"key": "security", "operator": "In", "values": [value]}]}, "topologyKey": key}])
    };
    json!({
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            among("S1", "failure-domain.beta.kubernetes.io/zone")},
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": among("S2", "kubernetes.io/hostname")}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_set_of_the_handbook_runs_in_the_zone_of_its_friends_and_off_the_hosts_of_its_foes() {
    let world = World::start(4).await;
    let nodes: Api<Node> = Api::all(world.client.clone());
    for (node, zone) in [("hollow-00000", "z1"), ("hollow-00001", "z1"), ("hollow-00002", "z2")] {
        let label = json!({"metadata": {"labels": {"failure-domain.beta.kubernetes.io/zone": zone}}});
        nodes.patch(node, &PatchParams::default(), &Patch::Merge(label)).await.expect("label");
    }
    let pods = world.api::<Pod>("default");
    let on = |name: &str, security: &str| {
        let mut there = pod(name, json!({"nodeName": "hollow-00000"}));
        there["metadata"]["labels"] = json!({"security": security});
        there
    };
    world
        .eventually("a Pod is let in", || async {
            let foe = serde_json::from_value(on("foe", "S2")).expect("Pod");
            pods.create(&PostParams::default(), &foe).await.map_err(|error| error.to_string())
        })
        .await;
    let annotation = handbook_affinity().to_string();
    let set = json!({"metadata": {"name": "with-pod-affinity"}, "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": {
        "metadata": {"labels": {"app": "d"}, "annotations": {"scheduler.alpha.kubernetes.io/affinity": annotation}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    make(&world.api::<DaemonSet>("default"), set).await;
    let placed = || async {
        let list = pods.list(&ListParams::default().labels("app=d")).await.expect("list").items;
        let nodes: BTreeSet<String> =
            list.iter().filter_map(|pod| api::pod::node_name(pod).map(str::to_owned)).collect();
        let waiting: BTreeSet<String> = list
            .iter()
            .filter(|pod| api::pod::node_name(pod).is_none())
            .filter_map(|pod| api::pod::condition(pod, "PodScheduled")?.message.clone())
            .collect();
        (nodes, waiting, list.len())
    };
    let none = "0/4 nodes are available: 1 node(s) didn't match pod affinity rules. \
        preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling.";
    world
        .eventually("every node's Pod waits for a friend", || async {
            let (nodes, waiting, all) = placed().await;
            let expected = nodes.is_empty() && all == 4 && waiting == BTreeSet::from([none.to_owned()]);
            expected.then_some(()).ok_or(format!("{nodes:?} {waiting:?} {all}"))
        })
        .await;
    make(&pods, on("friend", "S1")).await;
    let foe = "0/4 nodes are available: 1 node(s) didn't match pod anti-affinity rules. preemption: 0/4 nodes are \
        available: 1 No preemption victims found for incoming pod, 3 Preemption is not helpful for scheduling.";
    world
        .eventually("the friend's zone has its Pod, but not the foe's host", || async {
            let (nodes, waiting, _) = placed().await;
            let expected = nodes == BTreeSet::from(["hollow-00001".to_owned()])
                && waiting == BTreeSet::from([none.to_owned(), foe.to_owned()]);
            expected.then_some(()).ok_or(format!("{nodes:?} {waiting:?}"))
        })
        .await;
    pods.delete("foe", &kube::api::DeleteParams::default().grace_period(0)).await.expect("delete");
    world
        .eventually("the foe gone, its host has its Pod too", || async {
            let (nodes, _, _) = placed().await;
            let expected = BTreeSet::from(["hollow-00000".to_owned(), "hollow-00001".to_owned()]);
            (nodes == expected).then_some(()).ok_or(format!("{nodes:?}"))
        })
        .await;
    world.end().await;
}
