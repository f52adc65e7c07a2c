//! The agent's own HTTPS API: logs, exec, attach, port-forward, Pods, health, metrics, usage, configuration.
//!
//! Upstream: pkg/kubelet/server. Who calls must show a client certificate of the CA that was given, of a user in
//! `system:masters` or of the API server's own kubelet client: a node's certificate opens nothing here. Streams are not
//! understood: the upgrade is answered by the runtime's streaming server, and bytes go through both ways.

mod caller;
mod configz;
mod container_logs;
mod listener;
mod stats;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use cri::{Container, Filter};
use k8s_openapi::List;
use k8s_openapi::api::core::v1::Pod;
use podmachine::labels;
use process::{Metrics, Tasks};

use crate::board::Row;
use crate::config::HttpConfig;
use crate::context::NodeContext;
use crate::usage::Rates;

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("read the {what}")]
    Tls {
        what: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What every handler shares.
#[derive(Clone)]
struct Served {
    context: Arc<NodeContext>,
    metrics: Metrics,
    streams: stream::OpenStreams,
    rates: Arc<Rates>,
}

pub use listener::ServingCertificate;

/// Starts serving; where it listens, and its certificate, which may be replaced.
pub async fn start(
    config: &HttpConfig,
    context: Arc<NodeContext>,
    metrics: Metrics,
    tasks: &Tasks,
) -> Result<(SocketAddr, ServingCertificate), HttpError> {
    listener::start(
        config,
        router(Served {
            context,
            metrics,
            streams: stream::OpenStreams::new(tasks.clone()),
            rates: Arc::default(),
        }),
        tasks,
    )
    .await
}

fn router(served: Served) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/healthz/{check}", get(|| async { "ok" }))
        .route("/metrics", get(show_metrics))
        .route("/metrics/resource", get(stats::resource))
        .route("/metrics/cadvisor", get(stats::cadvisor))
        .route("/stats/summary", get(stats::summary))
        .route("/stats/summary/", get(stats::summary))
        .route("/configz", get(configz::show))
        .route("/pods", get(list_pods))
        .route("/runningpods/", get(running_pods))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(container_logs::serve))
        .route("/exec/{namespace}/{pod}/{container}", any(stream::exec))
        .route("/exec/{namespace}/{pod}/{uid}/{container}", any(stream::exec))
        .route("/attach/{namespace}/{pod}/{container}", any(stream::attach))
        .route("/attach/{namespace}/{pod}/{uid}/{container}", any(stream::attach))
        .route("/portForward/{namespace}/{pod}", any(stream::port_forward))
        .route("/portForward/{namespace}/{pod}/{uid}", any(stream::port_forward))
        .with_state(served)
}

/// A plain-text refusal, as the kubelet's.
#[derive(Debug)]
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

impl Refusal {
    fn not_found(text: impl Into<String>) -> Refusal {
        Refusal(StatusCode::NOT_FOUND, text.into())
    }

    fn bad_request(text: impl Into<String>) -> Refusal {
        Refusal(StatusCode::BAD_REQUEST, text.into())
    }

    fn internal(text: impl Into<String>) -> Refusal {
        Refusal(StatusCode::INTERNAL_SERVER_ERROR, text.into())
    }

    fn runtime(error: &cri::Error) -> Refusal {
        Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

fn find_pod(context: &NodeContext, namespace: &str, name: &str) -> Result<Row, Refusal> {
    let refuse = || Refusal::not_found(format!("pod \"{name}_{namespace}\" does not exist"));
    context.board.by_name(namespace, name).ok_or_else(refuse)
}

/// The newest container of that name in the Pod, as the runtime has it.
async fn find_containers(context: &NodeContext, row: &Row, name: &str) -> Result<Vec<Container>, Refusal> {
    let uid = row.pod.metadata.uid.as_deref().unwrap_or_default();
    let listed = context.runtime.list_containers(&Filter::label(labels::POD_UID, uid)).await;
    let mut found = listed.map_err(|error| Refusal::runtime(&error))?;
    found.retain(|container| container.name == name);
    found.sort_by_key(|container| std::cmp::Reverse((container.attempt, container.created_at)));
    Ok(found)
}

async fn show_metrics(State(served): State<Served>) -> impl IntoResponse {
    ([("content-type", process::metrics::CONTENT_TYPE)], served.metrics.encode())
}

async fn list_pods(State(served): State<Served>) -> impl IntoResponse {
    let items: Vec<Pod> = served.context.board.all().iter().map(Row::with_status).collect();
    axum::Json(List { items, metadata: Default::default() })
}

async fn running_pods(State(served): State<Served>) -> impl IntoResponse {
    let rows = served.context.board.all();
    let running = rows.iter().filter(|row| {
        let statuses = row.status.container_statuses.iter().flatten();
        statuses.into_iter().any(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()))
    });
    let items: Vec<Pod> = running.map(Row::with_status).collect();
    axum::Json(List { items, metadata: Default::default() })
}

/// Path parameters of exec and attach; the uid is optional in the path and only checked.
#[derive(Debug, serde::Deserialize)]
struct ContainerPath {
    namespace: String,
    pod: String,
    uid: Option<String>,
    container: String,
}

#[derive(Debug, serde::Deserialize)]
struct PodPath {
    namespace: String,
    pod: String,
    uid: Option<String>,
}

fn check_uid(row: &Row, uid: Option<&str>) -> Result<(), Refusal> {
    let known = row.pod.metadata.uid.as_deref().unwrap_or_default();
    match uid {
        Some(uid) if uid != known => Err(Refusal::not_found(format!("pod with uid {uid:?} does not exist"))),
        _ => Ok(()),
    }
}

type At<T> = Path<T>;
