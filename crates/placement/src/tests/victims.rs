//! Claims about whom preemption chooses.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::world::{World, pod};
use crate::preemption::{choose, may_help, victims};
use crate::{Budgets, Demand, Ever, Resident, Stuck, Unfit, Victims};

/// `NAME PRIORITY CPU START`: a Pod, started at that minute, `-` for not yet.
fn running(text: &str) -> Pod {
    let [name, priority, cpu, start] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let spec = json!({"priority": priority.parse::<i32>().unwrap(),
        "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
    let mut pod = pod(name, json!({"name": name}), spec);
    if start != "-" {
        let time = json!(format!("2026-01-01T00:{start}:00Z"));
        pod.status.get_or_insert_default().start_time = serde_json::from_value(time).unwrap();
    }
    pod
}

/// One Node with 2 CPUs.
fn world(pods: &[&str]) -> World {
    let mut world = World::of(&["n/z1"]);
    pods.iter().for_each(|text| world.put("n", running(text)));
    world
}

fn budget(name: &str, pods: &[&str], allowed: i32) -> PodDisruptionBudget {
    let selector = json!({"matchExpressions": [{"key": "name", "operator": "In", "values": pods}]});
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"selector": selector},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}}))
    .unwrap()
}

fn told(outcome: Result<Victims<'_>, Stuck>) -> String {
    match outcome {
        Ok(victims) => {
            let names: Vec<&str> =
                victims.pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
            format!("{} ({} against budgets)", names.join(" "), victims.violations)
        }
        Err(stuck) => format!("{stuck:?}"),
    }
}

fn of(world: &World, incoming: &Pod, budgets: &[PodDisruptionBudget]) -> String {
    let mut incoming = world.incoming(incoming);
    let there: Vec<Resident<'_>> = world.residents(0).collect();
    let before = format!("{incoming:?}");
    let outcome = victims(&mut incoming, &world.nodes[0], &world.load(0), &there, &[], &Budgets::of(budgets));
    assert_eq!(format!("{incoming:?}"), before, "what was thought away is back");
    told(outcome)
}

#[test]
fn nobody_of_the_same_or_higher_priority_leaves() {
    let full = world(&["a 10 1 01", "b 20 1 01"]);
    assert_eq!(of(&full, &running("p 10 1 -"), &[]), "NoVictims");
    assert_eq!(of(&full, &running("p 11 1 -"), &[]), "a (0 against budgets)");
}

#[test]
fn who_could_not_help_is_not_sent_away_for_nothing() {
    let full = world(&["a 1 500m 01", "b 20 1500m 01"]);
    let stuck = of(&full, &running("p 10 1 -"), &[]);
    assert_eq!(stuck, "StillUnfit([Insufficient { resource: \"cpu\", ever: WhenOthersLeave }])");
}

#[test]
fn as_many_as_possible_stay_the_more_important_first() {
    let full = world(&["low 1 500m 01", "high 5 500m 01", "young 3 500m 09", "old 3 500m 02"]);
    assert_eq!(of(&full, &running("p 10 500m -"), &[]), "low (0 against budgets)");
    assert_eq!(of(&full, &running("p 10 1 -"), &[]), "young low (0 against budgets)");
    assert_eq!(of(&full, &running("p 10 1500m -"), &[]), "old young low (0 against budgets)");
    // Keeping the large one means that the small ones need not go.
    let mixed = world(&["large 5 1500m 01", "small 1 500m 01"]);
    assert_eq!(of(&mixed, &running("p 10 1 -"), &[]), "large (0 against budgets)");
}

#[test]
fn those_that_a_budget_keeps_are_spared_before_the_others() {
    let full = world(&["kept 1 1 01", "free 5 1 01"]);
    let asks = running("p 10 1 -");
    assert_eq!(of(&full, &asks, &[]), "kept (0 against budgets)");
    assert_eq!(of(&full, &asks, &[budget("b", &["kept"], 0)]), "free (0 against budgets)");
    assert_eq!(of(&full, &asks, &[budget("b", &["kept"], 1)]), "kept (0 against budgets)");
    let both = [budget("b", &["kept", "free"], 1)];
    assert_eq!(of(&full, &asks, &both), "free (0 against budgets)", "the first of the two is still allowed");
    let all = running("p 10 2 -");
    assert_eq!(of(&full, &all, &both), "free kept (1 against budgets)");
    let mut on_its_way = budget("b", &["kept"], 0);
    on_its_way.status.as_mut().unwrap().disrupted_pods =
        serde_json::from_value(json!({"kept": "2026-01-01T00:00:00Z"})).unwrap();
    assert_eq!(of(&full, &asks, &[on_its_way]), "kept (0 against budgets)", "it was counted before");
    let mut everybody = budget("b", &[], 0);
    everybody.spec.as_mut().unwrap().selector = Some(Default::default());
    assert_eq!(of(&full, &asks, &[everybody]), "kept (0 against budgets)", "an empty selector keeps nobody");
}

