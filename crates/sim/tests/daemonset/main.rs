//! The DaemonSet controller against the real API server over the in-memory store, in one process.
//!
//! A small stand-in for nodes makes Pods ready and lets deleted ones go; all the rest is the product's own code.

mod cluster;

use std::sync::atomic::Ordering;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use cluster::{Cluster, Creates};

fn names(pods: &[Pod]) -> Vec<String> {
    pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect()
}

#[tokio::test]
async fn a_pod_on_every_node_and_a_true_status() {
    let cluster = Cluster::start(3).await;
    cluster.create(json!({})).await;
    let status = cluster.status_when("all available", |s| s.number_available == Some(3)).await;
    assert_eq!((status.desired_number_scheduled, status.current_number_scheduled), (3, 3));
    assert_eq!((status.updated_number_scheduled, status.observed_generation), (Some(3), Some(1)));
    assert_eq!(status.number_unavailable, None, "left out when zero");
    let revisions = cluster.revisions().await;
    assert_eq!(revisions.len(), 1);
    let hash = revisions[0].metadata.labels.as_ref().unwrap()["controller-revision-hash"].clone();
    for pod in cluster.pods().await {
        assert_eq!(pod.metadata.labels.as_ref().unwrap()["controller-revision-hash"], hash);
        assert!(pod.metadata.name.unwrap().starts_with("foo-"));
    }
    cluster.event_when("SuccessfulCreate", "Created pod: foo-").await;
}

#[tokio::test]
async fn a_new_image_rolls_and_going_back_makes_no_new_revision() {
    let cluster = Cluster::start(3).await;
    cluster.create(json!({})).await;
    cluster.status_when("all available", |s| s.number_available == Some(3)).await;
    cluster.image("image:2").await;
    cluster
        .status_when("rolled", |s| {
            s.observed_generation == Some(2)
                && s.updated_number_scheduled == Some(3)
                && s.number_available == Some(3)
        })
        .await;
    assert_eq!(cluster.revisions().await.len(), 2);
    cluster.image("image:1").await;
    cluster
        .status_when("rolled back", |s| {
            s.observed_generation == Some(3)
                && s.updated_number_scheduled == Some(3)
                && s.number_available == Some(3)
        })
        .await;
    let numbers: Vec<i64> =
        cluster.revisions().await.iter().map(|r: &ControllerRevision| r.revision).collect();
    assert!(numbers.len() == 2 && numbers.contains(&2) && numbers.contains(&3), "{numbers:?}");
}

#[tokio::test]
async fn a_deleted_pod_comes_back_under_another_name_and_a_failed_one_is_replaced() {
    let cluster = Cluster::start(1).await;
    cluster.create(json!({})).await;
    cluster.status_when("available", |s| s.number_available == Some(1)).await;
    let first = names(&cluster.pods().await);
    Api::<Pod>::default_namespaced(cluster.client.clone())
        .delete(&first[0], &DeleteParams::default())
        .await
        .unwrap();
    let second = cluster.pods_when("another pod", |pods| pods.len() == 1 && names(pods) != first).await;
    let failed = json!({"status": {"phase": "Failed"}});
    Api::<Pod>::default_namespaced(cluster.client.clone())
        .patch_status(&names(&second)[0], &PatchParams::default(), &Patch::Merge(&failed))
        .await
        .unwrap();
    cluster.pods_when("a third pod", |pods| pods.len() == 1 && names(pods) != names(&second)).await;
    cluster.event_when("FailedDaemonPod", "will try to kill it").await;
}

