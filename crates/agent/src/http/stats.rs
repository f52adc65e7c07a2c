//! `/stats/summary`, `/metrics/resource`, `/metrics/cadvisor`: what runs here uses, in the forms that dashboards, the
//! metrics server and `kubectl top` read.
//!
//! Names, labels and units are the kubelet's. What is not known is left out, never 0.

use std::fmt::Write;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Refusal, Served};
use crate::usage::{self, ContainerUsage, PodUsage, Usage};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub async fn summary(State(served): State<Served>) -> Result<impl IntoResponse, Refusal> {
    let usage = look(&served).await?;
    let summary = summary_of(&usage, &served.context.node_name, served.context.started_at);
    Ok(axum::Json(summary))
}

pub async fn resource(State(served): State<Served>) -> Result<impl IntoResponse, Refusal> {
    let usage = look(&served).await?;
    Ok(([("content-type", TEXT)], resource_of(&usage)))
}

pub async fn cadvisor(State(served): State<Served>) -> Result<impl IntoResponse, Refusal> {
    let usage = look(&served).await?;
    Ok(([("content-type", TEXT)], cadvisor_of(&usage)))
}

async fn look(served: &Served) -> Result<Usage, Refusal> {
    usage::look(&served.context, &served.rates)
        .await
        .map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("container runtime: {error}")))
}

/// An object of what is known.
fn known<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn number(value: Option<u64>) -> Option<Value> {
    value.map(Value::from)
}

fn time(at: Timestamp) -> Option<Value> {
    // Seconds, as the API's times have them.
    Timestamp::from_second(at.as_second()).ok().map(|at| json!(at.to_string()))
}

fn summary_of(usage: &Usage, node_name: &str, started_at: Timestamp) -> Value {
    let node = &usage.node;
    let used = node.memory_total_bytes.zip(node.memory_available_bytes);
    let used = used.map(|(total, available)| total.saturating_sub(available));
    let disk = node.disk.map(|disk| {
        known([
            ("time", time(usage.at)),
            ("availableBytes", number(Some(disk.available_bytes))),
            ("capacityBytes", number(Some(disk.total_bytes))),
            ("usedBytes", number(Some(disk.total_bytes.saturating_sub(disk.available_bytes)))),
            ("inodesFree", number(Some(disk.inodes_free))),
            ("inodes", number(Some(disk.inodes))),
            ("inodesUsed", number(Some(disk.inodes.saturating_sub(disk.inodes_free)))),
        ])
    });
    let images = known([
        ("time", time(usage.at)),
        ("availableBytes", number(node.disk.map(|disk| disk.available_bytes))),
        ("capacityBytes", number(node.disk.map(|disk| disk.total_bytes))),
        ("usedBytes", number(node.images_used_bytes)),
    ]);
    let pods: Vec<Value> = usage.pods.iter().map(pod_summary).collect();
    json!({
        "node": known([
            ("nodeName", Some(json!(node_name))),
            ("startTime", time(started_at)),
            ("cpu", Some(known([
                ("time", time(usage.at)),
                ("usageCoreNanoSeconds", number(node.cpu_core_nanoseconds)),
            ]))),
            ("memory", Some(known([
                ("time", time(usage.at)),
                ("availableBytes", number(node.memory_available_bytes)),
                ("usageBytes", number(used)),
                ("workingSetBytes", number(used)),
            ]))),
            ("fs", disk),
            ("runtime", Some(json!({"imageFs": images}))),
        ]),
        "pods": pods,
    })
}