#[test]
fn host_ports_and_anti_affinity_on_the_node_are_resolved_too() {
    let with = |name: &str, priority: i32, more: Value| {
        let mut spec = json!({"priority": priority, "containers": [{"name": "c"}]});
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        pod(name, json!({"app": name}), spec)
    };
    let port = json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let mut world = World::of(&["n/z1"]);
    world.put("n", with("server", 1, port.clone()));
    world.put("n", with("bystander", 1, json!({})));
    assert_eq!(of(&world, &with("p", 5, port), &[]), "server (0 against budgets)");
    let apart = |from: &str| {
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": from}}, "topologyKey": "zone"}]}}})
    };
    assert_eq!(of(&world, &with("p", 5, apart("server")), &[]), "server (0 against budgets)");
    world.put("n", with("shy", 2, apart("p")));
    assert_eq!(of(&world, &with("p", 5, json!({})), &[]), "shy (0 against budgets)");
}

#[test]
fn a_place_that_was_promised_to_a_stronger_pod_is_not_given_away() {
    let full = world(&["a 1 1 01", "b 1 1 02"]);
    let (asks, stronger) = (running("p 10 1 -"), running("stronger 20 1 -"));
    let mut incoming = full.incoming(&asks);
    let there: Vec<Resident<'_>> = full.residents(0).collect();
    let demand = Demand::of(&stronger);
    let promised = [Resident { pod: &stronger, demand: &demand, terms: None }];
    let outcome =
        victims(&mut incoming, &full.nodes[0], &full.load(0), &there, &promised, &Budgets::default());
    assert_eq!(told(outcome), "a b (0 against budgets)");
}

#[test]
fn only_reasons_that_somebodys_leaving_can_change_are_worth_a_try() {
    let lacking = |ever| Unfit::Insufficient { resource: "cpu".to_owned(), ever };
    let taint = Unfit::UntoleratedTaint { key: "k".to_owned(), value: String::new() };
    let worth = [
        Unfit::HostPorts,
        Unfit::TooManyPods,
        lacking(Ever::WhenOthersLeave),
        Unfit::PodAntiAffinity,
        Unfit::ExistingPodsAntiAffinity,
        Unfit::TopologySpread,
    ];
    let not = [
        Unfit::NodeName,
        Unfit::Unschedulable,
        taint,
        Unfit::NodeSelection,
        lacking(Ever::Never),
        Unfit::PodAffinity,
        Unfit::TopologySpreadMissingLabel,
    ];
    for reason in worth {
        assert!(may_help(std::slice::from_ref(&reason)), "{reason}");
    }
    for reason in not {
        assert!(!may_help(&[Unfit::TooManyPods, reason.clone()]), "{reason}");
    }
}

#[test]
fn the_node_is_chosen_where_the_loss_is_least() {
    // Each line: what A and B would lose, and who is chosen.
    let table = [
        ("fewest budgets broken", (1, vec!["v 1 1 01"]), (0, vec!["v 9 1 01"]), 1),
        ("lowest of the highest priorities", (0, vec!["v 5 1 01"]), (0, vec!["v 4 1 01", "w 4 1 01"]), 1),
        ("lowest sum", (0, vec!["v 5 1 01", "w 3 1 01"]), (0, vec!["v 5 1 01", "w 2 1 01"]), 1),
        ("fewest", (0, vec!["v 0 1 01", "w 0 1 01"]), (0, vec!["v 0 1 01"]), 1),
        ("latest start of the highest", (0, vec!["v 5 1 01"]), (0, vec!["v 5 1 02"]), 1),
        ("a start not yet made is the latest", (0, vec!["v 5 1 01"]), (0, vec!["v 5 1 -"]), 1),
        ("the first", (0, vec!["v 5 1 01"]), (0, vec!["v 5 1 01"]), 0),
    ];
    for (why, a, b, chosen) in table {
        let pods: Vec<Vec<Pod>> =
            [&a, &b].iter().map(|(_, pods)| pods.iter().map(|text| running(text)).collect()).collect();
        let offers: Vec<Victims<'_>> = [a.0, b.0]
            .iter()
            .zip(&pods)
            .map(|(violations, pods)| Victims { pods: pods.iter().collect(), violations: *violations })
            .collect();
        assert_eq!(choose(&offers), Some(chosen), "{why}");
    }
}
