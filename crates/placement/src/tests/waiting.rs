//! Claims about which news a Pod that fits nowhere is tried again for.

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::world::{World, pod};
use crate::{Ever, Incoming, NamespaceLabels, News, Reach, Unfit, Waiting};

const PORT: u16 = 80;

/// A Pod that asks for everything: it differs only in why it was refused.
fn asking() -> Pod {
    let term = |app: &str| {
        json!([{"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "zone",
            "namespaceSelector": {"matchLabels": {"team": "t"}}, "namespaces": ["default"]}])
    };
    pod(
        "asking",
        json!({"app": "asking"}),
        json!({
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}},
                "ports": [{"containerPort": PORT, "hostPort": PORT}]}],
            "affinity": {
                "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term("friend")},
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term("foe")}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "peer"}}}]}),
    )
}

fn helps(reason: &Unfit, news: &News<'_>, reach: Reach) -> bool {
    let (pod, namespaces) = (asking(), NamespaceLabels::new());
    let waiting = Waiting::after(&Incoming::of(&pod, &namespaces), [reason]);
    waiting.may_help(&pod, news, reach, &namespaces)
}

fn cpu() -> Unfit {
    Unfit::Insufficient { resource: "cpu".to_owned(), ever: Ever::WhenOthersLeave }
}

fn node() -> Node {
    World::of(&["n/z1"]).nodes.remove(0)
}

fn changed(change: impl Fn(&mut Node)) -> Node {
    let mut node = node();
    change(&mut node);
    node
}

fn label(node: &mut Node, key: &str, value: &str) {
    node.metadata.labels.get_or_insert_default().insert(key.into(), value.into());
}

#[test]
fn a_pod_that_leaves_helps_those_who_lack_what_it_had() {
    let holding = |resources: Value, ports: Value| {
        pod("x", json!({}), json!({"containers": [{"name": "c", "resources": resources, "ports": ports}]}))
    };
    let with_cpu = holding(json!({"requests": {"cpu": "1m"}}), json!([]));
    let with_port = holding(json!({}), json!([{"containerPort": PORT, "hostPort": PORT}]));
    let with_nothing = holding(json!({"requests": {"memory": "1Gi"}}), json!([]));
    let app = |name: &str| pod(name, json!({"app": name}), json!({}));
    let shy = pod(
        "shy",
        json!({}),
        json!({"affinity": {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "asking"}}, "topologyKey": "zone"}]}}}),
    );
    let (foe, friend, peer) = (app("foe"), app("friend"), app("peer"));
    let everybody = [&with_cpu, &with_port, &with_nothing, &shy, &foe, &friend, &peer];
    // Why it waits, whose leaving helps, and whether that must be within reach.
    let table = [
        (cpu(), vec![&with_cpu], true),
        (Unfit::HostPorts, vec![&with_port], true),
        (Unfit::TooManyPods, everybody.to_vec(), true),
        (Unfit::PodAntiAffinity, vec![&foe], false),
        (Unfit::ExistingPodsAntiAffinity, vec![&shy], false),
        (Unfit::PodAffinity, vec![&friend], false),
        (Unfit::TopologySpread, vec![&peer], false),
        (Unfit::NodeSelection, vec![], true),
        (Unfit::Unschedulable, vec![], true),
    ];
    for (reason, helpful, near_only) in table {
        for left in everybody {
            let expected = helpful.contains(&left);
            let news = News::PodLeft(left);
            assert_eq!(helps(&reason, &news, Reach::Within), expected, "{reason}: {:?}", left.metadata.name);
            let beyond = expected && !near_only;
            assert_eq!(helps(&reason, &news, Reach::Beyond), beyond, "{reason}: {:?}", left.metadata.name);
        }
    }
}

#[test]
fn a_pod_that_comes_helps_those_who_want_its_company_or_other_domains_filled() {
    let app = |name: &str| pod(name, json!({"app": name}), json!({}));
    let (friend, peer) = (app("friend"), app("peer"));
    assert!(helps(&Unfit::PodAffinity, &News::PodCame(&friend), Reach::Beyond));
    assert!(!helps(&Unfit::PodAffinity, &News::PodCame(&peer), Reach::Within));
    assert!(helps(&Unfit::TopologySpread, &News::PodCame(&peer), Reach::Beyond));
    assert!(!helps(&Unfit::TopologySpread, &News::PodCame(&friend), Reach::Within));
    for reason in [cpu(), Unfit::HostPorts, Unfit::TooManyPods, Unfit::PodAntiAffinity, Unfit::NodeSelection]
    {
        assert!(!helps(&reason, &News::PodCame(&friend), Reach::Within), "{reason}");
    }
}