#[tokio::test]
async fn a_pod_leaves_with_the_label_and_the_reason_is_shown() {
    let cluster = Cluster::start(2).await;
    cluster.label("node-0", json!({"disk": "ssd"})).await;
    cluster.create(json!({"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}})).await;
    cluster.status_when("one", |s| s.desired_number_scheduled == 1 && s.number_available == Some(1)).await;
    let now = jiff::Timestamp::now();
    let explained = controllers::daemonset::explain(cluster.client.clone(), "default", "foo", now).await;
    let text = explained.unwrap().to_string();
    assert!(text.contains("node-1  leave   node selector disk=ssd does not match"), "{text}");
    cluster.label("node-0", json!({"disk": null})).await;
    cluster.pods_when("none", <[Pod]>::is_empty).await;
    cluster.status_when("none desired", |s| s.desired_number_scheduled == 0).await;
    cluster.event_when("SuccessfulDelete", "Deleted pod: foo-").await;
}

#[tokio::test]
async fn a_node_that_comes_later_gets_its_pod() {
    let cluster = Cluster::start(1).await;
    cluster.create(json!({})).await;
    cluster.status_when("one", |s| s.number_available == Some(1)).await;
    cluster.node("late").await;
    cluster.status_when("two", |s| s.number_available == Some(2)).await;
}

#[tokio::test]
async fn orphans_are_adopted_with_their_revision_and_nothing_is_rolled() {
    let cluster = Cluster::start(2).await;
    cluster.create(json!({})).await;
    cluster.status_when("available", |s| s.number_available == Some(2)).await;
    let before = names(&cluster.pods().await);
    cluster.orphan().await;
    cluster.create(json!({})).await;
    cluster
        .status_when("available again", |s| {
            s.number_available == Some(2) && s.updated_number_scheduled == Some(2)
        })
        .await;
    assert_eq!(names(&cluster.pods().await), before);
    assert_eq!(cluster.revisions().await.len(), 1);
    let uid = cluster.daemon_set().await.metadata.uid.unwrap();
    for pod in cluster.pods().await {
        let owners = pod.metadata.owner_references.unwrap();
        assert_eq!(owners.iter().map(|owner| owner.uid.as_str()).collect::<Vec<_>>(), [uid.as_str()]);
    }
}

#[tokio::test]
async fn a_hash_collision_is_counted_and_the_rollout_goes_on() {
    let cluster = Cluster::start(1).await;
    cluster.create(json!({})).await;
    cluster.status_when("available", |s| s.number_available == Some(1)).await;
    let mut taken = cluster.revisions().await.remove(0);
    let name = taken.metadata.name.clone().unwrap();
    // The same template for another set of the same name, whose revision name is taken by a stranger.
    cluster.delete().await;
    taken.metadata.resource_version = None;
    taken.metadata.uid = None;
    taken.metadata.owner_references = None;
    taken.metadata.labels = Some([("stranger".to_owned(), "yes".to_owned())].into());
    taken.data.as_mut().unwrap().0["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other:1");
    let revisions = Api::<ControllerRevision>::default_namespaced(cluster.client.clone());
    revisions.create(&PostParams::default(), &taken).await.unwrap();
    cluster.create(json!({})).await;
    let status = cluster.status_when("available", |s| s.number_available == Some(1)).await;
    assert_eq!(status.collision_count, Some(1));
    let own =
        cluster.revisions().await.into_iter().filter(|r| r.metadata.name.as_ref() != Some(&name)).count();
    assert_eq!(own, 1);
}

#[tokio::test]
async fn creates_stop_after_the_first_batch_that_fails_and_the_status_is_written_all_the_same() {
    let cluster = Cluster::start_with(100, Creates::Only(10)).await;
    cluster.create(json!({})).await;
    cluster.status_when("ten current", |s| s.current_number_scheduled == 10).await;
    cluster.event_when("FailedCreate", "Error creating: ").await;
    // 1 + 2 + 4 + 8 in the first plan; each further try is one request that fails.
    let made = cluster.creates_in_first_plan.load(Ordering::SeqCst);
    assert!((11..=15).contains(&made), "{made} creates");
    assert_eq!(cluster.pods().await.len(), 10);
}

#[tokio::test]
async fn events_say_who_speaks() {
    let cluster = Cluster::start(1).await;
    cluster.create(json!({})).await;
    let event = cluster.event_when("SuccessfulCreate", "Created pod: foo-").await;
    assert_eq!(event.source.and_then(|source| source.component).as_deref(), Some("daemonset-controller"));
    assert_eq!(event.involved_object.kind.as_deref(), Some("DaemonSet"));
    let all =
        Api::<Event>::default_namespaced(cluster.client.clone()).list(&ListParams::default()).await.unwrap();
    assert!(all.items.iter().all(|event| event.reason.as_deref() != Some("SelectingAll")));
}
