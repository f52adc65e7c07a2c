//! The Service `default/kubernetes`, by which Pods find this server, and where it leads.
//!
//! The Service is made where it is missing. Its Endpoints and EndpointSlice name every server of the store that is alive:
//! each renews a line of its own with its address and the time, and all lines that are fresh make up the list. Upstream:
//! `pkg/controlplane/controller/kubernetesservice`, `pkg/controlplane/reconcilers/lease.go`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use api::scheme::Resource;
use api::well_known::namespace;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use process::Shutdown;
use store::{Change, Expect, Write};

use crate::access::User;
use crate::body;
use crate::call::Call;
use crate::error::ApiError;
use crate::request::{Query, Target};
use crate::server::Inner;
use crate::window::PREFIX;

pub const NAME: &str = "kubernetes";
/// Where the servers' lines lie, among the store's keys.
const PLACE: &str = "masterleases/";
/// How often a line is renewed and the list looked at: upstream's interval.
const INTERVAL: Duration = Duration::from_secs(10);
/// A line that was not renewed for so long is a server's that has gone: upstream's lease.
const AGE_SECONDS_MAX: i64 = 15;
/// Tries to write the list while other servers write it too; the next round comes anyway.
const PUT_TRIES_MAX: usize = 3;
/// Times that the list is written while servers come and go; the next round comes anyway.
const PUBLISH_TRIES_MAX: usize = 8;
/// Port of the Service: https.
const SERVICE_PORT: i32 = 443;
/// Where a server listens that says nothing of it.
const SECURE_PORT: u16 = 6443;

