//! Revisions: made, reused, renumbered, deduplicated, cleaned up.

use serde_json::json;

use crate::world::{UID, World, normal, on_delete, rolling};
use daemonset::Step;
use k8s_openapi::api::apps::v1::ControllerRevision;

fn history_steps(world: &mut World) -> Vec<String> {
    let plan = world.plan();
    let text: Vec<String> = plan.steps.iter().map(|step| normal(&step.to_string())).collect();
    text.into_iter().filter(|line| line.starts_with("history") || line.starts_with("pod relabel")).collect()
}

fn only(world: &World) -> ControllerRevision {
    assert_eq!(world.revisions.len(), 1);
    world.revisions.values().next().unwrap().clone()
}

#[test]
fn the_first_revision_holds_the_whole_template() {
    let mut world = World::with_nodes(on_delete(), 1);
    world.settle();
    let revision = only(&world);
    let hash = world.view.hash();
    assert_eq!(revision.metadata.name, Some(format!("foo-{hash}")));
    assert_eq!(revision.revision, 1);
    let labels = revision.metadata.labels.unwrap();
    assert_eq!((labels["app"].as_str(), labels["controller-revision-hash"].as_str()), ("foo", hash));
    assert_eq!(
        revision.data.unwrap().0,
        json!({"spec": {"template": {
            "metadata": {"labels": {"app": "foo"}},
            "spec": {"containers": [{"name": "c", "image": "image:1"}]},
            "$patch": "replace"}}})
    );
    let owner = &revision.metadata.owner_references.unwrap()[0];
    assert_eq!((owner.uid.as_str(), owner.controller), (UID, Some(true)));
    assert!(hash.len() <= 10 && hash.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)), "{hash}");
    let pod = world.pods.values().next().unwrap();
    assert_eq!(pod.metadata.labels.as_ref().unwrap()["controller-revision-hash"], hash);
}

#[test]
fn the_same_template_in_another_spelling_is_the_same_revision() {
    let mut world = World::with_nodes(on_delete(), 1);
    world.settle();
    let mut revision = only(&world);
    let hash = world.view.hash().to_owned();
    let data = &mut revision.data.as_mut().unwrap().0;
    data["spec"]["template"]["metadata"]["creationTimestamp"] = json!(null);
    data["spec"]["template"]["spec"]["volumes"] = json!([]);
    world.put_revision(revision);
    assert_eq!(history_steps(&mut world), Vec::<String>::new());
    assert_eq!(world.view.hash(), hash);
}

#[test]
fn a_hash_collision_is_counted_and_another_name_taken() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    let Step::CreateRevision(mut taken) = world.plan().steps[0].clone() else { panic!("no revision") };
    taken.metadata.uid = Some("taken".to_owned());
    taken.data.as_mut().unwrap().0["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other:1");
    let first_hash = world.view.hash().to_owned();
    // It is there, but no event has told of it.
    world.revisions.insert(taken.metadata.name.clone().unwrap(), (*taken).clone());
    let plan = world.plan();
    let outcome = world.act(&plan.steps[0]);
    world.view.acted(&plan.steps[0], outcome, world.now);
    let collide = history_steps(&mut world);
    assert_eq!(
        collide,
        [format!("history collide foo-{first_hash}: another template has this name, collision 1")]
    );
    assert_eq!(world.steps(), Vec::<String>::new(), "no pod gets a hash that is not its own");
    world.settle();
    assert_ne!(world.view.hash(), first_hash);
    assert_eq!(world.daemon_set.status.as_ref().unwrap().collision_count, Some(1));
    assert_eq!(world.pods.len(), 1);
    let older = world.daemon_set.clone();
    let mut older_sight = older.clone();
    older_sight.status = None;
    world.put_daemon_set(older_sight);
    assert_eq!(world.view.status().collision_count, Some(1), "it never goes back");
}