fn pod_summary(pod: &PodUsage) -> Value {
    let at = pod.containers.iter().map(|container| container.at).max();
    known([
        ("podRef", Some(json!({"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}))),
        ("startTime", pod.started_at.and_then(time)),
        ("containers", Some(pod.containers.iter().map(container_summary).collect::<Vec<_>>().into())),
        (
            "cpu",
            Some(known([
                ("time", at.and_then(time)),
                ("usageNanoCores", number(pod.sum(|container| container.cpu_nanocores))),
                ("usageCoreNanoSeconds", number(pod.sum(|container| container.cpu_core_nanoseconds))),
            ])),
        ),
        (
            "memory",
            Some(known([
                ("time", at.and_then(time)),
                ("usageBytes", number(pod.sum(|container| container.memory_usage_bytes))),
                ("workingSetBytes", number(pod.sum(|container| container.memory_working_set_bytes))),
                ("rssBytes", number(pod.sum(|container| container.memory_rss_bytes))),
            ])),
        ),
        (
            "ephemeral-storage",
            Some(known([
                ("time", at.and_then(time)),
                ("usedBytes", number(pod.sum(|container| container.writable_layer_bytes))),
            ])),
        ),
    ])
}

fn container_summary(container: &ContainerUsage) -> Value {
    known([
        ("name", Some(json!(container.name))),
        ("startTime", container.started_at.and_then(time)),
        (
            "cpu",
            Some(known([
                ("time", time(container.at)),
                ("usageNanoCores", number(container.cpu_nanocores)),
                ("usageCoreNanoSeconds", number(container.cpu_core_nanoseconds)),
            ])),
        ),
        (
            "memory",
            Some(known([
                ("time", time(container.at)),
                ("usageBytes", number(container.memory_usage_bytes)),
                ("workingSetBytes", number(container.memory_working_set_bytes)),
                ("rssBytes", number(container.memory_rss_bytes)),
                ("pageFaults", number(container.page_faults)),
                ("majorPageFaults", number(container.major_page_faults)),
            ])),
        ),
        (
            "rootfs",
            Some(known([
                ("time", time(container.at)),
                ("usedBytes", number(container.writable_layer_bytes)),
                ("inodesUsed", number(container.writable_layer_inodes)),
            ])),
        ),
    ])
}

/// One metric's lines; none if nobody has a figure.
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
    lines: Vec<(String, String)>,
}

impl<'a> Family<'a> {
    fn new(name: &'a str, kind: &'a str, help: &'a str) -> Family<'a> {
        Family { name, kind, help, lines: Vec::new() }
    }

    fn add(&mut self, labels: String, value: Option<String>) {
        self.lines.extend(value.map(|value| (labels, value)));
    }

    fn write(self, text: &mut String) {
        if self.lines.is_empty() {
            return;
        }
        // Writing into a String cannot fail.
        let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {}", self.name, self.help, self.name, self.kind);
        for (labels, value) in self.lines {
            let _ = writeln!(text, "{}{labels} {value}", self.name);
        }
    }
}

/// `{a="b"}`, with what Prometheus wants escaped.
fn labels(pairs: &[(&str, &str)]) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}

fn stamped(value: Option<String>, at: Timestamp) -> Option<String> {
    value.map(|value| format!("{value} {}", at.as_millisecond()))
}

fn resource_of(usage: &Usage) -> String {
    let mut text = String::new();
    let mut cpu = Family::new(
        "container_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
    );
    let mut memory = Family::new(
        "container_memory_working_set_bytes",
        "gauge",
        "[STABLE] Current working set of the container in bytes",
    );
    let mut start = Family::new(
        "container_start_time_seconds",
        "gauge",
        "[STABLE] Start time of the container since unix epoch in seconds",
    );
    let mut pod_cpu = Family::new(
        "pod_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
    );
    let mut pod_memory = Family::new(
        "pod_memory_working_set_bytes",
        "gauge",
        "[STABLE] Current working set of the pod in bytes",
    );
    for pod in &usage.pods {
        for container in &pod.containers {
            let names =
                labels(&[("container", &container.name), ("namespace", &pod.namespace), ("pod", &pod.name)]);
            cpu.add(names.clone(), stamped(container.cpu_core_nanoseconds.map(seconds), container.at));
            let bytes = container.memory_working_set_bytes.map(|bytes| bytes.to_string());
            memory.add(names.clone(), stamped(bytes, container.at));
            start.add(names, container.started_at.map(|at| at.as_second().to_string()));
        }
        let names = labels(&[("namespace", &pod.namespace), ("pod", &pod.name)]);
        let at = pod.containers.iter().map(|container| container.at).max().unwrap_or(usage.at);
        pod_cpu.add(names.clone(), stamped(pod.sum(|one| one.cpu_core_nanoseconds).map(seconds), at));
        let bytes = pod.sum(|one| one.memory_working_set_bytes).map(|bytes| bytes.to_string());
        pod_memory.add(names, stamped(bytes, at));
    }
    let mut node_cpu = Family::new(
        "node_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
    );
    node_cpu.add(String::new(), stamped(usage.node.cpu_core_nanoseconds.map(seconds), usage.at));
    let mut node_memory = Family::new(
        "node_memory_working_set_bytes",
        "gauge",
        "[STABLE] Current working set of the node in bytes",
    );
    let used = usage.node.memory_total_bytes.zip(usage.node.memory_available_bytes);
    let used = used.map(|(total, available)| total.saturating_sub(available).to_string());
    node_memory.add(String::new(), stamped(used, usage.at));
    let mut failed = Family::new(
        "resource_scrape_error",
        "gauge",
        "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
    );
    failed.add(String::new(), Some("0".to_owned()));
    for family in [cpu, memory, start, node_cpu, node_memory, pod_cpu, pod_memory, failed] {
        family.write(&mut text);
    }
    text
}

fn cadvisor_of(usage: &Usage) -> String {
    let mut text = String::new();
    let mut cpu = Family::new(
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed in seconds.",
    );
    let mut working_set =
        Family::new("container_memory_working_set_bytes", "gauge", "Current working set in bytes.");
    let mut used = Family::new(
        "container_memory_usage_bytes",
        "gauge",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
    );
    let mut rss = Family::new("container_memory_rss", "gauge", "Size of RSS in bytes.");
    let mut disk = Family::new(
        "container_fs_usage_bytes",
        "gauge",
        "Number of bytes that are consumed by the container on this filesystem.",
    );
    let mut start = Family::new(
        "container_start_time_seconds",
        "gauge",
        "Start time of the container since unix epoch in seconds.",
    );
    for pod in &usage.pods {
        for container in &pod.containers {
            let who = [
                ("container", container.name.as_str()),
                ("id", container.id.as_str()),
                ("image", container.image.as_str()),
                ("name", container.id.as_str()),
                ("namespace", pod.namespace.as_str()),
                ("pod", pod.name.as_str()),
            ];
            let names = labels(&who);
            let mut of_cpu = who.to_vec();
            of_cpu.insert(1, ("cpu", "total"));
            cpu.add(labels(&of_cpu), stamped(container.cpu_core_nanoseconds.map(seconds), container.at));
            let bytes = |value: Option<u64>| stamped(value.map(|bytes| bytes.to_string()), container.at);
            working_set.add(names.clone(), bytes(container.memory_working_set_bytes));
            used.add(names.clone(), bytes(container.memory_usage_bytes));
            rss.add(names.clone(), bytes(container.memory_rss_bytes));
            disk.add(names.clone(), bytes(container.writable_layer_bytes));
            start
                .add(names, stamped(container.started_at.map(|at| at.as_second().to_string()), container.at));
        }
    }
    let mut machine =
        Family::new("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.");
    machine.add(String::new(), usage.node.memory_total_bytes.map(|bytes| bytes.to_string()));
    for family in [cpu, disk, rss, used, working_set, start, machine] {
        family.write(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::NodeUsage;

    fn usage() -> Usage {
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        let container = ContainerUsage {
            name: "c".to_owned(),
            id: "abc".to_owned(),
            image: "web:1".to_owned(),
            at,
            cpu_core_nanoseconds: Some(1_500_000_000),
            memory_working_set_bytes: Some(4_096),
            ..ContainerUsage::default()
        };
        let pod = PodUsage {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            uid: "u".to_owned(),
            started_at: Some(at),
            containers: vec![container.clone(), ContainerUsage { name: "d\"e".to_owned(), ..container }],
        };
        let node = NodeUsage {
            memory_total_bytes: Some(100),
            memory_available_bytes: Some(40),
            ..Default::default()
        };
        Usage { at, node, pods: vec![pod] }
    }

    #[test]
    fn summary_has_sums_and_leaves_out_what_is_not_known() {
        let usage = usage();
        let summary = summary_of(&usage, "n1", usage.at);
        assert_eq!(summary["node"]["nodeName"], "n1");
        assert_eq!(summary["node"]["memory"]["workingSetBytes"], 60);
        assert_eq!(summary["node"].get("fs"), None);
        let pod = &summary["pods"][0];
        assert_eq!(pod["podRef"], json!({"name": "web", "namespace": "default", "uid": "u"}));
        assert_eq!(pod["cpu"]["usageCoreNanoSeconds"], 3_000_000_000_u64);
        assert_eq!(pod["memory"]["workingSetBytes"], 8_192);
        assert_eq!(pod["memory"].get("rssBytes"), None);
        assert_eq!(pod["containers"][0]["cpu"]["time"], "2023-11-14T22:13:20Z");
    }

    #[test]
    fn resource_metrics_are_what_the_metrics_server_reads() {
        let text = resource_of(&usage());
        let lines = [
            "container_cpu_usage_seconds_total{container=\"c\",namespace=\"default\",pod=\"web\"} 1.500000000 1700000000000",
            "container_memory_working_set_bytes{container=\"d\\\"e\",namespace=\"default\",pod=\"web\"} 4096 1700000000000",
            "pod_cpu_usage_seconds_total{namespace=\"default\",pod=\"web\"} 3.000000000 1700000000000",
            "node_memory_working_set_bytes 60 1700000000000",
            "resource_scrape_error 0",
        ];
        for line in lines {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
        assert!(!text.contains("node_cpu_usage_seconds_total"), "a figure that nobody has is left out");
    }

    #[test]
    fn cadvisor_metrics_carry_the_labels_that_dashboards_join_on() {
        let text = cadvisor_of(&usage());
        let line = "container_cpu_usage_seconds_total{container=\"c\",cpu=\"total\",id=\"abc\",image=\"web:1\",name=\"abc\",namespace=\"default\",pod=\"web\"} 1.500000000 1700000000000";
        assert!(text.lines().any(|found| found == line), "{text}");
        assert!(text.contains("machine_memory_bytes 100"));
    }
}