/// The Service as it is made: at the range's first address, so that certificates can name it.
pub fn service(server: &Inner) -> Service {
    let port = server.config.advertised.map_or(SECURE_PORT, |address| address.port());
    let range = server.config.service_range;
    let address = range.first().to_string();
    Service {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), labels: Some(labels()), ..ObjectMeta::default() },
        spec: Some(ServiceSpec {
            cluster_ip: Some(address.clone()),
            cluster_ips: Some(vec![address]),
            ip_family_policy: Some("SingleStack".to_owned()),
            ports: Some(vec![ServicePort {
                name: Some("https".to_owned()),
                protocol: Some("TCP".to_owned()),
                port: SERVICE_PORT,
                target_port: Some(IntOrString::Int(i32::from(port))),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn labels() -> std::collections::BTreeMap<String, String> {
    [("component", "apiserver"), ("provider", "kubernetes")]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Keeps the own line and the list until the server ends, and then takes the line away.
pub async fn run(server: Arc<Inner>, shutdown: Shutdown) {
    let Some(own) = server.config.advertised.filter(|address| !address.ip().is_loopback()) else { return };
    loop {
        if let Err(error) = renew(&server, own.ip()).await {
            tracing::warn!(%error, "the server's own address could not be made known");
        }
        publish(&server, own).await;
        tokio::select! {
            // Dropping the sleep loses nothing.
            () = server.config.clock.sleep(INTERVAL) => {}
            () = shutdown.cancelled() => break,
        }
    }
    let write = Write { key: line(own.ip()), expect: Expect::Anything, change: Change::Delete };
    // A store that is gone keeps the line until it is old.
    let _ = server.store.write(write).await;
}

fn line(ip: IpAddr) -> String {
    format!("{PREFIX}{PLACE}{ip}")
}

async fn renew(server: &Inner, own: IpAddr) -> Result<(), store::WriteError> {
    let now = server.config.clock.now().as_second().to_string();
    let change = Change::Put(Bytes::from(now));
    server.store.write(Write { key: line(own), expect: Expect::Anything, change }).await.map(drop)
}

/// The addresses of all servers whose lines are fresh.
async fn alive(server: &Inner, own: IpAddr) -> Result<BTreeSet<IpAddr>, store::ReadError> {
    let prefix = format!("{PREFIX}{PLACE}");
    let now = server.config.clock.now().as_second();
    let lines = server.store.scan(&prefix, None, None).await?.entries;
    let mut found = BTreeSet::from([own]);
    for entry in lines {
        let renewed = std::str::from_utf8(&entry.value).ok().and_then(|text| text.parse::<i64>().ok());
        let fresh = renewed.is_some_and(|at| now - at <= AGE_SECONDS_MAX);
        if fresh && let Some(ip) = entry.key.strip_prefix(&prefix).and_then(|text| text.parse().ok()) {
            found.insert(ip);
        }
    }
    Ok(found)
}

/// Writes the list until the lines, read after the write, are those that it was made of: whichever of two servers writes
/// last has seen the other's line.
async fn publish(server: &Arc<Inner>, own: SocketAddr) {
    let mut written = None;
    for _ in 0..PUBLISH_TRIES_MAX {
        let addresses = match alive(server, own.ip()).await {
            Ok(addresses) => addresses,
            Err(error) => {
                tracing::warn!(%error, "the servers' lines could not be read");
                return;
            }
        };
        if written.as_ref() == Some(&addresses) {
            return;
        }
        write(server, own, &addresses).await;
        written = Some(addresses);
    }
}

async fn write(server: &Arc<Inner>, own: SocketAddr, addresses: &BTreeSet<IpAddr>) {
    let same_family: Vec<IpAddr> =
        addresses.iter().copied().filter(|ip| ip.is_ipv4() == own.ip().is_ipv4()).collect();
    let port = i32::from(own.port());
    let metadata = |more: &[(&str, &str)]| {
        let more = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace::DEFAULT.to_owned()),
            labels: Some(more.collect()),
            ..ObjectMeta::default()
        }
    };
    let endpoints = Endpoints {
        metadata: metadata(&[("endpointslice.kubernetes.io/skip-mirror", "true")]),
        subsets: Some(vec![EndpointSubset {
            addresses: Some(
                same_family
                    .iter()
                    .map(|ip| EndpointAddress { ip: ip.to_string(), ..EndpointAddress::default() })
                    .collect(),
            ),
            ports: Some(vec![EndpointPort {
                name: Some("https".to_owned()),
                port,
                protocol: Some("TCP".to_owned()),
                ..EndpointPort::default()
            }]),
            ..EndpointSubset::default()
        }]),
    };
    put(server, ("", "v1", "endpoints"), &endpoints).await;
    let slice = discovery::EndpointSlice {
        metadata: metadata(&[("kubernetes.io/service-name", NAME)]),
        address_type: if own.ip().is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
        endpoints: same_family
            .iter()
            .map(|ip| discovery::Endpoint {
                addresses: vec![ip.to_string()],
                conditions: Some(discovery::EndpointConditions { ready: Some(true), ..Default::default() }),
                ..discovery::Endpoint::default()
            })
            .collect(),
        ports: Some(vec![discovery::EndpointPort {
            name: Some("https".to_owned()),
            port: Some(port),
            protocol: Some("TCP".to_owned()),
            ..discovery::EndpointPort::default()
        }]),
    };
    put(server, ("discovery.k8s.io", "v1", "endpointslices"), &slice).await;
}

/// Writes an object the way a client would, made or replaced; what is as it was stays untouched.
async fn put<T: serde::Serialize>(server: &Arc<Inner>, resource: (&str, &str, &str), object: &T) {
    let (group, version, plural) = resource;
    let Some(resource) = api::scheme::find(group, version, plural) else { return };
    let Ok(json) = serde_json::to_vec(object) else { return };
    let mut answered = Ok(());
    for _ in 0..PUT_TRIES_MAX {
        answered = put_once(server, resource, json.clone()).await;
        match &answered {
            // Another server was faster: what it wrote is looked at.
            Err(error) if error.code() == StatusCode::CONFLICT => {}
            Ok(()) | Err(_) => break,
        }
    }
    if let Err(error) = answered {
        report(resource.plural, &error);
    }
}

async fn put_once(server: &Arc<Inner>, resource: &'static Resource, json: Vec<u8>) -> Result<(), ApiError> {
    let plural = resource.plural;
    // A store that is behind makes the write fail, which is told.
    let _ = server.windows.fresh().await;
    let known = server.windows.window(plural);
    let known = known.and_then(|window| window.get(&format!("{}/{NAME}", namespace::DEFAULT))).is_some();
    let (verb, method) = if known { ("update", Method::PUT) } else { ("create", Method::POST) };
    let call = Call {
        server: Arc::clone(server),
        resource,
        target: Target {
            verb,
            group: resource.group.to_owned(),
            version: resource.version.to_owned(),
            namespace: namespace::DEFAULT.to_owned(),
            resource: plural.to_owned(),
            name: if known { NAME.to_owned() } else { String::new() },
            ..Target::default()
        },
        query: Query::default(),
        headers: HeaderMap::new(),
        user: User::apiserver(),
        warnings: Arc::default(),
    };
    let mut request = http::Request::new(body::full(json));
    *request.method_mut() = method;
    call.answer(request).await.map(drop)
}

fn report(plural: &str, error: &ApiError) {
    // Another server was faster, or is at it: the next round sees what came of it.
    if error.code() == StatusCode::CONFLICT {
        tracing::debug!(%error, plural, "another server writes where this one is to be found");
    } else {
        tracing::warn!(%error, plural, "where this server is to be found could not be written");
    }
}
