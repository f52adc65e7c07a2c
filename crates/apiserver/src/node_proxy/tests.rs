//! The proxy between a real HTTP client and an agent on TLS that streams and echoes.

mod channels;
mod shell;
mod socket;
mod tunnels;

use std::convert::Infallible;
use std::net::IpAddr;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::access::authn;
use crate::pki::{Pki, ServingNames, tls};

const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct World {
    /// Where the front listens, a plain HTTP server that forwards everything.
    front: std::net::SocketAddr,
    shutdown: Shutdown,
    proxy: NodeProxy,
    _dir: tempfile::TempDir,
}

fn call() -> NodeCall {
    NodeCall::Exec { namespace: "default".into(), pod: "p".into(), container: "c".into() }
}

fn pki() -> (Pki, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let names = ServingNames::api_server(LOCALHOST, "here");
    (Pki::open(dir.path(), &names, jiff::Timestamp::now()).unwrap(), dir)
}

/// What the agent does: echoes after an upgrade, or answers with what it was asked, in pieces.
async fn agent(mut request: Request<Incoming>, user: String) -> Result<Response<Body>, Infallible> {
    if let Some(protocol) = request.headers().get(header::UPGRADE).cloned() {
        if request.uri().path().contains("refused") {
            let mut refused = Response::new(body::full("no such container"));
            *refused.status_mut() = StatusCode::NOT_FOUND;
            return Ok(refused);
        }
        let version = request.headers().get(PROTOCOL_VERSION).cloned();
        let path_and_query = request.uri().to_string();
        let speaks_spdy = path_and_query.starts_with("/exec") && version.is_some();
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgraded.await.unwrap());
            if speaks_spdy {
                return shell::run(stream, &path_and_query).await;
            }
            let mut bytes = [0; 64];
            while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                stream.write_all(&bytes[..count]).await.unwrap();
            }
            // Whoever has gone altogether does not hear it.
            let _ = stream.write_all(b"bye").await;
            let _ = stream.shutdown().await;
        });
        let mut switching = Response::new(body::empty());
        *switching.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        switching.headers_mut().insert(header::UPGRADE, protocol);
        switching.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        if let Some(version) = version {
            switching.headers_mut().insert(PROTOCOL_VERSION, version);
        }
        return Ok(switching);
    }
    let told = [
        format!("{} {}", request.method(), request.uri()),
        format!("user {user}"),
        format!("authorization {:?}", request.headers().get(header::AUTHORIZATION)),
    ];
    let pieces = told.map(|line| Ok::<_, body::BoxError>(Frame::data(Bytes::from(line + "\n"))));
    // It does not end, as a followed log does not.
    let pieces = futures::stream::iter(pieces).chain(futures::stream::pending());
    Ok(Response::new(BodyExt::boxed_unsync(StreamBody::new(pieces))))
}

