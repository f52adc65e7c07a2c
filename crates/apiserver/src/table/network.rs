//! Rows of Services, Endpoints and EndpointSlices.
//!
//! Upstream: `printService`, `formatEndpoints`, `printEndpointSlice` in `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{NONE, age, integer, joined, labels, list, name, or_none, text};

/// Endpoints that a cell shows before it says how many more there are.
const SHOWN_MAX: usize = 3;
/// Where a narrow table ends the addresses of a load balancer.
const BALANCER_CHARS_MAX: usize = 16;

pub(super) fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        text(object, "/spec/type").into(),
        or_none(text(object, "/spec/clusterIP")).into(),
        external(object).into(),
        ports(object).into(),
        age(object, now),
        labels(object.pointer("/spec/selector")).into(),
    ]
}

fn external(object: &Value) -> String {
    let texts = |pointer: &str| joined(list(object, pointer).iter().filter_map(Value::as_str), ",");
    let outside = texts("/spec/externalIPs");
    match text(object, "/spec/type") {
        "LoadBalancer" => {
            let ingress = list(object, "/status/loadBalancer/ingress").iter().filter_map(|point| {
                let (ip, host) = (text(point, "/ip"), text(point, "/hostname"));
                [ip, host].into_iter().find(|address| !address.is_empty())
            });
            let mut balanced = joined(ingress, ",");
            if balanced.chars().count() > BALANCER_CHARS_MAX {
                balanced = balanced.chars().take(BALANCER_CHARS_MAX - 3).chain("...".chars()).collect();
            }
            match (balanced.is_empty(), outside.is_empty()) {
                (true, true) => "<pending>".to_owned(),
                (true, false) => outside,
                (false, true) => balanced,
                (false, false) => format!("{balanced},{outside}"),
            }
        }
        "ExternalName" => text(object, "/spec/externalName").to_owned(),
        _ => or_none(&outside).to_owned(),
    }
}

fn ports(object: &Value) -> String {
    let ports: Vec<String> = list(object, "/spec/ports")
        .iter()
        .map(|port| {
            let (number, protocol) = (integer(port, "/port"), text(port, "/protocol"));
            match integer(port, "/nodePort") {
                0 => format!("{number}/{protocol}"),
                outside => format!("{number}:{outside}/{protocol}"),
            }
        })
        .collect();
    or_none(&ports.join(",")).to_owned()
}

pub(super) fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut shown = Vec::new();
    let mut count = 0;
    for subset in list(object, "/subsets") {
        let addresses = list(subset, "/addresses");
        let ports = list(subset, "/ports");
        if ports.is_empty() {
            // Endpoints without ports: bare addresses.
            count += addresses.len();
            shown.extend(addresses.iter().map(|address| text(address, "/ip").to_owned()));
            continue;
        }
        for port in ports {
            count += addresses.len();
            let number = integer(port, "/port");
            shown.extend(addresses.iter().map(|address| with_port(text(address, "/ip"), number)));
        }
    }
    vec![name(object), first_of(&shown, count).into(), age(object, now)]
}

fn with_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// The first few, and how many more there are.
fn first_of(texts: &[String], count: usize) -> String {
    if texts.is_empty() {
        return NONE.to_owned();
    }
    let shown = texts[..texts.len().min(SHOWN_MAX)].join(",");
    if count > SHOWN_MAX { format!("{shown} + {} more...", count - SHOWN_MAX) } else { shown }
}

pub(super) fn endpoint_slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = list(object, "/ports")
        .iter()
        .map(|port| match port.pointer("/port").and_then(Value::as_i64) {
            Some(number) => number.to_string(),
            None => "*".to_owned(),
        })
        .collect();
    let addresses: Vec<String> = list(object, "/endpoints")
        .iter()
        .flat_map(|endpoint| list(endpoint, "/addresses"))
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    // COMPAT(kubectl): no ports is `<unset>`, no endpoints as well.
    let unset = |text: String| if text == NONE { "<unset>".to_owned() } else { text };
    vec![
        name(object),
        text(object, "/addressType").into(),
        unset(first_of(&ports, ports.len())).into(),
        unset(first_of(&addresses, addresses.len())).into(),
        age(object, now),
    ]
}
