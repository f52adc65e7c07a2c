//! Thresholds, ranking and reclaiming, by tables.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::limits::Amount;
use super::reclaim::{Dead, removable, suffices};
use super::*;
use crate::desired::PodSource;
use crate::state::State;

fn table(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    rows.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn memory(available: &str) -> Readings {
    let reading =
        Reading { available: Quantity::parse(available).unwrap(), capacity: Quantity::parse("1Gi").unwrap() };
    Readings::from([(Signal::MemoryAvailable, reading)])
}

fn pod(uid: &str, spec: Value) -> Pod {
    let mut pod = json!({"metadata": {"name": uid, "uid": uid},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    for (key, value) in spec.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    serde_json::from_value(pod).unwrap()
}

fn asking(uid: &str, memory: &str, priority: i32) -> Pod {
    pod(
        uid,
        json!({"priority": priority, "containers": [{"name": "c", "image": "i",
            "resources": {"requests": {"memory": memory, "ephemeral-storage": memory}}}]}),
    )
}

fn met(signal: Signal, is_hard: bool) -> Met {
    Met {
        signal,
        threshold: Quantity::parse("100Mi").unwrap(),
        available: Quantity::parse("50Mi").unwrap(),
        is_hard,
    }
}

#[test]
fn without_a_word_the_thresholds_are_upstreams() {
    let limits = Limits::default();
    let shown: Vec<(&str, Amount, Option<u64>)> =
        limits.thresholds.iter().map(|one| (one.signal.name(), one.amount, one.grace_seconds)).collect();
    let percent = |percent| Amount::Percent(Quantity::from_units(percent));
    assert_eq!(
        shown,
        [
            ("memory.available", Amount::Quantity(Quantity::parse("100Mi").unwrap()), None),
            ("nodefs.available", percent(10), None),
            ("nodefs.inodesFree", percent(5), None),
            ("imagefs.available", percent(15), None),
            ("imagefs.inodesFree", percent(5), None),
        ]
    );
    assert_eq!((limits.transition_seconds, limits.pod_grace_seconds_max), (300, Some(0)));
    assert_eq!(
        limits.reserved(Signal::NodefsAvailable, Quantity::parse("1Gi").unwrap()).bytes(),
        (1 << 30) / 10
    );
}

#[test]
fn written_thresholds_replace_the_defaults_and_can_be_switched_off() {
    let written = Written {
        hard: Some(table(&[("nodefs.available", "12.5%"), ("imagefs.available", "0%")])),
        soft: table(&[("memory.available", "1Gi")]),
        soft_grace_period: table(&[("memory.available", "1m30s")]),
        minimum_reclaim: table(&[("memory.available", "10%")]),
        max_pod_grace_period: Some(-1),
        pressure_transition_period: Some("30s".to_owned()),
    };
    let limits = Limits::parse(&written).unwrap();
    assert_eq!(limits.thresholds.len(), 2);
    let [soft, hard] = limits.thresholds.as_slice() else { panic!("two") };
    assert_eq!((soft.signal, soft.grace_seconds), (Signal::MemoryAvailable, Some(90)));
    assert_eq!(soft.reclaim, Some(Amount::Percent(Quantity::from_units(10))));
    assert_eq!(hard.amount.of(Quantity::from_bytes(1000)).bytes(), 125);
    assert_eq!((limits.pod_grace_seconds_max, limits.transition_seconds), (None, 30));
}

#[test]
fn wrong_thresholds_are_refused_by_name() {
    let hard = |name: &str, text: &str| Written { hard: Some(table(&[(name, text)])), ..Written::default() };
    let cases = [
        (hard("disk.free", "1Gi"), "unsupported eviction signal disk.free"),
        (hard("memory.available", "-1Gi"), "eviction threshold memory.available must be positive, got -1Gi"),
        (hard("memory.available", "much"), "eviction threshold memory.available \"much\""),
        (
            hard("nodefs.available", "101%"),
            "eviction percentage threshold nodefs.available must be <= 100%, got 101%",
        ),
        (
            Written { soft: table(&[("memory.available", "1Gi")]), ..Written::default() },
            "grace period must be specified for the soft eviction threshold memory.available",
        ),
        (
            Written { pressure_transition_period: Some("-5m".to_owned()), ..Written::default() },
            "evictionPressureTransitionPeriod \"-5m\"",
        ),
    ];
    for (written, words) in cases {
        let error = Limits::parse(&written).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn hard_threshold_acts_at_once_and_its_condition_stays_for_the_transition_period() {
    let (limits, mut watch) = (Limits::default(), Watch::default());
    assert_eq!(watch.look(&limits, &memory("200Mi"), at(0)), None);
    assert!(watch.conditions().is_empty());
    let acts = watch.look(&limits, &memory("50Mi"), at(10)).unwrap();
    assert_eq!((acts.signal, acts.is_hard), (Signal::MemoryAvailable, true));
    assert_eq!((acts.threshold.to_string(), acts.available.to_string()), ("100Mi".into(), "50Mi".into()));
    for (second, holds) in [(20, true), (309, true), (310, false)] {
        assert_eq!(watch.look(&limits, &memory("200Mi"), at(second)), None);
        assert_eq!(watch.conditions().contains(&Condition::MemoryPressure), holds, "{second}");
    }
}

#[test]
fn soft_threshold_acts_after_its_grace_and_begins_anew_when_it_was_not_met() {
    let written = Written {
        hard: Some(BTreeMap::new()),
        soft: table(&[("memory.available", "100Mi")]),
        soft_grace_period: table(&[("memory.available", "60s")]),
        ..Written::default()
    };
    let (limits, mut watch) = (Limits::parse(&written).unwrap(), Watch::default());
    for (second, available, acts) in [
        (0, "50Mi", false),
        (59, "50Mi", false),
        (60, "50Mi", true),
        (70, "200Mi", false),
        (80, "50Mi", false),
        (139, "50Mi", false),
        (140, "50Mi", true),
    ] {
        let answer = watch.look(&limits, &memory(available), at(second));
        assert_eq!(answer.is_some_and(|met| !met.is_hard), acts, "{second}");
        assert!(watch.conditions().contains(&Condition::MemoryPressure), "before the grace too: {second}");
    }
}

#[test]
fn threshold_that_acted_goes_on_until_the_minimum_is_reclaimed() {
    let written = Written { minimum_reclaim: table(&[("memory.available", "100Mi")]), ..Written::default() };
    let (limits, mut watch) = (Limits::parse(&written).unwrap(), Watch::default());
    assert!(watch.look(&limits, &memory("150Mi"), at(0)).is_none(), "not met, so nothing to reclaim");
    assert!(watch.look(&limits, &memory("50Mi"), at(10)).is_some());
    assert!(watch.look(&limits, &memory("150Mi"), at(20)).is_some());
    assert!(!suffices(&limits, &memory("150Mi")));
    assert!(suffices(&limits, &memory("200Mi")));
    assert!(watch.look(&limits, &memory("200Mi"), at(30)).is_none());
    assert!(watch.look(&limits, &memory("150Mi"), at(40)).is_none());
}

#[test]
fn memory_is_acted_on_before_all_others_and_what_is_not_measured_never() {
    let limits = Limits::default();
    let low = Reading { available: Quantity::from_bytes(1), capacity: Quantity::from_bytes(1 << 30) };
    let mut readings: Readings = Signal::ALL.into_iter().map(|signal| (signal, low)).collect();
    let mut watch = Watch::default();
    assert_eq!(watch.look(&limits, &readings, at(0)).unwrap().signal, Signal::MemoryAvailable);
    let both: Vec<String> = watch.conditions().iter().map(ToString::to_string).collect();
    assert_eq!(both, ["DiskPressure", "MemoryPressure"], "no threshold for process ids unless one is set");
    readings.remove(&Signal::MemoryAvailable);
    assert_eq!(watch.look(&limits, &readings, at(1)).unwrap().signal, Signal::NodefsAvailable);
    assert_eq!(watch.look(&limits, &Readings::new(), at(2)), None);
}

#[test]
fn clock_that_is_set_back_holds_no_condition_for_ever() {
    let (limits, mut watch) = (Limits::default(), Watch::default());
    watch.look(&limits, &memory("50Mi"), at(1_000_000));
    watch.look(&limits, &memory("200Mi"), at(10));
    assert!(watch.conditions().is_empty());
}

#[test]
fn who_exceeds_goes_first_then_the_lower_priority_then_the_larger_excess() {
    const MI: u64 = 1 << 20;
    let pods = [
        (asking("within-low", "1Gi", -10), Some(900 * MI)),
        (asking("over-high", "1Mi", 100), Some(800 * MI)),
        (asking("over-little", "1Mi", 0), Some(2 * MI)),
        (asking("over-much", "1Mi", 0), Some(3 * MI)),
        (asking("within-high", "1Gi", 5), Some(1)),
        (asking("unknown", "1Gi", 1_000), None),
    ];
    let usages: Vec<Option<Usage>> = pods
        .iter()
        .map(|(_, used)| used.map(|total| Usage { total, containers: vec![("c".to_owned(), total)] }))
        .collect();
    let expected = ["unknown", "over-much", "over-little", "over-high", "within-low", "within-high"];
    for signal in [Signal::MemoryAvailable, Signal::NodefsAvailable, Signal::ImagefsAvailable] {
        let mut left: Vec<Candidate<'_>> = pods
            .iter()
            .zip(&usages)
            .map(|((pod, _), usage)| Candidate { pod, usage: usage.as_ref() })
            .collect();
        let mut order = Vec::new();
        while let Some(gone) = victim(&met(signal, true), &Limits::default(), &left) {
            left.retain(|candidate| candidate.pod.metadata.uid.as_ref() != Some(&gone.uid));
            order.push(gone.uid);
        }
        assert_eq!(order, expected, "{}", signal.name());
    }
}

#[test]
fn for_process_ids_only_priority_and_their_number_count() {
    let pods = [asking("few", "1Gi", 0), asking("many", "1Gi", 0), asking("important", "1Gi", 1)];
    let usages = [3, 30, 300].map(|total| Usage { total, containers: Vec::new() });
    let candidates: Vec<Candidate<'_>> =
        pods.iter().zip(&usages).map(|(pod, usage)| Candidate { pod, usage: Some(usage) }).collect();
    let gone = victim(&met(Signal::PidAvailable, true), &Limits::default(), &candidates).unwrap();
    assert_eq!(gone.uid, "many");
}

#[test]
fn critical_and_static_pods_stay_and_daemons_do_not() {
    let usage = Usage { total: 1 << 40, containers: Vec::new() };
    let system = pod("system", json!({"priority": 2_000_001_000}));
    let mut fixed = pod("fixed", json!({}));
    fixed.metadata.annotations = Some([("kubernetes.io/config.source".to_owned(), "file".to_owned())].into());
    let mut mirror = pod("mirror", json!({}));
    mirror.metadata.annotations = Some([("kubernetes.io/config.mirror".to_owned(), "x".to_owned())].into());
    let daemon = pod(
        "daemon",
        json!({"tolerations": [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}]}),
    );
    let all = [&system, &fixed, &mirror].map(|pod| Candidate { pod, usage: Some(&usage) });
    assert_eq!(victim(&met(Signal::MemoryAvailable, true), &Limits::default(), &all), None);
    let with = [all.as_slice(), &[Candidate { pod: &daemon, usage: Some(&usage) }]].concat();
    assert_eq!(victim(&met(Signal::MemoryAvailable, true), &Limits::default(), &with).unwrap().uid, "daemon");
}

#[test]
fn message_is_upstreams_and_names_the_containers_that_exceed() {
    let two = pod(
        "p",
        json!({"containers": [{"name": "a", "image": "i"},
            {"name": "b", "image": "i", "resources": {"requests": {"memory": "1Gi"}}}]}),
    );
    let usage =
        Usage { total: 3 << 20, containers: vec![("a".to_owned(), 1 << 20), ("b".to_owned(), 2 << 20)] };
    let gone = victim(
        &met(Signal::MemoryAvailable, true),
        &Limits::default(),
        &[Candidate { pod: &two, usage: Some(&usage) }],
    );
    assert_eq!(
        gone.unwrap().message,
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. \
         Container a was using 1Mi, request is 0, has larger consumption of memory. "
    );
    let gone = victim(
        &met(Signal::NodefsInodesFree, true),
        &Limits::default(),
        &[Candidate { pod: &two, usage: Some(&usage) }],
    );
    assert_eq!(
        gone.unwrap().message,
        "The node was low on resource: inodes. Threshold quantity: 100Mi, available: 50Mi. "
    );
}

#[test]
fn soft_eviction_gives_the_pods_grace_up_to_the_nodes() {
    let patient = pod("p", json!({"terminationGracePeriodSeconds": 60}));
    let all = [Candidate { pod: &patient, usage: None }];
    for (most, is_hard, expected) in [
        (Some(0), false, 1),
        (Some(20), false, 20),
        (Some(90), false, 60),
        (None, false, 60),
        (None, true, 1),
        (Some(90), true, 1),
    ] {
        let limits = Limits { pod_grace_seconds_max: most, ..Limits::default() };
        let gone = victim(&met(Signal::MemoryAvailable, is_hard), &limits, &all).unwrap();
        assert_eq!(gone.grace_seconds, expected, "{most:?} {is_hard}");
    }
}

#[test]
fn only_dead_containers_of_pods_that_are_over_are_reclaimed() {
    let dead = |id: &str, pod| Dead { id: id.to_owned(), pod };
    let all = [
        dead("stranger", None),
        dead("crash-loop", Some((State::Syncing, PodSource::Api))),
        dead("ending", Some((State::Terminating, PodSource::Api))),
        dead("over", Some((State::Finished, PodSource::Api))),
        dead("static", Some((State::Finished, PodSource::Static))),
    ];
    assert_eq!(removable(&all), ["over"]);
    for (signal, own, expected) in [
        (Signal::MemoryAvailable, false, false),
        (Signal::NodefsAvailable, false, true),
        (Signal::NodefsAvailable, true, false),
        (Signal::ImagefsAvailable, true, true),
    ] {
        assert_eq!(reclaim::helps(signal, own), expected, "{}", signal.name());
    }
}
