//! What may change about a Pod, and what it must keep.

use serde_json::{Value, json};

use super::pods::edited;
use super::told;
use crate::validate::{pod_create, pod_status_update, pod_update};

#[test]
fn a_mirror_names_its_node_and_stays_one() {
    let mirror = json!({"kubernetes.io/config.mirror": "h"});
    let at = "metadata.annotations[kubernetes.io/config.mirror]";
    assert_eq!(
        told(&pod_create(&edited(&[("/metadata/annotations", mirror.clone())]))),
        [format!("{at} Invalid")]
    );
    let bound = |annotations: Value| {
        edited(&[("/metadata/annotations", annotations), ("/spec/nodeName", json!("n"))])
    };
    assert_eq!(pod_create(&bound(mirror.clone())), []);
    for (new, old) in [
        (json!({}), mirror.clone()),
        (mirror.clone(), json!({})),
        (json!({"kubernetes.io/config.mirror": "i"}), mirror.clone()),
    ] {
        assert_eq!(told(&pod_update(&bound(new.clone()), &bound(old.clone()))), [format!("{at} Forbidden")]);
        assert_eq!(told(&pod_status_update(&bound(new), &bound(old))), [format!("{at} Forbidden")]);
    }
}

#[test]
fn a_gated_pod_has_no_node() {
    let gates = json!([{"name": "a/b"}]);
    let errors = pod_create(&edited(&[("/spec/schedulingGates", gates), ("/spec/nodeName", json!("n"))]));
    assert_eq!(told(&errors), ["spec.nodeName Forbidden"]);
}

#[test]
fn little_of_a_pod_may_change() {
    type Edits<'a> = Vec<(&'a str, Value)>;
    let toleration = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute"});
    let one = || vec![("/spec/tolerations", json!([toleration("a")]))];
    let gated = || vec![("/spec/schedulingGates", json!([{"name": "a/b"}]))];
    let table: Vec<(Edits<'_>, Edits<'_>, Vec<&str>)> = vec![
        (vec![], vec![("/spec/containers/0/image", json!("j:1"))], vec![]),
        (vec![], vec![("/spec/containers/0/command", json!(["x"]))], vec!["spec Forbidden"]),
        (vec![], vec![("/spec/nodeName", json!("n"))], vec!["spec Forbidden"]),
        (
            vec![],
            vec![("/spec/containers", json!([{"name": "c", "image": "i:1"}, {"name": "d", "image": "i:1"}]))],
            vec!["spec.containers Forbidden"],
        ),
        (vec![], vec![("/spec/activeDeadlineSeconds", json!(5))], vec![]),
        (
            vec![("/spec/activeDeadlineSeconds", json!(5))],
            vec![("/spec/activeDeadlineSeconds", json!(6))],
            vec!["spec.activeDeadlineSeconds Invalid"],
        ),
        (vec![("/spec/activeDeadlineSeconds", json!(5))], vec![], vec!["spec.activeDeadlineSeconds Invalid"]),
        (one(), vec![("/spec/tolerations", json!([toleration("a"), toleration("b")]))], vec![]),
        (one(), vec![("/spec/tolerations", json!([toleration("b")]))], vec!["spec.tolerations Forbidden"]),
        (gated(), vec![], vec![]),
        (vec![], gated(), vec!["spec.schedulingGates Forbidden"]),
        (
            gated(),
            vec![
                ("/spec/schedulingGates", json!([{"name": "a/b"}])),
                ("/spec/nodeSelector", json!({"a": "b"})),
            ],
            vec![],
        ),
        (vec![], vec![("/spec/nodeSelector", json!({"a": "b"}))], vec!["spec Forbidden"]),
        (
            vec![("/spec/terminationGracePeriodSeconds", json!(-1))],
            vec![("/spec/terminationGracePeriodSeconds", json!(1))],
            vec![],
        ),
        (
            vec![("/spec/terminationGracePeriodSeconds", json!(5))],
            vec![("/spec/terminationGracePeriodSeconds", json!(1))],
            vec!["spec Forbidden"],
        ),
    ];
    for (old, new, expect) in table {
        assert_eq!(told(&pod_update(&edited(&new), &edited(&old))), expect, "{old:?} -> {new:?}");
    }
}

#[test]
fn while_gated_required_node_affinity_may_be_narrowed_but_not_widened() {
    let affinity = |expressions: Value| {
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": expressions}]}}})
    };
    let a = json!({"key": "a", "operator": "Exists"});
    let b = json!({"key": "b", "operator": "Exists"});
    let pod = |affinity: Value| {
        edited(&[("/spec/schedulingGates", json!([{"name": "a/b"}])), ("/spec/affinity", affinity)])
    };
    let (none, one, two) = (pod(json!(null)), pod(affinity(json!([a]))), pod(affinity(json!([a, b]))));
    assert_eq!(pod_update(&one, &none), []);
    assert_eq!(pod_update(&two, &one), []);
    assert_eq!(told(&pod_update(&one, &two)), ["spec Forbidden"]);
    assert_eq!(told(&pod_update(&none, &one)), ["spec Forbidden"]);
}

#[test]
fn a_container_that_ended_for_good_does_not_run_again() {
    let running = json!({"running": {}});
    let ended = |code: i32| json!({"terminated": {"exitCode": code}});
    let pod = |policy: &str, list: &str, state: &Value| {
        let status = json!([{"name": "c", "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0}]);
        let init =
            json!([{"name": "s", "image": "i", "restartPolicy": "Always"}, {"name": "i", "image": "i"}]);
        edited(&[
            ("/spec/restartPolicy", json!(policy)),
            ("/spec/initContainers", init),
            (&format!("/status/{list}"), status),
        ])
    };
    let refused = ["status.containerStatuses[0].state Forbidden"];
    for (policy, code, expect) in [
        ("Always", 0, &[][..]),
        ("OnFailure", 0, &refused),
        ("OnFailure", 1, &[]),
        ("Never", 0, &refused),
        ("Never", 1, &refused),
    ] {
        let at = "containerStatuses";
        let errors = pod_status_update(&pod(policy, at, &running), &pod(policy, at, &ended(code)));
        assert_eq!(told(&errors), expect, "{policy} {code}");
        let same = pod_status_update(&pod(policy, at, &ended(code)), &pod(policy, at, &ended(code)));
        assert_eq!(same, []);
    }
    let named = |name: &str, state: &Value| {
        let mut pod = pod("Never", "initContainerStatuses", state);
        pod.status.as_mut().unwrap().init_container_statuses.as_mut().unwrap()[0].name = name.to_owned();
        pod
    };
    let errors = pod_status_update(&named("i", &running), &named("i", &ended(0)));
    assert_eq!(told(&errors), ["status.initContainerStatuses[0].state Forbidden"]);
    assert_eq!(pod_status_update(&named("s", &running), &named("s", &ended(0))), []);
}
