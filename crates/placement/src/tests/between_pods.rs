//! Claims about Pod affinity and anti-affinity.

use serde_json::{Value, json};

use super::world::{World, pod};

const NOT_NEAR: &str = "node(s) didn't match pod affinity rules";
const TOO_NEAR: &str = "node(s) didn't match pod anti-affinity rules";
const UNWANTED: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

fn term(labels: Value, key: &str) -> Value {
    json!({"labelSelector": {"matchLabels": labels}, "topologyKey": key})
}

fn near(terms: Value) -> Value {
    json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}})
}

fn far(terms: Value) -> Value {
    json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}})
}

#[test]
fn affinity_is_satisfied_in_the_domain_of_a_pod_that_matches() {
    let mut world = World::of(&["a/z1", "b/z1", "c/z2", "bare"]);
    world.put("a", pod("s1", json!({"security": "S1"}), json!({})));
    let wanting = pod("p", json!({}), near(json!([term(json!({"security": "S1"}), "zone")])));
    assert_eq!(
        world.verdicts(&wanting),
        ["a fits", "b fits", &format!("c {NOT_NEAR}"), &format!("bare {NOT_NEAR}")]
    );
}

#[test]
fn every_affinity_term_counts_only_pods_that_match_all_of_them() {
    let mut world = World::of(&["a/z1", "b/z2"]);
    world.put("a", pod("x", json!({"app": "x"}), json!({})));
    world.put("a", pod("y", json!({"tier": "y"}), json!({})));
    world.put("b", pod("both", json!({"app": "x", "tier": "y"}), json!({})));
    let wanting = pod(
        "p",
        json!({}),
        near(json!([
            term(json!({"app": "x"}), "zone"),
            term(json!({"tier": "y"}), "kubernetes.io/hostname")
        ])),
    );
    assert_eq!(world.verdicts(&wanting), [&format!("a {NOT_NEAR}"), "b fits"]);
}

#[test]
fn the_first_of_a_group_may_go_where_the_keys_are_and_the_second_follows_it() {
    let mut world = World::of(&["a/z1", "b/z2", "bare"]);
    let group = || pod("p", json!({"app": "web"}), near(json!([term(json!({"app": "web"}), "zone")])));
    assert_eq!(world.verdicts(&group()), ["a fits", "b fits", &format!("bare {NOT_NEAR}")]);
    let alien = pod("p", json!({"app": "db"}), near(json!([term(json!({"app": "web"}), "zone")])));
    assert_eq!(world.verdicts(&alien)[0], format!("a {NOT_NEAR}"), "it does not match its own terms");
    world.put("b", group());
    assert_eq!(world.verdicts(&group())[..2], [format!("a {NOT_NEAR}"), "b fits".to_owned()]);
}

#[test]
fn anti_affinity_keeps_apart_both_ways_and_a_missing_key_never_conflicts() {
    let mut world = World::of(&["a/z1", "b/z2", "bare"]);
    world.put("a", pod("b1", json!({"app": "b"}), json!({})));
    world.put("bare", pod("b2", json!({"app": "b"}), json!({})));
    let loner = || pod("a1", json!({"app": "a"}), far(json!([term(json!({"app": "b"}), "zone")])));
    assert_eq!(world.verdicts(&loner()), [&format!("a {TOO_NEAR}"), "b fits", "bare fits"]);
    let mut world = World::of(&["a/z1", "b/z2", "bare"]);
    world.put("a", loner());
    world.put("bare", loner());
    let other = pod("p", json!({"app": "b"}), json!({}));
    assert_eq!(world.verdicts(&other), [&format!("a {UNWANTED}"), "b fits", "bare fits"]);
}

#[test]
fn terms_look_at_the_pods_own_namespace_unless_they_name_or_select_others() {
    let in_namespace = |namespace: &str| {
        let mut there = pod("x", json!({"app": "x"}), json!({}));
        there.metadata.namespace = Some(namespace.to_owned());
        there
    };
    let labelled = json!({"matchLabels": {"team": "t"}});
    // Where the Pod that is wanted is, what the term says of namespaces, and whether it is found.
    let cases = [
        ("default", json!({}), true),
        ("other", json!({}), false),
        ("other", json!({"namespaces": ["other"]}), true),
        ("default", json!({"namespaces": ["other"]}), false),
        ("other", json!({"namespaceSelector": {}}), true),
        ("other", json!({"namespaceSelector": labelled}), true),
        ("plain", json!({"namespaceSelector": labelled}), false),
        ("plain", json!({"namespaces": ["plain"], "namespaceSelector": labelled}), true),
        ("other", json!({"namespaces": ["plain"], "namespaceSelector": labelled}), true),
        ("default", json!({"namespaceSelector": labelled}), false),
    ];
    for (namespace, says, found) in cases {
        let mut world = World::of(&["a/z1"]);
        let labels = |text: &str| [("team".to_owned(), text.to_owned())].into();
        world.namespaces = [("other".to_owned(), labels("t")), ("plain".to_owned(), labels("u"))].into();
        world.put("a", in_namespace(namespace));
        let mut wanted = term(json!({"app": "x"}), "zone");
        for (field, value) in says.as_object().unwrap() {
            wanted[field] = value.clone();
        }
        let verdict = world.verdicts(&pod("p", json!({}), near(json!([wanted]))));
        assert_eq!(verdict[0] == "a fits", found, "{namespace} {says}");
    }
}

