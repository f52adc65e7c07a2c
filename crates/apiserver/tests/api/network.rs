//! The listener: TLS, both HTTP versions, certificates as users, the end of the server.

use std::sync::Arc;

use apiserver::pki::{Identity, Pki, ServingNames, tls};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use process::Shutdown;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{DEADLINE, World};

struct Network {
    pki: Pki,
    port: u16,
    shutdown: Shutdown,
    serving: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Network {
    async fn open(world: &World) -> Network {
        let folder = tempfile::tempdir().unwrap();
        let names = ServingNames::api_server("127.0.0.1".parse().unwrap(), "localhost");
        let pki = Pki::open(folder.path(), &names, jiff::Timestamp::now()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (server, tls, shutdown) = (world.server.clone(), pki.server_tls().unwrap(), Shutdown::new());
        let stop = shutdown.clone();
        let serving = tokio::spawn(async move { server.serve(listener, tls, stop).await });
        Network { pki, port, shutdown, serving, _folder: folder }
    }

    async fn connect(&self, protocol: &[u8]) -> tokio_rustls::client::TlsStream<TcpStream> {
        self.connect_as(&self.pki.admin, protocol).await
    }

    async fn connect_as(
        &self,
        identity: &Identity,
        protocol: &[u8],
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut config = tls::client_config(self.pki.authority().certificate(), identity).unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = "127.0.0.1".try_into().unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

fn get(url: &str) -> Request<Empty<Bytes>> {
    Request::get(url).header("host", "127.0.0.1").body(Empty::new()).unwrap()
}

#[tokio::test]
async fn certificates_subject_is_the_user_over_both_http_versions() {
    let world = World::new().await;
    let network = Network::open(&world).await;
    let stream = TokioIo::new(network.connect(b"http/1.1").await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..2 {
        // The connection is kept.
        let response = sender.send_request(get("/api/v1/pods")).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
    }
    let stream = TokioIo::new(network.connect(b"h2").await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let url = format!("https://127.0.0.1:{}/api/v1/namespaces", network.port);
    assert_eq!(sender.send_request(get(&url)).await.unwrap().status(), 200);
}

/// Old curls drop the answer of a stream that is reset behind it, as HTTP/2 does where the body was not read.
#[tokio::test]
async fn refusal_over_http_2_is_sent_when_the_small_body_has_come() {
    let world = World::new().await;
    let network = Network::open(&world).await;
    let stream = TokioIo::new(network.connect(b"h2").await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let url = |path: &str| format!("https://127.0.0.1:{}{path}", network.port);
    for (method, path, status) in [
        ("PATCH", "/api/v1/namespaces/default/configmaps", 405),
        ("POST", "/api/v1/namespaces/default/none", 404),
        ("POST", "/version", 405),
    ] {
        let (pieces, body) = futures::channel::mpsc::unbounded();
        let body = StreamBody::new(body).boxed_unsync();
        let request = Request::builder().method(method).uri(url(path)).body(body).unwrap();
        let mut refused = std::pin::pin!(sender.clone().send_request(request));
        for _ in 0..10 {
            let other = Request::get(url("/livez")).body(Empty::new().boxed_unsync()).unwrap();
            tokio::select! {
                biased;
                early = &mut refused => panic!("answered before its body: {early:?}"),
                answered = sender.send_request(other) => drop(answered.unwrap().into_body().collect().await),
            }
        }
        pieces.unbounded_send(Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from("{}")))).unwrap();
        drop(pieces);
        let answer = tokio::time::timeout(DEADLINE, refused).await.unwrap().unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
    }
}

/// The next frame of a server: its opcode and payload.
async fn frame(from: &mut (impl AsyncRead + Unpin)) -> (u8, Vec<u8>) {
    let opcode = from.read_u8().await.unwrap() & 0x0f;
    let length = match from.read_u8().await.unwrap() {
        126 => usize::from(from.read_u16().await.unwrap()),
        127 => usize::try_from(from.read_u64().await.unwrap()).unwrap(),
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    from.read_exact(&mut payload).await.unwrap();
    (opcode, payload)
}

#[tokio::test]
async fn watch_over_websocket_sends_each_event_as_a_text_message() {
    let world = World::new().await;
    let network = Network::open(&world).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b"] {
        assert_eq!(world.post(maps, json!({"metadata": {"name": name}})).await.status, 201);
    }
    let stream = TokioIo::new(network.connect(b"http/1.1").await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let asked = |url: String| {
        Request::get(url)
            .header("host", "127.0.0.1")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-version", "13")
            .body(Empty::<Bytes>::new())
            .unwrap()
    };
    let refused = sender.send_request(asked(format!("{maps}?watch=1&resourceVersion=x"))).await.unwrap();
    assert_eq!(refused.status(), 400, "what is wrong with a watch is told before it begins");
    refused.into_body().collect().await.unwrap();
    let mut answer = sender.send_request(asked(format!("{maps}?watch=1"))).await.unwrap();
    assert_eq!(answer.status(), 101);
    let mut socket = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    let mut event = async || {
        let (opcode, payload) = frame(&mut socket).await;
        assert_eq!(opcode, 1, "a text");
        let event: Value = serde_json::from_slice(&payload).unwrap();
        format!(
            "{} {}",
            event["type"].as_str().unwrap(),
            event["object"]["metadata"]["name"].as_str().unwrap()
        )
    };
    assert_eq!((event().await.as_str(), event().await.as_str()), ("ADDED a", "ADDED b"));
    world.delete(&format!("{maps}/a")).await;
    assert_eq!(event().await, "DELETED a");
    network.shutdown.trigger();
    assert_eq!(frame(&mut socket).await.0, 8, "it closes with the server");
}

#[tokio::test]
async fn stopping_server_ends_watches_and_returns() {
    let world = World::new().await;
    let network = Network::open(&world).await;
    let stream = TokioIo::new(network.connect(b"http/1.1").await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let watch = sender.send_request(get("/api/v1/pods?watch=1")).await.unwrap();
    network.shutdown.trigger();
    tokio::time::timeout(DEADLINE, watch.into_body().collect()).await.unwrap().unwrap();
    tokio::time::timeout(DEADLINE, network.serving).await.unwrap().unwrap();
}

/// One request at a time, as who the certificate says.
struct Thief(hyper::client::conn::http1::SendRequest<Full<Bytes>>);

impl Thief {
    async fn ask(&mut self, method: &str, url: &str, body: Value) -> (u16, String) {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder().method(method).uri(url).header("host", "127.0.0.1");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = request.header("content-type", kind).body(Full::from(body)).unwrap();
        let response = self.0.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let said: Value = serde_json::from_slice(&body).unwrap();
        (status, said["message"].as_str().unwrap_or_default().to_owned())
    }
}

#[tokio::test]
async fn stolen_node_credential_opens_nothing_but_that_nodes_own() {
    let world = World::new().await;
    let network = Network::open(&world).await;
    let (pods, secrets) = ("/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/secrets");
    for name in ["mine", "theirs"] {
        world.post(secrets, json!({"metadata": {"name": name}})).await;
    }
    let own_node = world.post("/api/v1/nodes", json!({"metadata": {"name": "mine"}})).await.json();
    world.post("/api/v1/nodes", json!({"metadata": {"name": "theirs"}})).await;
    let pod = |name: &str, node: &str| {
        json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i",
            "envFrom": [{"secretRef": {"name": node}}]}]}})
    };
    for name in ["mine", "theirs"] {
        assert_eq!(world.post(pods, pod(name, name)).await.status, 201);
    }

    let stolen = network.pki.node("mine", &[], jiff::Timestamp::now()).unwrap().client;
    let stream = TokioIo::new(network.connect_as(&stolen, b"http/1.1").await);
    let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut thief = Thief(sender);

    // What the node itself needs is open.
    for (method, url, body) in [
        ("GET", format!("{secrets}/mine"), Value::Null),
        ("GET", "/api/v1/nodes/mine".to_owned(), Value::Null),
        ("PATCH", "/api/v1/nodes/mine/status".to_owned(), json!({"status": {"phase": "Running"}})),
        ("PATCH", format!("{pods}/mine/status"), json!({"status": {"message": "m"}})),
        ("GET", format!("{pods}?fieldSelector=spec.nodeName%3Dmine"), Value::Null),
    ] {
        let (status, said) = thief.ask(method, &url, body).await;
        assert_eq!(status, 200, "{method} {url}: {said}");
    }

    let mirror = |node: &str, owner: &Value, more: Value| {
        let mut mirror = json!({"metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "h"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"], "controller": true}]},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}});
        mirror["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        mirror
    };
    let labelled = json!({"metadata": {"labels": {"node-restriction.kubernetes.io/tier": "gold"}}});
    let lease = |name: &str| json!({"metadata": {"name": name}, "spec": {"holderIdentity": "mine"}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    for (method, url, body, why) in [
        (
            "GET",
            format!("{secrets}/theirs"),
            Value::Null,
            "no relationship found between node 'mine' and this object",
        ),
        ("GET", secrets.to_owned(), Value::Null, "No Object name found"),
        ("GET", "/api/v1/secrets".to_owned(), Value::Null, "can only read namespaced object of this type"),
        (
            "GET",
            "/api/v1/nodes/theirs".to_owned(),
            Value::Null,
            "cannot read 'theirs', only its own Node object",
        ),
        (
            "GET",
            format!("{pods}?fieldSelector=spec.nodeName%3Dtheirs"),
            Value::Null,
            "can only list/watch pods with",
        ),
        (
            "PATCH",
            "/api/v1/nodes/theirs".to_owned(),
            json!({"metadata": {"labels": {"a": "b"}}}),
            "node \"mine\" is not allowed to modify node \"theirs\"",
        ),
        (
            "PATCH",
            "/api/v1/nodes/theirs/status".to_owned(),
            json!({"status": {"conditions": []}}),
            "node \"mine\" is not allowed to modify node \"theirs\"",
        ),
        (
            "PATCH",
            "/api/v1/nodes/mine".to_owned(),
            json!({"spec": {"taints": []}}),
            "is not allowed to modify taints",
        ),
        (
            "PATCH",
            "/api/v1/nodes/mine".to_owned(),
            labelled,
            "is not allowed to modify labels: node-restriction",
        ),
        ("DELETE", "/api/v1/nodes/theirs".to_owned(), Value::Null, "cannot delete resource \"nodes\""),
        ("POST", pods.to_owned(), pod("p", "mine"), "can only create mirror pods"),
        (
            "POST",
            pods.to_owned(),
            mirror("theirs", &own_node, json!({})),
            "can only create pods with spec.nodeName set to itself",
        ),
        (
            "POST",
            pods.to_owned(),
            mirror("mine", &json!({"metadata": {"name": "mine", "uid": "other"}}), json!({})),
            "UID mismatch",
        ),
        (
            "POST",
            pods.to_owned(),
            mirror(
                "mine",
                &own_node,
                json!({"volumes": [{"name": "v", "secret": {"secretName": "theirs"}}]}),
            ),
            "a mirror pod may not reference secrets",
        ),
        (
            "POST",
            pods.to_owned(),
            mirror("mine", &own_node, json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]})),
            "can not create pods that reference configmaps",
        ),
        (
            "DELETE",
            format!("{pods}/theirs"),
            Value::Null,
            "can only delete pods with spec.nodeName set to itself",
        ),
        (
            "POST",
            format!("{pods}/theirs/eviction"),
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "theirs"}}),
            "can only evict pods with spec.nodeName set to itself",
        ),
        (
            "PATCH",
            format!("{pods}/theirs/status"),
            json!({"status": {"phase": "Failed"}}),
            "can only update pod status for pods with spec.nodeName set to itself",
        ),
        (
            "PATCH",
            format!("{pods}/mine"),
            json!({"metadata": {"labels": {"a": "b"}}}),
            "cannot patch resource",
        ),
        (
            "POST",
            "/api/v1/namespaces/default/serviceaccounts/default/token".to_owned(),
            json!({}),
            "node requested token not bound to a pod",
        ),
        ("POST", leases.to_owned(), lease("theirs"), "can only access node lease with the same name"),
        (
            "POST",
            "/apis/storage.k8s.io/v1/csinodes".to_owned(),
            json!({"metadata": {"name": "theirs"},
            "spec": {"drivers": []}}),
            "can only access CSINode with the same name",
        ),
        (
            "POST",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings".to_owned(),
            json!({}),
            "cannot create resource \"clusterrolebindings\"",
        ),
    ] {
        let (status, said) = thief.ask(method, &url, body).await;
        assert_eq!(status, 403, "{method} {url}: {said}");
        assert!(said.contains(why), "{method} {url}: {said}");
    }
    assert_eq!(thief.ask("POST", pods, mirror("mine", &own_node, json!({}))).await, (201, String::new()));
    assert_eq!(thief.ask("DELETE", &format!("{pods}/m"), json!({"gracePeriodSeconds": 0})).await.0, 200);
    assert_eq!(thief.ask("POST", leases, lease("mine")).await.0, 201);
}
