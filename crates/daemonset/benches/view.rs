//! What one event costs in a view of many Nodes: it should not follow their number.

use std::sync::Arc;

use daemonset::{Event, Outcome, Step, View};
use divan::{Bencher, black_box};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;

fn main() {
    divan::main();
}

fn settled(nodes: usize, now: Timestamp) -> (View, Vec<Pod>) {
    let object = json!({
        "metadata": {"name": "foo", "namespace": "ns", "uid": "u", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "foo"}}, "template": {
            "metadata": {"labels": {"app": "foo"}},
            "spec": {"containers": [{"name": "c", "image": "image:1"}]}}}});
    let mut view = View::new(Arc::new(serde_json::from_value(object).expect("a DaemonSet"))).expect("legal");
    for i in 0..nodes {
        let node: Node =
            serde_json::from_value(json!({"metadata": {"name": format!("node-{i:05}")}})).expect("a Node");
        view.apply(Event::Node(Arc::new(node)), now).expect("legal");
    }
    let mut pods = Vec::new();
    loop {
        let plan = view.plan(now);
        if plan.steps.is_empty() {
            return (view, pods);
        }
        for step in &plan.steps {
            view.acted(step, Outcome::Done, now);
            match step {
                Step::CreatePod { pod, .. } => {
                    let mut pod = (**pod).clone();
                    pod.metadata.uid = pod.metadata.name.clone();
                    pods.push(pod.clone());
                    view.apply(Event::Pod(Arc::new(pod)), now).expect("legal");
                }
                Step::CreateRevision(revision) => {
                    let revision = Arc::new((**revision).clone());
                    view.apply(Event::Revision(revision), now).expect("legal");
                }
                _ => {}
            }
        }
    }
}

/// A Pod turns ready or unready, and the next plan is asked for.
#[divan::bench(args = [100, 1_000, 10_000])]
fn pod_event_and_plan(bencher: Bencher<'_, '_>, nodes: usize) {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let (mut view, pods) = settled(nodes, now);
    let with = |status: &str| {
        let mut pod = serde_json::to_value(&pods[nodes / 2]).expect("JSON");
        pod["status"] = json!({"conditions": [{"type": "Ready", "status": status}]});
        Arc::new(serde_json::from_value::<Pod>(pod).expect("a Pod"))
    };
    let (ready, unready) = (with("True"), with("False"));
    let mut turn = false;
    bencher.bench_local(|| {
        turn = !turn;
        let pod = if turn { &ready } else { &unready };
        view.apply(Event::Pod(Arc::clone(pod)), now).expect("legal");
        black_box(view.plan(now))
    });
}
