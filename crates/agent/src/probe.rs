//! Carrying out one probe: exec, HTTP, TCP, gRPC. When to probe and what follows is the machine's matter.

mod grpc;
mod http;

use std::time::Duration;

use cri::ContainerId;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use podmachine::{Outcome, ProbeTarget};
use tokio::net::TcpStream;

pub use self::http::{HttpTarget, http_get};
use crate::context::NodeContext;

/// How much of a failing probe's output an Event shows.
const OUTPUT_BYTES_MAX: usize = 1024;

/// Runs a probe once.
pub async fn run(context: &NodeContext, pod: &Pod, target: &ProbeTarget) -> Outcome {
    let probe = &target.probe;
    let limit = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1).max(1)).unwrap_or(1));
    if let Some(exec) = &probe.exec {
        let command = exec.command.clone().unwrap_or_default();
        return match context.runtime.exec_sync(&ContainerId::new(&target.container_id), &command, limit).await
        {
            Ok(output) if output.exit_code == 0 => Outcome::ProbeSucceeded { warning: None },
            Ok(output) => {
                let mut text = output.stdout;
                text.extend(output.stderr);
                Outcome::ProbeFailed { output: shown(&text) }
            }
            Err(cri::Error::Timeout { .. }) => {
                let output = format!(
                    "command timed out: {:?} timed out after {}s",
                    command.join(" "),
                    limit.as_secs()
                );
                Outcome::ProbeFailed { output }
            }
            // Nothing was learned about the container.
            Err(error) => Outcome::ProbeUndecided { output: error.to_string() },
        };
    }
    if let Some(get) = &probe.http_get {
        let wanted = match HttpTarget::of(get, pod, &target.container, &target.pod_ip) {
            Ok(wanted) => wanted,
            Err(output) => return Outcome::ProbeUndecided { output },
        };
        return match http_get(&wanted, limit).await {
            Ok(answer) if answer.status >= 300 && answer.status < 400 && answer.leaves_host => {
                Outcome::ProbeSucceeded { warning: Some("Probe terminated redirects".to_owned()) }
            }
            Ok(answer) if (200..400).contains(&answer.status) => Outcome::ProbeSucceeded { warning: None },
            Ok(answer) => Outcome::ProbeFailed {
                output: format!("HTTP probe failed with statuscode: {}", answer.status),
            },
            Err(output) => Outcome::ProbeFailed { output },
        };
    }
    if let Some(socket) = &probe.tcp_socket {
        let host =
            socket.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| target.pod_ip.clone());
        let port = match port(&socket.port, pod, &target.container) {
            Ok(port) => port,
            Err(output) => return Outcome::ProbeUndecided { output },
        };
        return match tokio::time::timeout(limit, TcpStream::connect((host.as_str(), port))).await {
            Ok(Ok(_)) => Outcome::ProbeSucceeded { warning: None },
            Ok(Err(error)) => Outcome::ProbeFailed { output: format!("dial tcp {host}:{port}: {error}") },
            Err(_) => Outcome::ProbeFailed { output: format!("dial tcp {host}:{port}: i/o timeout") },
        };
    }
    if let Some(wanted) = &probe.grpc {
        let Ok(port) = u16::try_from(wanted.port) else {
            return Outcome::ProbeUndecided { output: format!("invalid port {}", wanted.port) };
        };
        let service = wanted.service.as_deref().unwrap_or_default();
        return match tokio::time::timeout(limit, grpc::is_serving(&target.pod_ip, port, service)).await {
            Ok(Ok(())) => Outcome::ProbeSucceeded { warning: None },
            Ok(Err(output)) => Outcome::ProbeFailed { output },
            Err(_) => Outcome::ProbeFailed {
                output: format!("timeout: health rpc did not complete within {}s", limit.as_secs()),
            },
        };
    }
    Outcome::ProbeUndecided { output: "missing probe handler".to_owned() }
}

/// A port by number, or by the name that a container port has.
pub fn port(wanted: &IntOrString, pod: &Pod, container: &str) -> Result<u16, String> {
    let number = match wanted {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => pod
            .spec
            .iter()
            .flat_map(api::pod::all_containers)
            .filter(|candidate| candidate.name == container)
            .flat_map(|found| found.ports.iter().flatten())
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)
            .or_else(|| name.parse().ok()),
    };
    number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0).ok_or_else(
        || match wanted {
            IntOrString::Int(number) => format!("invalid port number: {number}"),
            IntOrString::String(name) => format!("couldn't find port: {name:?}"),
        },
    )
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(OUTPUT_BYTES_MAX)]).into_owned();
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_by_name_and_nonsense_is_refused() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {"containers": [
            {"name": "a", "ports": [{"name": "web", "containerPort": 8080}]}, {"name": "b"}]}}))
        .unwrap();
        let name = |name: &str| IntOrString::String(name.to_owned());
        assert_eq!(port(&name("web"), &pod, "a"), Ok(8080));
        assert_eq!(port(&name("81"), &pod, "a"), Ok(81));
        assert!(port(&name("web"), &pod, "b").is_err());
        assert!(port(&IntOrString::Int(0), &pod, "a").is_err());
        assert!(port(&IntOrString::Int(70_000), &pod, "a").is_err());
    }
}
