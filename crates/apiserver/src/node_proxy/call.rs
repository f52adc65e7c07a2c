//! Which question to the agent: its path, and the client's query in the kubelet's terms.
//!
//! The Pod API and the kubelet's API name the same streams differently (`stdin=true` and `input=1`); the
//! translation is upstream's `streamParams` and `LogLocation` (pkg/registry/core/pod/strategy.go).

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What may stand in a path segment as it is: names of objects and containers always may.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The log options that are passed on as they are.
const LOG_OPTIONS: [&str; 7] =
    ["limitBytes", "sinceSeconds", "sinceTime", "stream", "tailLines", "follow", "previous"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeCall {
    Logs {
        namespace: String,
        pod: String,
        container: String,
    },
    Exec {
        namespace: String,
        pod: String,
        container: String,
    },
    Attach {
        namespace: String,
        pod: String,
        container: String,
    },
    PortForward {
        namespace: String,
        pod: String,
    },
    /// Under `proxy`: a request target that is passed on as it is, to an agent or to somebody else.
    Plain {
        target: String,
        is_for_agent: bool,
    },
}

impl NodeCall {
    /// It has no answer but an upgrade.
    pub fn is_stream(&self) -> bool {
        match self {
            NodeCall::Exec { .. } | NodeCall::Attach { .. } | NodeCall::PortForward { .. } => true,
            NodeCall::Logs { .. } | NodeCall::Plain { .. } => false,
        }
    }

    pub fn is_for_agent(&self) -> bool {
        match self {
            NodeCall::Plain { is_for_agent, .. } => *is_for_agent,
            NodeCall::Exec { .. }
            | NodeCall::Attach { .. }
            | NodeCall::PortForward { .. }
            | NodeCall::Logs { .. } => true,
        }
    }

    /// How long the answer may keep waiting: what is proxied may take its time, as long as the client waits.
    pub fn answer_timeout(&self) -> Option<Duration> {
        match self {
            NodeCall::Plain { .. } => None,
            NodeCall::Exec { .. }
            | NodeCall::Attach { .. }
            | NodeCall::PortForward { .. }
            | NodeCall::Logs { .. } => Some(super::ANSWER_TIMEOUT),
        }
    }

    /// The agent's request target for a client's `query` on the Pod's subresource.
    pub fn path_and_query(&self, query: &str) -> String {
        let given = || form_urlencoded::parse(query.as_bytes());
        let mut asked = form_urlencoded::Serializer::new(String::new());
        let path = match self {
            NodeCall::Logs { namespace, pod, container } => {
                for (name, value) in given() {
                    match name.as_ref() {
                        "timestamps" | "follow" | "previous" if !is_true(&value) => {}
                        "timestamps" | "follow" | "previous" => {
                            asked.append_pair(&name, "true");
                        }
                        name if LOG_OPTIONS.contains(&name) => {
                            asked.append_pair(name, &value);
                        }
                        _ => {}
                    }
                }
                path("containerLogs", &[namespace, pod, container])
            }
            NodeCall::Exec { namespace, pod, container } => {
                streams(given(), &mut asked);
                for (_, word) in given().filter(|(name, _)| name == "command") {
                    asked.append_pair("command", &word);
                }
                path("exec", &[namespace, pod, container])
            }
            NodeCall::Attach { namespace, pod, container } => {
                streams(given(), &mut asked);
                path("attach", &[namespace, pod, container])
            }
            NodeCall::PortForward { namespace, pod } => {
                for (_, ports) in given().filter(|(name, _)| name == "ports") {
                    for port in ports.split(',') {
                        asked.append_pair("port", port);
                    }
                }
                path("portForward", &[namespace, pod])
            }
            NodeCall::Plain { target, .. } => return target.clone(),
        };
        match asked.finish() {
            asked if asked.is_empty() => path,
            asked => format!("{path}?{asked}"),
        }
    }
}

fn streams<'q>(
    given: impl Iterator<Item = (std::borrow::Cow<'q, str>, std::borrow::Cow<'q, str>)>,
    asked: &mut form_urlencoded::Serializer<'_, String>,
) {
    for (name, value) in given {
        let name = match name.as_ref() {
            "stdin" => "input",
            "stdout" => "output",
            "stderr" => "error",
            "tty" => "tty",
            _ => continue,
        };
        if is_true(&value) {
            asked.append_pair(name, "1");
        }
    }
}

/// Upstream's reading of a flag in a query: everything but these two is yes.
pub(super) fn is_true(value: &str) -> bool {
    value != "0" && !value.eq_ignore_ascii_case("false")
}

fn path(verb: &str, segments: &[&String]) -> String {
    let mut path = format!("/{verb}");
    for segment in segments {
        path.push('/');
        path.extend(utf8_percent_encode(segment, SEGMENT));
    }
    path
}
