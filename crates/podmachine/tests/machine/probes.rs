//! When probes run and what follows.

use podmachine::*;
use serde_json::{Value, json};

use super::model::*;

fn probed(probes: Value) -> Model {
    Model::new(json!({"containers": [main_container(probes)]}))
}

fn tcp(more: Value) -> Value {
    let mut probe = json!({"tcpSocket": {"port": 80}});
    for (key, value) in more.as_object().unwrap() {
        probe[key] = value.clone();
    }
    probe
}

fn fails(model: &mut Model, kind: ProbeKind, fails: bool) {
    model.unhealthy.insert(("main".to_owned(), kind), fails);
}

#[test]
fn the_first_run_is_after_the_initial_delay_and_then_once_a_period() {
    let mut model =
        probed(json!({"readinessProbe": tcp(json!({"initialDelaySeconds": 5, "periodSeconds": 3}))}));
    model.settle();
    assert_eq!((model.count("probe"), model.condition("Ready").as_str()), (0, "False ContainersNotReady"));
    model.pass(4);
    assert_eq!(model.count("probe"), 0);
    model.pass(1);
    assert_eq!((model.count("probe"), model.condition("Ready").as_str()), (1, "True"));
    model.pass(30);
    assert_eq!(model.count("probe"), 11);
}

#[test]
fn readiness_needs_its_thresholds_in_a_row_and_restarts_nothing() {
    let probe = tcp(json!({"periodSeconds": 1, "successThreshold": 2, "failureThreshold": 3}));
    let mut model = probed(json!({"readinessProbe": probe}));
    model.settle();
    assert_eq!(model.condition("Ready"), "False ContainersNotReady", "one success of two");
    model.pass(1);
    assert_eq!(model.condition("Ready"), "True");
    fails(&mut model, ProbeKind::Readiness, true);
    model.pass(2);
    assert_eq!(model.condition("Ready"), "True", "two failures of three");
    model.pass(1);
    assert_eq!(model.condition("Ready"), "False ContainersNotReady");
    assert_eq!(model.told("Unhealthy")[0], "Readiness probe failed: HTTP probe failed with statuscode: 500");
    model.pass(60);
    assert_eq!((model.count("kill"), model.container("main").restart_count), (0, 0));
}

#[test]
fn a_liveness_failure_restarts_the_container() {
    let mut model =
        probed(json!({"livenessProbe": tcp(json!({"periodSeconds": 10, "failureThreshold": 2}))}));
    model.settle();
    fails(&mut model, ProbeKind::Liveness, true);
    model.pass(10);
    assert_eq!(model.count("kill"), 0, "one failure of two");
    model.unhealthy.clear();
    model.hold = |action| matches!(action, Action::Probe(_));
    model.pass(10);
    model.hold = |_| false;
    let job = model.held.pop().unwrap();
    model.machine.finished(job.id, Outcome::ProbeFailed { output: "refused".to_owned() }, model.now);
    model.settle();
    assert_eq!(model.told("Killing"), ["Container main failed liveness probe, will be restarted"]);
    assert_eq!((model.container("main").restart_count, model.state("main").as_str()), (1, "running"));
}

#[test]
fn a_probes_own_grace_counts_for_its_kill() {
    let probe = tcp(json!({"periodSeconds": 1, "failureThreshold": 1, "terminationGracePeriodSeconds": 7}));
    let mut model = probed(json!({"livenessProbe": probe}));
    fails(&mut model, ProbeKind::Liveness, true);
    model.settle();
    let graces: Vec<u64> = model
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::KillContainer { grace_seconds, .. } => Some(*grace_seconds),
            _ => None,
        })
        .collect();
    assert_eq!(graces.first(), Some(&7));
}

#[test]
fn startup_holds_the_others_back_and_stops_once_it_passed() {
    let mut model = probed(json!({
        "startupProbe": tcp(json!({"periodSeconds": 1, "failureThreshold": 10})),
        "livenessProbe": tcp(json!({"periodSeconds": 1, "failureThreshold": 1})),
        "readinessProbe": tcp(json!({"periodSeconds": 1})),
    }));
    let kinds = |model: &Model| -> Vec<ProbeKind> {
        let probes = model.actions.iter().filter_map(|action| match action {
            Action::Probe(target) => Some(target.kind),
            _ => None,
        });
        probes.collect()
    };
    fails(&mut model, ProbeKind::Startup, true);
    model.pass(5);
    assert!(kinds(&model).iter().all(|kind| *kind == ProbeKind::Startup));
    assert_eq!((model.container("main").started, model.container("main").ready), (Some(false), false));
    model.unhealthy.clear();
    model.pass(5);
    assert_eq!((model.container("main").started, model.container("main").ready), (Some(true), true));
    assert_eq!(
        kinds(&model).iter().filter(|kind| **kind == ProbeKind::Startup).count(),
        7,
        "and not once more"
    );
}

#[test]
fn a_startup_probe_that_never_passes_restarts_the_container() {
    let mut model = probed(json!({"startupProbe": tcp(json!({"periodSeconds": 1, "failureThreshold": 3}))}));
    fails(&mut model, ProbeKind::Startup, true);
    model.pass(2);
    assert_eq!(model.told("Killing"), ["Container main failed startup probe, will be restarted"]);
    assert_eq!(model.container("main").restart_count, 1);
}

#[test]
fn a_probe_that_cannot_be_made_changes_nothing() {
    let mut model = probed(json!({"livenessProbe": tcp(json!({"periodSeconds": 1, "failureThreshold": 1}))}));
    let error = || Failure::Unavailable("runtime away".to_owned());
    model.failures.insert("probe", (0..10).map(|_| error()).collect());
    model.pass(10);
    assert_eq!((model.count("kill"), model.condition("Ready").as_str()), (0, "True"));
}

#[test]
fn a_pod_that_goes_is_probed_for_readiness_only() {
    let mut model = probed(json!({
        "livenessProbe": tcp(json!({"periodSeconds": 1, "failureThreshold": 1})),
        "readinessProbe": tcp(json!({"periodSeconds": 1, "failureThreshold": 1})),
    }));
    model.settle();
    model.delete(30);
    model.hold = |action| matches!(action, Action::KillContainer { .. });
    model.settle();
    model.actions.clear();
    fails(&mut model, ProbeKind::Readiness, true);
    model.pass(5);
    let only = model.actions.iter().all(|action| match action {
        Action::Probe(target) => target.kind == ProbeKind::Readiness,
        _ => false,
    });
    assert!(only && !model.actions.is_empty(), "{:?}", model.actions);
    assert_eq!(model.condition("Ready"), "False ContainersNotReady");
}

#[test]
fn a_restarted_agent_spreads_probes_and_keeps_what_was_ready_ready() {
    let mut model = probed(json!({
        "startupProbe": tcp(json!({"periodSeconds": 1})),
        "readinessProbe": tcp(json!({"periodSeconds": 10})),
    }));
    model.pass(20);
    model.restart_agent();
    model.now += jiff::SignedDuration::from_secs(1);
    model.settle();
    assert_eq!((model.condition("Ready").as_str(), model.container("main").started), ("True", Some(true)));
    let before = model.count("probe");
    model.pass(10);
    assert_eq!(model.count("probe") - before, 1, "within one period");
}
