//! Verdicts and refusals, each in upstream's words; when the condition moves.

use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn pod(ready: bool, phase: &str) -> Pod {
    let ready = if ready { "True" } else { "False" };
    let pod = json!({"metadata": {"name": "p"},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}});
    serde_json::from_value(pod).unwrap()
}

fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
    let budget = json!({"metadata": {"name": "b", "generation": 2}, "spec": spec, "status": status});
    serde_json::from_value(budget).unwrap()
}

fn status(allowed: i32, healthy: i32, desired: i32) -> Value {
    json!({"observedGeneration": 2, "disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": desired,
        "expectedPods": 3})
}

fn refused(budget: &PodDisruptionBudget) -> String {
    match verdict(budget, &pod(true, "Running"), now()) {
        Verdict::Refused(refusal) => refusal.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pods_that_serve_nobody_need_no_budget() {
    let mut ending = pod(true, "Running");
    ending.metadata.deletion_timestamp = Some(Time(now()));
    assert!(needs_no_budget(&ending));
    for (phase, free) in [("Pending", true), ("Succeeded", true), ("Failed", true), ("Running", false)] {
        assert_eq!(needs_no_budget(&pod(true, phase)), free, "{phase}");
    }
}

#[test]
fn an_allowed_disruption_is_taken_and_noted_by_the_pods_name() {
    let Verdict::Taken(after) = verdict(&budget(json!({}), status(1, 3, 2)), &pod(true, "Running"), now())
    else {
        panic!("refused")
    };
    let after = after.status.unwrap();
    assert_eq!(after.disruptions_allowed, 0);
    assert_eq!(after.disrupted_pods.as_ref().unwrap()["p"].0, now());
    let told = condition(&after).unwrap();
    assert_eq!((told.status.as_str(), told.reason.as_str()), ("False", "InsufficientPods"));
    let Verdict::Taken(after) = verdict(&budget(json!({}), status(2, 4, 2)), &pod(true, "Running"), now())
    else {
        panic!("refused")
    };
    assert_eq!(after.status.as_ref().unwrap().disruptions_allowed, 1);
    assert_eq!(condition(&after.status.unwrap()), None, "told by whoever counts");
}

#[test]
fn refusals_say_what_is_missing_in_upstreams_words() {
    assert_eq!(
        refused(&budget(json!({}), status(0, 2, 2))),
        "The disruption budget b needs 2 healthy pods and has 2 currently"
    );
    let mut young = status(1, 3, 2);
    young["observedGeneration"] = json!(1);
    assert_eq!(
        refused(&budget(json!({}), young)),
        "The disruption budget b is still being processed by the server."
    );
    assert_eq!(refused(&budget(json!({}), status(-1, 0, 0))), "pdb disruptions allowed is negative");
    let mut failed = budget(json!({}), status(1, 3, 2));
    tell_failure(failed.status.as_mut().unwrap(), "no such thing", now());
    assert_eq!(
        refused(&failed),
        "The disruption budget b does not allow evicting pods currently because it failed sync: no such thing"
    );
    let mut many = status(1, 3, 2);
    many["disruptedPods"] = (0..=DISRUPTED_PODS_MAX)
        .map(|i| (format!("p{i}"), json!(Time(now()))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    assert!(refused(&budget(json!({}), many)).starts_with("DisruptedPods map too big"));
}

#[test]
fn an_unhealthy_pod_goes_uncounted_by_policy_or_while_enough_are_healthy() {
    let sick = pod(false, "Running");
    let say = |spec: Value, status: Value| verdict(&budget(spec, status), &sick, now());
    let always = json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"});
    let healthy = json!({"unhealthyPodEvictionPolicy": "IfHealthyBudget"});
    assert_eq!(say(always, status(0, 0, 2)), Verdict::Uncounted);
    assert_eq!(say(healthy.clone(), status(0, 2, 2)), Verdict::Uncounted);
    assert_eq!(say(json!({}), status(0, 2, 2)), Verdict::Uncounted, "the default");
    assert!(matches!(say(healthy, status(0, 1, 2)), Verdict::Refused(Refusal::Insufficient { .. })));
    assert!(matches!(say(json!({}), status(0, 0, 0)), Verdict::Refused(_)), "nothing is desired yet");
}

#[test]
fn the_conditions_time_moves_with_its_status_only() {
    let mut counted = PodDisruptionBudgetStatus { observed_generation: Some(1), ..Default::default() };
    tell(&mut counted, now());
    assert!(is_told(&counted, 1) && !is_told(&counted, 2));
    let later = Timestamp::from_second(NOW + 5).unwrap();
    tell_failure(&mut counted, "why", later);
    let condition_of = |status: &PodDisruptionBudgetStatus| condition(status).unwrap().clone();
    assert_eq!(condition_of(&counted).last_transition_time.0, now(), "False before and after");
    counted.disruptions_allowed = 1;
    assert!(!is_told(&counted, 1));
    tell(&mut counted, later);
    let told = condition_of(&counted);
    assert_eq!((told.reason.as_str(), told.message.as_str()), ("SufficientPods", ""));
    assert_eq!(told.last_transition_time.0, later);
}
