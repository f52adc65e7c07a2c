//! exec, attach and port-forward: handed over to the runtime's streaming server.
//!
//! The caller's upgrade request goes there as it is (SPDY or WebSocket); after the answer bytes go through both ways. A
//! stream ends with either side or with the agent; silent ones are ended by the runtime.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::Response;
use cri::{ContainerId, ContainerState, Filter, SandboxState, Streams};
use hyper_util::rt::TokioIo;
use podmachine::labels;
use process::Tasks;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{At, ContainerPath, PodPath, Refusal, Served, check_uid, find_containers, find_pod};
use crate::context::NodeContext;

/// Streams open at once; each holds two sockets and two buffers.
const STREAMS_MAX: usize = 1_024;

/// The open streams: how many there may be, and who ends them.
#[derive(Clone)]
pub(super) struct OpenStreams {
    slots: Arc<Semaphore>,
    tasks: Tasks,
}

impl OpenStreams {
    pub fn new(tasks: Tasks) -> OpenStreams {
        OpenStreams { slots: Arc::new(Semaphore::new(STREAMS_MAX)), tasks }
    }
}

pub async fn exec(
    State(served): State<Served>,
    Path(path): At<ContainerPath>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = Asked::parse(query.as_deref().unwrap_or_default());
    if asked.command.is_empty() {
        return Err(Refusal::bad_request("you must specify at least 1 command"));
    }
    let id = running_container(&served.context, &path).await?;
    let url = served.context.runtime.exec_url(&id, &asked.command, asked.streams()?).await;
    tunnel(&served.streams, &url.map_err(|error| Refusal::runtime(&error))?, request).await
}

pub async fn attach(
    State(served): State<Served>,
    Path(path): At<ContainerPath>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = Asked::parse(query.as_deref().unwrap_or_default());
    let id = running_container(&served.context, &path).await?;
    let url = served.context.runtime.attach_url(&id, asked.streams()?).await;
    tunnel(&served.streams, &url.map_err(|error| Refusal::runtime(&error))?, request).await
}

pub async fn port_forward(
    State(served): State<Served>,
    Path(path): At<PodPath>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let context = &served.context;
    let row = find_pod(context, &path.namespace, &path.pod)?;
    check_uid(&row, path.uid.as_deref())?;
    let uid = row.pod.metadata.uid.as_deref().unwrap_or_default();
    let listed = context.runtime.list_sandboxes(&Filter::label(labels::POD_UID, uid)).await;
    let sandboxes = listed.map_err(|error| Refusal::runtime(&error))?;
    let ready = sandboxes.into_iter().filter(|sandbox| sandbox.state == SandboxState::Ready);
    let Some(sandbox) = ready.max_by_key(|sandbox| sandbox.attempt) else {
        return Err(Refusal::not_found(format!(
            "pod \"{}_{}\" has no running sandbox",
            path.pod, path.namespace
        )));
    };
    let ports: Vec<u16> = form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes())
        .filter(|(name, _)| matches!(&**name, "port" | "ports"))
        .flat_map(|(_, value)| value.split(',').filter_map(|port| port.parse().ok()).collect::<Vec<u16>>())
        .collect();
    let url = context.runtime.port_forward_url(&sandbox.id, &ports).await;
    tunnel(&served.streams, &url.map_err(|error| Refusal::runtime(&error))?, request).await
}

async fn running_container(context: &NodeContext, path: &ContainerPath) -> Result<ContainerId, Refusal> {
    let row = find_pod(context, &path.namespace, &path.pod)?;
    check_uid(&row, path.uid.as_deref())?;
    let found = find_containers(context, &row, &path.container).await?;
    let running = found.into_iter().find(|container| container.state == ContainerState::Running);
    running
        .map(|container| container.id)
        .ok_or_else(|| Refusal::internal(format!("container not found (\"{}\")", path.container)))
}

/// `command=…&command=…&input=1&output=1&error=1&tty=1`, and the names that the API uses.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Asked {
    fn parse(query: &str) -> Asked {
        let mut asked = Asked::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let flag = matches!(&*value, "1" | "true");
            match &*name {
                "command" => asked.command.push(value.into_owned()),
                "input" | "stdin" => asked.stdin = flag,
                "output" | "stdout" => asked.stdout = flag,
                "error" | "stderr" => asked.stderr = flag,
                "tty" => asked.tty = flag,
                _ => {}
            }
        }
        asked
    }

    fn streams(&self) -> Result<Streams, Refusal> {
        if !(self.stdin || self.stdout || self.stderr) {
            return Err(Refusal::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
        }
        // A terminal has one output.
        let stderr = self.stderr && !self.tty;
        Ok(Streams { stdin: self.stdin, stdout: self.stdout, stderr, tty: self.tty })
    }
}

/// Sends the caller's request to `url` and, when that is upgraded, bytes both ways until one side is done.
async fn tunnel(streams: &OpenStreams, url: &str, mut request: Request) -> Result<Response, Refusal> {
    let Ok(slot) = Arc::clone(&streams.slots).try_acquire_owned() else {
        return Err(Refusal(StatusCode::TOO_MANY_REQUESTS, "too many streams are open".to_owned()));
    };
    let failed = |text: String| Refusal(StatusCode::INTERNAL_SERVER_ERROR, text);
    let target: Uri =
        url.parse().map_err(|error| failed(format!("the runtime's stream URL {url:?}: {error}")))?;
    let authority =
        target.authority().ok_or_else(|| failed(format!("the runtime's stream URL {url:?} has no host")))?;
    let address = (authority.host(), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| failed(format!("connect to the runtime's stream server {authority}: {error}")))?;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(format!("talk to the runtime's stream server: {error}")))?;
    // Ends with the stream, whose two ends are held below.
    tokio::spawn(async move {
        let _ = connection.with_upgrades().await;
    });

    let upgrade = hyper::upgrade::on(&mut request);
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    let mut onward = http::Request::builder().method(request.method()).uri(path);
    if let Some(headers) = onward.headers_mut() {
        headers.extend(request.headers().clone());
        headers.remove(header::AUTHORIZATION);
        if let Ok(host) = authority.as_str().parse() {
            headers.insert(header::HOST, host);
        }
    }
    let onward = onward.body(Body::empty()).map_err(|error| failed(error.to_string()))?;
    let mut answer = sender.send_request(onward).await.map_err(|error| failed(error.to_string()))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(answer.map(Body::new));
    }
    let far = hyper::upgrade::on(&mut answer);
    let stop = streams.tasks.shutdown_signal().clone();
    streams.tasks.spawn("stream of a container", async move {
        let _slot = slot;
        let (Ok(near), Ok(far)) = tokio::join!(upgrade, far) else { return };
        let (mut near, mut far) = (TokioIo::new(near), TokioIo::new(far));
        tokio::select! {
            // What is under way is lost with the connection, as the caller sees.
            () = stop.cancelled() => {}
            // Either side may just go away: that is how a session ends.
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        }
    });
    let mut response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    if let Some(headers) = response.headers_mut() {
        headers.extend(answer.headers().clone());
    }
    response.body(Body::empty()).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_has_one_output_and_no_streams_are_refused() {
        let asked = Asked::parse("command=sh&command=-c&command=echo+a%26b&input=1&output=1&error=1&tty=1");
        assert_eq!(asked.command, ["sh", "-c", "echo a&b"]);
        let streams = asked.streams().unwrap();
        assert!(streams.stdin && streams.stdout && streams.tty && !streams.stderr);
        assert!(Asked::parse("command=sh").streams().is_err());
    }
}