#[test]
fn copies_of_the_current_revision_are_merged_into_the_newest() {
    let mut world = World::with_nodes(rolling(json!(1)), 2);
    world.settle();
    world.all_ready();
    let mut copy = only(&world);
    copy.metadata.name = Some("foo-copy".to_owned());
    copy.metadata.uid = Some("copy".to_owned());
    copy.metadata.labels.as_mut().unwrap().insert("controller-revision-hash".to_owned(), "copy".to_owned());
    copy.revision = 2;
    let (first, hash) = (world.pods.keys().next().unwrap().clone(), world.view.hash().to_owned());
    world.put_revision(copy);
    let pods: Vec<String> = world.pods.keys().cloned().collect();
    assert_eq!(
        history_steps(&mut world),
        [
            format!("pod relabel {}: its revision is a copy of copy", pods[0]),
            format!("pod relabel {}: its revision is a copy of copy", pods[1]),
            format!("history dedupe foo-{hash}: a copy of the current revision"),
        ]
    );
    assert_eq!(world.steps(), Vec::<String>::new(), "nothing is rolled for a change of name");
    world.settle();
    assert!(world.revisions.contains_key("foo-copy") && world.revisions.len() == 1);
    assert!(world.pods.contains_key(&first), "the pods are the same ones");
}

#[test]
fn old_revisions_beyond_the_limit_go_unless_a_pod_is_of_them() {
    let mut world =
        World::with_nodes(json!({"revisionHistoryLimit": 2, "updateStrategy": {"type": "OnDelete"}}), 1);
    world.settle();
    let live = world.view.hash().to_owned();
    for i in 2..7 {
        world.image(&format!("image:{i}"));
        world.settle();
    }
    let mut numbers: Vec<i64> = world.revisions.values().map(|r| r.revision).collect();
    numbers.sort();
    assert_eq!(numbers, [1, 5, 6], "the live first one, and of the old ones the youngest");
    assert!(world.revisions.contains_key(&format!("foo-{live}")));
    world.edit(json!({"revisionHistoryLimit": 0}));
    world.settle();
    let mut numbers: Vec<i64> = world.revisions.values().map(|r| r.revision).collect();
    numbers.sort();
    assert_eq!(numbers, [1, 6]);
}

#[test]
fn a_revision_without_a_hash_gets_its_name_as_one() {
    let mut world = World::with_nodes(on_delete(), 0);
    world.settle();
    let mut bare = only(&world);
    let name = bare.metadata.name.clone().unwrap();
    bare.metadata.labels.as_mut().unwrap().remove("controller-revision-hash");
    world.put_revision(bare);
    assert_eq!(history_steps(&mut world), [format!("history relabel {name}: it has no hash, gets {name}")]);
    world.settle();
    assert_eq!(world.view.hash(), name);
}

#[test]
fn orphaned_revisions_and_pods_of_a_deleted_set_are_taken_over_without_a_rollout() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    world.settle();
    world.all_ready();
    let mut object = world.daemon_set.clone();
    object.metadata.uid = Some("new-uid".to_owned());
    object.status = None;
    let mut next = World::of(object);
    next.node("node-0", json!({}));
    let mut revision = only(&world);
    revision.metadata.owner_references = None;
    next.put_revision(revision);
    for mut pod in world.pods.into_values() {
        pod.metadata.owner_references = None;
        next.put_pod(pod);
    }
    let before: Vec<String> = next.pods.keys().cloned().collect();
    next.settle();
    assert_eq!(next.pods.keys().cloned().collect::<Vec<_>>(), before);
    assert_eq!(next.revisions.len(), 1);
    assert!(next.pods.values().all(|pod| pod.metadata.owner_references.is_some()));
}

#[test]
fn while_a_new_revision_is_not_seen_it_is_not_written_twice() {
    let mut world = World::with_nodes(on_delete(), 0);
    let plan = world.plan();
    let outcome = world.act(&plan.steps[0]);
    world.view.acted(&plan.steps[0], outcome, world.now);
    assert_eq!(history_steps(&mut world), Vec::<String>::new());
    assert!(world.view.is_waiting());
    world.see_step(&plan.steps[0]);
    assert!(!world.view.is_waiting());
    assert_eq!(history_steps(&mut world), Vec::<String>::new());
}
