//! DaemonSets, namespaces and Pods on nodes that are well.

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_set_runs_on_every_node_and_its_deletion_takes_everything_with_it() {
    let world = World::start(12).await;
    world.create_daemon_set("default", "agent").await;
    world.all_ready("default", "agent", 12).await;
    let mut nodes: Vec<_> =
        world.pods("default").await.into_iter().filter_map(|pod| pod.spec?.node_name).collect();
    nodes.sort();
    assert_eq!(nodes, (0..12).map(|i| format!("hollow-{i:05}")).collect::<Vec<_>>());

    let events = world.api::<Event>("default");
    world
        .eventually("each assignment is told", || async {
            let events = events.list(&ListParams::default()).await.expect("list").items;
            let told = events.iter().filter(|event| event.reason.as_deref() == Some("Scheduled")).count();
            (told == 12).then_some(()).ok_or(format!("{told} Scheduled events"))
        })
        .await;

    let sets = world.api::<DaemonSet>("default");
    sets.delete("agent", &DeleteParams::background()).await.expect("delete");
    let revisions = world.api::<ControllerRevision>("default");
    world
        .eventually("Pods and revisions are collected", || async {
            let pods = world.pods("default").await.len();
            let revisions = revisions.list(&ListParams::default()).await.expect("list").items.len();
            (pods + revisions == 0).then_some(()).ok_or(format!("{pods} pods, {revisions} revisions"))
        })
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreground_deletion_waits_for_the_pods_and_an_orphaning_one_leaves_them() {
    let world = World::start(3).await;
    let sets = world.api::<DaemonSet>("default");
    world.create_daemon_set("default", "first").await;
    world.all_ready("default", "first", 3).await;
    sets.delete("first", &DeleteParams::foreground()).await.expect("delete");
    world
        .eventually("the set goes after its Pods", || async {
            // The Pods first: were the set read first, Pods might go in between.
            let pods = world.pods("default").await.len();
            let there = sets.get_opt("first").await.expect("get").is_some();
            assert!(there || pods == 0, "the set is gone before its {pods} pods");
            (!there).then_some(()).ok_or(format!("{pods} pods"))
        })
        .await;

    world.create_daemon_set("default", "second").await;
    world.all_ready("default", "second", 3).await;
    sets.delete("second", &DeleteParams::orphan()).await.expect("delete");
    world
        .eventually("the set goes", || async {
            let there = sets.get_opt("second").await.expect("get").is_some();
            (!there).then_some(()).ok_or("still there".to_owned())
        })
        .await;
    let pods = world.pods("default").await;
    assert_eq!(pods.len(), 3);
    for pod in pods {
        assert_eq!(pod.metadata.owner_references.unwrap_or_default(), []);
        assert!(pod.metadata.deletion_timestamp.is_none());
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_namespace_gets_its_account_and_certificate_and_a_deleted_one_is_emptied() {
    let world = World::start(2).await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "team"}})).expect("Namespace");
    namespaces.create(&PostParams::default(), &namespace).await.expect("create");
    let accounts = world.api::<ServiceAccount>("team");
    let maps = world.api::<ConfigMap>("team");
    world
        .eventually("account and certificate are there", || async {
            let account = accounts.get_opt("default").await.expect("get").is_some();
            let map = maps.get_opt("kube-root-ca.crt").await.expect("get");
            let pem = map.and_then(|map| map.data?.remove("ca.crt"));
            (account && pem.as_deref() == Some("PEM")).then_some(()).ok_or(format!("{account} {pem:?}"))
        })
        .await;
    world.create_daemon_set("team", "agent").await;
    world.all_ready("team", "agent", 2).await;
    namespaces.delete("team", &DeleteParams::default()).await.expect("delete");
    world
        .eventually("the namespace goes", || async {
            let left = namespaces.get_opt("team").await.expect("get");
            left.map_or(Ok(()), |left| Err(format!("{:?}", left.status)))
        })
        .await;
    assert!(world.pods("team").await.is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fits_nowhere_says_why_and_runs_when_it_does() {
    let world = World::start(2).await;
    let pod: Value = json!({"metadata": {"name": "plain"}, "spec": {
        "nodeSelector": {"disk": "fast"}, "containers": [{"name": "c", "image": "i"}]}});
    let pods = world.api::<Pod>("default");
    let pod = serde_json::from_value(pod).expect("Pod");
    world
        .eventually("the Pod is let in", || async {
            pods.create(&PostParams::default(), &pod).await.map_err(|error| error.to_string())
        })
        .await;
    let expected = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. \
        preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.";
    world
        .eventually("the Pod says why not", || async {
            let pod = pods.get("plain").await.expect("get");
            let condition = api::pod::condition(&pod, "PodScheduled").cloned();
            let message = condition.and_then(|condition| condition.message);
            (message.as_deref() == Some(expected)).then_some(()).ok_or(format!("{:?}", pod.status))
        })
        .await;
    let nodes: Api<Node> = Api::all(world.client.clone());
    let label = Patch::Merge(json!({"metadata": {"labels": {"disk": "fast"}}}));
    nodes.patch("hollow-00001", &PatchParams::default(), &label).await.expect("label");
    world
        .eventually("the Pod runs", || async {
            let pod = pods.get("plain").await.expect("get");
            api::pod::is_ready(&pod).then_some(()).ok_or(format!("{:?}", pod.status))
        })
        .await;
    assert_eq!(api::pod::node_name(&pods.get("plain").await.expect("get")), Some("hollow-00001"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_agents_on_the_fake_runtime_run_a_daemon_set_and_stop_it() {
    let world = World::without_nodes(process::SystemClock::shared()).await;
    let folder = tempfile::tempdir().expect("folder");
    let _nodes = world.agents("real", 3, folder.path());
    world.schedulable(3).await;
    world.create_daemon_set("default", "agent").await;
    world.all_ready("default", "agent", 3).await;
    for pod in world.pods("default").await {
        let statuses = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
        assert!(statuses.iter().all(|status| status.ready), "{statuses:?}");
    }
    let sets = world.api::<DaemonSet>("default");
    sets.delete("agent", &DeleteParams::foreground()).await.expect("delete");
    world
        .eventually("the set goes after its Pods", || async {
            let there = sets.get_opt("agent").await.expect("get").is_some();
            (!there).then_some(()).ok_or(format!("{} pods", world.pods("default").await.len()))
        })
        .await;
    world.end().await;
}