#[test]
fn no_label_selector_matches_nobody_and_an_empty_one_everybody() {
    let mut world = World::of(&["a/z1"]);
    world.put("a", pod("x", json!({}), json!({})));
    let nobody = json!({"topologyKey": "zone"});
    let everybody = json!({"topologyKey": "zone", "labelSelector": {}});
    let verdict = |spec| world.verdicts(&pod("p", json!({}), spec)).remove(0);
    assert_eq!(verdict(far(json!([nobody]))), "a fits");
    assert_eq!(verdict(far(json!([everybody]))), format!("a {TOO_NEAR}"));
    assert_eq!(verdict(near(json!([nobody]))), format!("a {NOT_NEAR}"));
    assert_eq!(verdict(near(json!([everybody]))), "a fits");
}

#[test]
fn match_label_keys_narrow_a_term_to_the_pods_own_version_and_mismatch_to_the_others() {
    let mut world = World::of(&["a/z1", "b/z2"]);
    world.put("a", pod("old", json!({"app": "x", "version": "1"}), json!({})));
    world.put("b", pod("new", json!({"app": "x", "version": "2"}), json!({})));
    let mut own = term(json!({"app": "x"}), "zone");
    own["matchLabelKeys"] = json!(["version"]);
    let mut others = term(json!({"app": "x"}), "zone");
    others["mismatchLabelKeys"] = json!(["version"]);
    let labels = || json!({"app": "x", "version": "2"});
    assert_eq!(world.verdicts(&pod("p", labels(), near(json!([own])))), [&format!("a {NOT_NEAR}"), "b fits"]);
    assert_eq!(
        world.verdicts(&pod("p", labels(), far(json!([others])))),
        [&format!("a {TOO_NEAR}"), "b fits"]
    );
}

#[test]
fn pods_that_are_leaving_count_while_they_are_there() {
    let mut world = World::of(&["a/z1"]);
    let mut leaving = pod("x", json!({"app": "x"}), json!({}));
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    world.put("a", leaving);
    let loner = pod("p", json!({}), far(json!([term(json!({"app": "x"}), "kubernetes.io/hostname")])));
    assert_eq!(world.verdicts(&loner), [format!("a {TOO_NEAR}")]);
}

#[test]
fn the_handbooks_form_places_by_the_legacy_zone_label_and_keeps_off_by_host() {
    let legacy = "failure-domain.beta.kubernetes.io/zone";
    let mut world = World::of(&["a", "b", "c", "unlabelled"]);
    for (node, zone) in [(0, "z1"), (1, "z1"), (2, "z2")] {
        world.nodes[node].metadata.labels.get_or_insert_default().insert(legacy.into(), zone.into());
    }
    world.put("a", pod("s1", json!({"security": "S1"}), json!({})));
    world.put("a", pod("s2", json!({"security": "S2"}), json!({})));
    let among = |value: &str, key: &str| {
        json!([{"labelSelector": {"matchExpressions": [
            {"key": "security", "operator": "In", "values": [value]}]}, "topologyKey": key}])
    };
    let spec = json!({"affinity": {
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": among("S1", legacy)},
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": among("S2", "kubernetes.io/hostname")}}});
    assert_eq!(
        world.verdicts(&pod("with-pod-affinity", json!({}), spec)),
        [
            format!("a {TOO_NEAR}"),
            "b fits".to_owned(),
            format!("c {NOT_NEAR}"),
            format!("unlabelled {NOT_NEAR}")
        ]
    );
}

#[test]
fn what_is_counted_out_leaves_no_trace() {
    let mut world = World::of(&["a/z1", "b/z2"]);
    let shy = || pod("shy", json!({"app": "x"}), far(json!([term(json!({"app": "x"}), "zone")])));
    let incoming_pod = pod(
        "p",
        json!({"app": "x"}),
        json!({
            "affinity": near(json!([term(json!({"app": "x"}), "zone")]))["affinity"],
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "x"}}}]}),
    );
    let before = format!("{:?}", world.incoming(&incoming_pod));
    world.put("a", shy());
    let mut incoming = world.incoming(&incoming_pod);
    assert_ne!(format!("{incoming:?}"), before);
    let resident = world.residents(0).next().unwrap();
    incoming.remove(&world.nodes[0], resident);
    assert_eq!(format!("{incoming:?}"), before);
}
