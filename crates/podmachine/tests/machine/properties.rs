//! Random days in a Pod's life: crashes, failures, restarts of agent and machine, changes, deletion.
//!
//! The model asserts at every step that no second instance lives, that no attempt comes twice, that the phase
//! never goes back, that nothing is cleaned up under a living container, and that whatever is killed is killed for a
//! reason that is named and true. Here: that what is desired is reached when the day calms down, and that a calm day
//! changes nothing.

use podmachine::*;
use proptest::prelude::*;
use serde_json::json;

use super::model::*;

#[derive(Debug, Clone)]
enum Happens {
    Pass(i64),
    Crash(usize, i32),
    Vanish(usize),
    SandboxDies,
    AgentRestarts,
    PowerCut,
    NewImage(usize),
    Fails(&'static str, Trouble),
    Unhealthy(bool),
    HoldStarts(bool),
    /// Somebody looks into the Pod with `kubectl debug`.
    Debugger,
    /// The API server goes or comes back; what is wished meanwhile is heard afterwards.
    ApiAway(bool),
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Refused,
    Unavailable,
    Timeout,
    /// It happened, and nobody said so in time.
    Late,
}

fn happens() -> impl Strategy<Value = Happens> {
    let kinds = prop::sample::select(vec![
        "volumes",
        "pull",
        "sandbox",
        "start",
        "kill",
        "stop-sandbox",
        "clean",
        "remove",
        "probe",
        "post-start",
    ]);
    let trouble =
        prop::sample::select(vec![Trouble::Refused, Trouble::Unavailable, Trouble::Timeout, Trouble::Late]);
    prop_oneof![
        4 => (0..400_i64).prop_map(Happens::Pass),
        3 => (0..3_usize, 0..2_i32).prop_map(|(which, code)| Happens::Crash(which, code)),
        1 => (0..3_usize).prop_map(Happens::Vanish),
        1 => Just(Happens::SandboxDies),
        2 => Just(Happens::AgentRestarts),
        1 => Just(Happens::PowerCut),
        1 => (0..2_usize).prop_map(Happens::NewImage),
        3 => (kinds, trouble).prop_map(|(kind, trouble)| Happens::Fails(kind, trouble)),
        1 => any::<bool>().prop_map(Happens::Unhealthy),
        1 => any::<bool>().prop_map(Happens::HoldStarts),
        1 => Just(Happens::Debugger),
        2 => any::<bool>().prop_map(Happens::ApiAway),
    ]
}

fn world(policy: &str, sidecar: bool) -> Model {
    let mut inits = vec![json!({"name": "init", "image": "init:1", "imagePullPolicy": "IfNotPresent"})];
    if sidecar {
        inits.push(json!({"name": "side", "image": "init:1", "imagePullPolicy": "IfNotPresent", "restartPolicy": "Always"}));
    }
    Model::new(json!({
        "restartPolicy": policy,
        "initContainers": inits,
        "containers": [
            {"name": "a", "image": "app:1", "imagePullPolicy": "Always",
             "lifecycle": {"postStart": {"exec": {"command": ["x"]}}, "preStop": {"exec": {"command": ["y"]}}}},
            {"name": "b", "image": "app:1", "imagePullPolicy": "IfNotPresent",
             "livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 60, "failureThreshold": 2},
             "readinessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 60}},
        ],
    }))
}

fn happen(model: &mut Model, event: &Happens) {
    let pick = |model: &Model, which: usize| {
        let living: Vec<String> =
            model.containers.iter().filter(|c| !dead(c)).map(|container| container.id.clone()).collect();
        living.get(which).cloned()
    };
    match event {
        Happens::Pass(seconds) => {
            model.pass(*seconds);
        }
        Happens::Crash(which, code) => {
            if let Some(id) = pick(model, *which) {
                model.end(&id, *code, "");
            }
        }
        Happens::Vanish(which) => {
            if let Some(id) = pick(model, *which) {
                model.containers.retain(|container| container.id != id);
            }
        }
        Happens::SandboxDies => model.kill_sandbox(),
        Happens::AgentRestarts => model.restart_agent(),
        Happens::PowerCut => {
            model.kill_sandbox();
            model.restart_agent();
        }
        // Nothing is heard of a wish while the API is away.
        Happens::NewImage(_) | Happens::Debugger if model.api_away => {}
        Happens::NewImage(which) => {
            let image = format!("app:{}", which + 1);
            model.desired.pod.spec.as_mut().unwrap().containers[1].image = Some(image);
        }
        Happens::Debugger => {
            let mut pod = model.desired.pod.clone();
            let spec = pod.spec.as_mut().unwrap();
            let all = spec.ephemeral_containers.get_or_insert_default();
            let shell = json!({"name": format!("shell-{}", all.len()), "image": "init:1",
                "imagePullPolicy": "IfNotPresent"});
            all.push(serde_json::from_value(shell).unwrap());
            model.desired = model.desired.of(pod);
        }
        Happens::ApiAway(away) => model.api_away = *away,
        Happens::Fails(kind, Trouble::Late) => *model.late.entry(kind).or_default() += 1,
        Happens::Fails(kind, trouble) => {
            let message = "it failed".to_owned();
            let failure = match trouble {
                Trouble::Refused => Failure::Refused(message),
                Trouble::Unavailable => Failure::Unavailable(message),
                Trouble::Timeout | Trouble::Late => Failure::Timeout(message),
            };
            model.failures.entry(kind).or_default().push_back(failure);
        }
        Happens::Unhealthy(bad) => {
            model.unhealthy.insert(("b".to_owned(), ProbeKind::Liveness), *bad);
        }
        Happens::HoldStarts(true) => model.hold = |action| matches!(action, Action::StartContainer(_)),
        Happens::HoldStarts(false) => {
            model.release();
        }
    }
    model.settle();
}

/// No more trouble; long enough for every back-off to end.
fn calm(model: &mut Model) {
    model.failures.clear();
    model.api_away = false;
    model.late.clear();
    model.unhealthy.clear();
    model.release();
    model.pass(1500);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pod_that_shall_always_run_runs_again_when_the_day_calms_down(
        day in prop::collection::vec(happens(), 0..24), sidecar in any::<bool>(),
    ) {
        let mut model = world("Always", sidecar);
        model.settle();
        day.iter().for_each(|event| happen(&mut model, event));
        calm(&mut model);
        let wanted: &[&str] = if sidecar { &["a", "b", "side"] } else { &["a", "b"] };
        let mut living = model.living();
        living.retain(|name| !name.starts_with("shell"));
        prop_assert_eq!(living, wanted);
        prop_assert_eq!((model.phase(), model.condition("Ready")), ("Running", "True".to_owned()));

        // And then nothing happens without a reason: not on a calm day, not on a restart of the agent.
        let before = (model.count("start"), model.count("kill"), model.count("sandbox"));
        model.pass(1000);
        model.restart_agent();
        model.pass(1000);
        prop_assert_eq!((model.count("start"), model.count("kill"), model.count("sandbox")), before);
    }

    #[test]
    fn a_deleted_pod_is_gone_whatever_happened_before_and_meanwhile(
        day in prop::collection::vec(happens(), 0..12), after in prop::collection::vec(happens(), 0..12),
        policy in prop::sample::select(vec!["Always", "OnFailure", "Never"]),
    ) {
        let mut model = world(policy, true);
        model.settle();
        day.iter().for_each(|event| happen(&mut model, event));
        model.delete(30);
        after.iter().for_each(|event| happen(&mut model, event));
        calm(&mut model);
        prop_assert_eq!(model.machine.state(), State::Gone);
        prop_assert!(model.deleted_from_api && model.containers.is_empty() && model.sandboxes.is_empty());
    }

    #[test]
    fn a_pod_that_never_restarts_starts_each_container_at_most_once_if_it_is_not_lost(
        codes in prop::collection::vec(0..2_i32, 2), restarts in 0..3_usize,
    ) {
        let mut model = world("Never", false);
        model.settle();
        for (name, code) in ["a", "b"].iter().zip(&codes) {
            for _ in 0..restarts {
                model.restart_agent();
                model.settle();
            }
            model.crash(name, *code).settle();
        }
        prop_assert_eq!(model.count("start"), 3, "init, a, b");
        let phase = if codes.iter().all(|code| *code == 0) { "Succeeded" } else { "Failed" };
        prop_assert_eq!(model.phase(), phase);
        prop_assert_eq!(model.machine.state(), State::Finished);
    }
}