#[test]
fn a_changed_pod_helps_by_its_new_labels_its_smaller_requests_or_its_leaving() {
    let app = |name: &str| pod("x", json!({"app": name}), json!({}));
    let asks = |cpu: &str| {
        let containers = json!([{"name": "c", "resources": {"requests": {"cpu": cpu}}}]);
        pod("x", json!({"app": "peer"}), json!({"containers": containers}))
    };
    let changes = |reason: &Unfit, before: &Pod, after: &Pod| {
        helps(reason, &News::PodChanged { before, after }, Reach::Within)
    };
    assert!(changes(&Unfit::PodAffinity, &app("other"), &app("friend")));
    assert!(changes(&Unfit::PodAntiAffinity, &app("foe"), &app("other")));
    assert!(!changes(&Unfit::PodAntiAffinity, &app("foe"), &app("foe")));
    assert!(changes(&cpu(), &asks("2"), &asks("1")));
    assert!(!changes(&cpu(), &asks("1"), &asks("2")));
    let mut leaving = asks("1");
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    assert!(changes(&Unfit::TopologySpread, &asks("1"), &leaving), "who leaves does not count any more");
    assert!(!changes(&cpu(), &asks("1"), &leaving), "yet it still has its place");
}

#[test]
fn a_node_that_comes_helps_only_if_the_pod_could_be_on_it() {
    let fit = node();
    let small = changed(|node| {
        node.status.as_mut().unwrap().allocatable =
            serde_json::from_value(json!({"cpu": "1m", "pods": "9"})).unwrap();
    });
    let tainted = changed(|node| {
        node.spec.as_mut().unwrap().taints =
            serde_json::from_value(json!([{"key": "k", "effect": "NoSchedule"}])).unwrap();
    });
    for reason in [cpu(), Unfit::NodeSelection, Unfit::PodAffinity] {
        assert!(helps(&reason, &News::NodeCame(&fit), Reach::Within), "{reason}");
        assert!(!helps(&reason, &News::NodeCame(&fit), Reach::Beyond), "{reason}");
        assert!(!helps(&reason, &News::NodeCame(&small), Reach::Within), "{reason}");
        assert!(!helps(&reason, &News::NodeCame(&tainted), Reach::Within), "{reason}");
    }
    let domain = changed(|node| label(node, "rack", "r9"));
    assert!(helps(&Unfit::TopologySpread, &News::NodeCame(&domain), Reach::Beyond), "one domain more");
}

#[test]
fn a_changed_node_helps_if_it_now_lets_the_pod_in_has_more_or_moves_to_another_domain() {
    let plain = node();
    let cordoned = changed(|node| node.spec.as_mut().unwrap().unschedulable = Some(true));
    let larger = changed(|node| {
        let allocatable = json!({"cpu": "8", "pods": "10", "memory": "1Gi"});
        node.status.as_mut().unwrap().allocatable = serde_json::from_value(allocatable).unwrap();
    });
    let moved = changed(|node| label(node, "zone", "z9"));
    let relabelled = changed(|node| label(node, "colour", "red"));
    let changes = |reason: &Unfit, before: &Node, after: &Node, reach| {
        helps(reason, &News::NodeChanged { before, after }, reach)
    };
    assert!(changes(&Unfit::Unschedulable, &cordoned, &plain, Reach::Within));
    assert!(!changes(&Unfit::Unschedulable, &plain, &cordoned, Reach::Within));
    assert!(!changes(&Unfit::Unschedulable, &cordoned, &plain, Reach::Beyond));
    let tainted = changed(|node| {
        node.spec.as_mut().unwrap().taints =
            serde_json::from_value(json!([{"key": "k", "effect": "NoSchedule"}])).unwrap();
    });
    assert!(
        changes(&Unfit::Unschedulable, &cordoned, &tainted, Reach::Within),
        "another reason is to be told"
    );
    assert!(changes(&cpu(), &plain, &larger, Reach::Within));
    assert!(!changes(&Unfit::HostPorts, &plain, &larger, Reach::Within));
    assert!(!changes(&cpu(), &plain, &relabelled, Reach::Within));
    assert!(changes(&Unfit::PodAffinity, &plain, &moved, Reach::Beyond));
    assert!(!changes(&Unfit::PodAffinity, &plain, &relabelled, Reach::Beyond));
    assert!(changes(&Unfit::ExistingPodsAntiAffinity, &plain, &relabelled, Reach::Beyond));
    assert!(helps(&Unfit::PodAntiAffinity, &News::NodeLeft(&plain), Reach::Beyond));
    assert!(!helps(&cpu(), &News::NodeLeft(&plain), Reach::Within));
}

#[test]
fn a_namespaces_labels_concern_those_who_select_namespaces() {
    assert!(helps(&Unfit::PodAffinity, &News::Namespace, Reach::Within));
    assert!(!helps(&cpu(), &News::Namespace, Reach::Within));
}