async fn world(call: NodeCall) -> World {
    let (pki, dir) = pki();
    let node = pki.node("node-1", &[LOCALHOST], jiff::Timestamp::now()).unwrap();
    let acceptor =
        TlsAcceptor::from(tls::server_config(pki.authority().certificate(), &node.serving).unwrap());
    let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let address = NodeAddress { host: LOCALHOST.to_string(), port: listener.local_addr().unwrap().port() };
    tokio::spawn(async move {
        loop {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
            let user = authn::user_from_certificate(&certificate).unwrap().name;
            let service = service_fn(move |request| agent(request, user.clone()));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::spawn(connection);
        }
    });
    let shutdown = Shutdown::new();
    let proxy = NodeProxy::new(pki.node_tls().unwrap(), shutdown.clone());
    let front = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let world = World { front: front.local_addr().unwrap(), shutdown, proxy: proxy.clone(), _dir: dir };
    tokio::spawn(async move {
        loop {
            let (stream, _) = front.accept().await.unwrap();
            let (proxy, address, call) = (proxy.clone(), address.clone(), call.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (proxy, address, call) = (proxy.clone(), address.clone(), call.clone());
                async move {
                    let answer =
                        proxy.forward(&Backend::agent(address), &call, request.map(body::boxed)).await;
                    Ok::<_, Infallible>(answer.unwrap_or_else(|error| {
                        let mut answer = Response::new(body::full(error.told()));
                        *answer.status_mut() = match error.class() {
                            FailureClass::Request => StatusCode::BAD_REQUEST,
                            FailureClass::Node => StatusCode::BAD_GATEWAY,
                            FailureClass::Busy => StatusCode::TOO_MANY_REQUESTS,
                        };
                        answer
                    }))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::spawn(connection);
        }
    });
    world
}

async fn ask(world: &World, headers: &[(&str, &str)], query: &str) -> Response<Incoming> {
    let stream = TcpStream::connect(world.front).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::builder().uri(format!("/x?{query}")).header(header::HOST, "front");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    sender.send_request(request.body(body::empty()).unwrap()).await.unwrap()
}

const SPDY: [(&str, &str); 2] = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")];

fn websocket(protocols: &'static str) -> [(&'static str, &'static str); 3] {
    [("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Protocol", protocols)]
}

#[tokio::test]
async fn followed_log_is_streamed_with_the_servers_certificate_and_without_the_clients_token() {
    let call = NodeCall::Logs { namespace: "default".into(), pod: "p".into(), container: "c".into() };
    let world = world(call).await;
    let answer = ask(&world, &[("Authorization", "Bearer secret")], "follow=true&tailLines=5").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body().into_data_stream();
    let mut text = String::new();
    // The agent never ends its answer: these lines come while it is open.
    while text.lines().count() < 3 {
        text.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(
        text,
        "GET /containerLogs/default/p/c?follow=true&tailLines=5\n\
         user kube-apiserver-kubelet-client\n\
         authorization None\n"
    );
}

#[tokio::test]
async fn upgraded_connection_carries_bytes_both_ways_until_both_ends_are_done() {
    let world = world(call()).await;
    for headers in [SPDY.to_vec(), websocket("v4.channel.k8s.io").to_vec()] {
        let mut answer = ask(&world, &headers, "stdin=true").await;
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()[header::UPGRADE], headers[1].1);
        let mut stream = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
        for word in ["hello", "again"] {
            stream.write_all(word.as_bytes()).await.unwrap();
            let mut echo = [0; 5];
            stream.read_exact(&mut echo).await.unwrap();
            assert_eq!(&echo, word.as_bytes());
        }
        stream.shutdown().await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "bye", "the agent's side stays open after ours has ended");
    }
}

#[tokio::test]
async fn joined_connections_end_with_the_server() {
    let world = world(call()).await;
    let mut answer = ask(&world, &SPDY, "stdin=true").await;
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    world.shutdown.trigger();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn agents_refusal_of_an_upgrade_is_passed_on() {
    let call = NodeCall::Exec { namespace: "default".into(), pod: "p".into(), container: "refused".into() };
    let answer = ask(&world(call).await, &SPDY, "").await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(text, "no such container");
}

#[tokio::test]
async fn websocket_that_no_runtime_speaks_is_refused_so_that_clients_fall_back() {
    let world = world(call()).await;
    for protocols in ["v9.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"] {
        let answer = ask(&world, &websocket(protocols), "stdin=true").await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{protocols}");
    }
}

#[tokio::test]
async fn node_that_cannot_be_reached_or_trusted_is_named() {
    let (pki, _dir) = pki();
    let proxy = NodeProxy::new(pki.node_tls().unwrap(), Shutdown::new());
    let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let node = NodeAddress { host: LOCALHOST.to_string(), port: listener.local_addr().unwrap().port() };
    let backend = Backend::agent(node.clone());

    // An agent with another cluster's certificate.
    let (stranger, _other) = self::pki();
    let acceptor = TlsAcceptor::from(stranger.server_tls().unwrap().config);
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.map(|_| ())
    };
    let call = NodeCall::Logs { namespace: "default".into(), pod: "p".into(), container: "c".into() };
    let (refused, accepted) =
        tokio::join!(proxy.forward(&backend, &call, Request::new(body::empty())), accept);
    accepted.unwrap_err();
    assert!(matches!(refused, Err(NodeProxyError::Tls { .. })));

    drop(listener);
    let refused = proxy.forward(&backend, &call, Request::new(body::empty())).await.unwrap_err();
    assert_eq!(refused.class(), FailureClass::Node);
    let told = refused.told();
    assert_eq!(told, format!("error dialing backend: dial tcp {node}: connect: connection refused"));
}

#[tokio::test]
async fn exec_without_an_upgrade_is_told_that_it_needs_one() {
    let answer = ask(&world(call()).await, &[], "stdin=true").await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "Upgrade request required");
}

#[tokio::test]
async fn agent_whose_certificate_is_not_checked_answers_all_the_same() {
    let (pki, _dir) = pki();
    let (stranger, _other) = self::pki();
    let proxy = NodeProxy::new(pki.node_tls().unwrap(), Shutdown::new());
    let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let address = NodeAddress { host: LOCALHOST.to_string(), port: listener.local_addr().unwrap().port() };
    let acceptor = TlsAcceptor::from(stranger.server_tls().unwrap().config);
    tokio::spawn(async move {
        // The stranger's CA did not sign the server's certificate: whoever shows it is refused, here it is not shown.
        let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        let service = service_fn(|request| agent(request, String::new()));
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
    let backend = Backend { address, transport: Transport::Https };
    let call = NodeCall::Plain { target: "/x?y".to_owned(), is_for_agent: false };
    let answer = proxy.forward(&backend, &call, Request::new(body::empty())).await.unwrap();
    let text = answer.into_body().into_data_stream().next().await.unwrap().unwrap();
    assert_eq!(text, "GET /x?y\n");
}

#[test]
fn query_is_put_into_the_kubelets_terms() {
    let (namespace, pod, container) = ("ns".to_owned(), "pod".to_owned(), "c".to_owned());
    let exec =
        NodeCall::Exec { namespace: namespace.clone(), pod: pod.clone(), container: container.clone() };
    assert_eq!(
        exec.path_and_query(
            "command=sh&command=-c&command=a%20%26b&container=c&stdin=true&stdout=1&stderr=false&tty"
        ),
        "/exec/ns/pod/c?input=1&output=1&tty=1&command=sh&command=-c&command=a+%26b"
    );
    let attach =
        NodeCall::Attach { namespace: namespace.clone(), pod: pod.clone(), container: container.clone() };
    assert_eq!(attach.path_and_query("stdout=true"), "/attach/ns/pod/c?output=1");
    let logs = NodeCall::Logs { namespace: namespace.clone(), pod: pod.clone(), container };
    assert_eq!(
        logs.path_and_query(
            "container=c&follow=false&previous=true&sinceTime=2026-01-01T00%3A00%3A00Z&pretty=1"
        ),
        "/containerLogs/ns/pod/c?previous=true&sinceTime=2026-01-01T00%3A00%3A00Z"
    );
    let forward = NodeCall::PortForward { namespace, pod };
    assert_eq!(forward.path_and_query("ports=80,443"), "/portForward/ns/pod?port=80&port=443");
    assert_eq!(forward.path_and_query(""), "/portForward/ns/pod");
}
