//! Nodes that fall silent, come back, or are deleted, by a clock that the tests move.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use process::Clock;
use process::clock::manual::ManualClock;
use serde_json::json;

use crate::world::World;

/// A heartbeat's period: whoever lives is heard of in each.
const TICK: Duration = Duration::from_secs(10);

/// Moves the clock until the node has renewed its lease a tick later.
async fn tick(world: &World, clock: &ManualClock, living: &str) {
    clock.advance(TICK);
    let wanted = clock.now();
    let leases: Api<Lease> = world.api("kube-node-lease");
    world
        .eventually("the living node is heard of", || async {
            let lease = leases.get(living).await.expect("get");
            let renewed = lease.spec.and_then(|spec| spec.renew_time).map(|time| time.0);
            // Its keeper may have gone to sleep after the clock had moved.
            clock.advance(Duration::from_millis(100));
            (renewed >= Some(wanted)).then_some(()).ok_or(format!("{renewed:?}"))
        })
        .await;
}

fn ready(node: &Node) -> &str {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.find(|condition| condition.type_ == "Ready").map_or("", |condition| condition.status.as_str())
}

fn taints(node: &Node) -> Vec<String> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let mut taints: Vec<_> = taints.map(|taint| format!("{}:{}", taint.key, taint.effect)).collect();
    taints.sort();
    taints
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_given_up_and_taken_back_when_it_speaks() {
    let clock = ManualClock::at_new_year();
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let world = World::without_nodes(Arc::clone(&shared)).await;
    let living = world.nodes("living", 1, Arc::clone(&shared));
    let silent = world.nodes("silent", 1, process::SystemClock::shared());
    world.schedulable(2).await;
    world.create_daemon_set("default", "agent").await;
    let pods: Api<Pod> = world.api("default");
    // A Pod that may stay for five minutes by default, as every Pod that is no daemon.
    let plain = json!({"metadata": {"name": "plain"}, "spec": {"nodeName": "silent-00000", "containers": [
        {"name": "c", "image": "i"}]}});
    let plain = serde_json::from_value(plain).expect("Pod");
    world
        .eventually("the Pod is let in", || async {
            pods.create(&PostParams::default(), &plain).await.map_err(|error| error.to_string())
        })
        .await;
    let on_silent = |pods: &[Pod]| {
        let there = pods.iter().filter(|pod| api::pod::node_name(pod) == Some("silent-00000"));
        there
            .map(|pod| (pod.metadata.name.clone().unwrap_or_default(), api::pod::is_ready(pod)))
            .collect::<Vec<_>>()
    };
    world
        .eventually("both Pods run there", || async {
            clock.advance(Duration::from_millis(50));
            let there = on_silent(&world.pods("default").await);
            (there.len() == 2 && there.iter().all(|(_, ready)| *ready))
                .then_some(())
                .ok_or(format!("{there:?}"))
        })
        .await;

    silent.switch_off().await;
    let nodes: Api<Node> = Api::all(world.client.clone());
    for _ in 0..2 {
        tick(&world, &clock, "living-00000").await;
    }
    assert_eq!(ready(&nodes.get("silent-00000").await.expect("get")), "True", "this is within the grace");
    for _ in 0..3 {
        tick(&world, &clock, "living-00000").await;
    }
    world
        .eventually("the node is given up", || async {
            clock.advance(Duration::from_millis(100));
            let node = nodes.get("silent-00000").await.expect("get");
            let expected =
                ["node.kubernetes.io/unreachable:NoExecute", "node.kubernetes.io/unreachable:NoSchedule"];
            let seen = (ready(&node).to_owned(), taints(&node));
            (seen.0 == "Unknown" && seen.1 == expected).then_some(()).ok_or(format!("{seen:?}"))
        })
        .await;
    world
        .eventually("its Pods are not ready, and none has left", || async {
            clock.advance(Duration::from_millis(100));
            let there = on_silent(&world.pods("default").await);
            (there.len() == 2 && there.iter().all(|(_, ready)| !ready))
                .then_some(())
                .ok_or(format!("{there:?}"))
        })
        .await;
    assert_eq!(taints(&nodes.get("living-00000").await.expect("get")), Vec::<String>::new());

    for _ in 0..31 {
        tick(&world, &clock, "living-00000").await;
    }
    world
        .eventually("the plain Pod is told to go, and the daemon stays", || async {
            clock.advance(Duration::from_millis(100));
            let pods = world.pods("default").await;
            let going: Vec<_> = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some()).collect();
            let names: Vec<_> = going.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
            (names == ["plain"]).then_some(()).ok_or(format!("{names:?}"))
        })
        .await;

    let back = world.nodes("silent", 1, Arc::clone(&shared));
    world
        .eventually("the node is taken back", || async {
            clock.advance(Duration::from_millis(100));
            let node = nodes.get("silent-00000").await.expect("get");
            let seen = (ready(&node).to_owned(), taints(&node));
            (seen.0 == "True" && seen.1.is_empty()).then_some(()).ok_or(format!("{seen:?}"))
        })
        .await;
    drop((living, back));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_of_a_node_that_is_deleted_are_removed_after_the_quarantine() {
    let clock = ManualClock::at_new_year();
    let world = World::without_nodes(Arc::new(clock.clone())).await;
    let nodes = world.nodes("doomed", 1, process::SystemClock::shared());
    world.schedulable(1).await;
    let pods: Api<Pod> = world.api("default");
    let plain = json!({"metadata": {"name": "plain"}, "spec": {"nodeName": "doomed-00000", "containers": [
        {"name": "c", "image": "i"}]}});
    let plain = serde_json::from_value(plain).expect("Pod");
    world
        .eventually("the Pod is let in", || async {
            pods.create(&PostParams::default(), &plain).await.map_err(|error| error.to_string())
        })
        .await;
    nodes.switch_off().await;
    let nodes: Api<Node> = Api::all(world.client.clone());
    nodes.delete("doomed-00000", &DeleteParams::default()).await.expect("delete");
    world
        .eventually("the Pod is removed", || async {
            clock.advance(Duration::from_secs(5));
            let pod = pods.get_opt("plain").await.expect("get");
            pod.map_or(Ok(()), |pod| Err(format!("{:?}", pod.status)))
        })
        .await;
    world.end().await;
}
