//! Where this server differs from upstream on purpose: each difference holds as docs/compat.md says it.

use apiserver::Config;
use apiserver::access::User;
use apiserver::pki::{Pki, ServingNames, tls};
use process::SystemClock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SETS: &str = "/apis/apps/v1/namespaces/default/daemonsets";

fn set() -> Value {
    json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

/// Upstream's conversion sets it on the way in, so that it is the creator's there.
#[tokio::test]
async fn template_generation_is_nobodys_field() {
    let world = World::new().await;
    let made = world.post(&format!("{SETS}?fieldManager=me"), set()).await.json();
    let annotation = "deprecated.daemonset.template.generation";
    assert_eq!(made["metadata"]["annotations"][annotation], "1");
    let managed = made["metadata"]["managedFields"].to_string();
    assert!(managed.contains("f:template") && !managed.contains(annotation), "{managed}");
}

/// Upstream takes the last of them and tells it as fieldValidation asks.
#[tokio::test]
async fn yaml_with_a_key_that_stands_twice_is_refused_whatever_is_asked() {
    let world = World::new().await;
    let yaml = "metadata:\n  name: a\ndata:\n  k: \"1\"\n  k: \"2\"\n";
    for mode in ["Ignore", "Warn", "Strict"] {
        let url = format!("{MAPS}?fieldValidation={mode}");
        let said = world.ask("POST", &url, "application/yaml", yaml).await.said();
        assert!(said.starts_with("400 BadRequest: ") && said.contains("duplicate"), "{mode}: {said}");
    }
    assert_eq!(world.get(&format!("{MAPS}/a")).await.status, 404);
}

/// Upstream sends what it has and waits for the revision with the bookmark.
#[tokio::test]
async fn initial_events_of_the_future_time_out() {
    let world = World::new().await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let answer = world.get(&format!("{MAPS}?{query}&resourceVersion=99999999999")).await;
    assert!(
        answer.said().starts_with("504 Timeout: Timeout: Too large resource version: 99999999999, current: "),
        "{}",
        answer.said()
    );
    assert_eq!(answer.headers["retry-after"], "1");
}

#[tokio::test]
async fn resizing_is_not_served() {
    let world = World::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(world.post(pods, pod).await.status, 201);
    let said = world.merge(&format!("{pods}/p/resize"), json!({})).await.said();
    assert_eq!(said, "404 NotFound: the server could not find the requested resource");
    let served = world.get("/api/v1").await.json();
    let names: Vec<&str> =
        served["resources"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"pods/eviction") && !names.contains(&"pods/resize"), "{names:?}");
}

/// No FlowSchemas that a header could name, and no address that a client would need beside its own.
#[tokio::test]
async fn answers_name_neither_flow_schemas_nor_addresses() {
    let world = World::new().await;
    let answer = world.get("/api").await;
    assert_eq!(answer.json()["serverAddressByClientCIDRs"], json!([]));
    let list = world.get(MAPS).await;
    for header in ["x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid"] {
        assert!(!list.headers.contains_key(header), "{header}");
    }
}

/// Clients that prefer protobuf take JSON as well; those that take nothing else are told so.
#[tokio::test]
async fn answers_are_never_protobuf() {
    let world = World::new().await;
    let accepting = async |accept: &str| {
        let request = http::Request::get(MAPS).header("accept", accept);
        world.send(request.body(apiserver::body::empty()).unwrap()).await
    };
    let both = accepting("application/vnd.kubernetes.protobuf,application/json").await;
    assert_eq!(
        (both.status.as_u16(), both.headers["content-type"].to_str().unwrap()),
        (200, "application/json")
    );
    let alone = accepting("application/vnd.kubernetes.protobuf").await;
    assert_eq!(
        alone.said(),
        "406 NotAcceptable: only the following media types are accepted: application/json, application/yaml"
    );
}

/// Upstream's role lets nodes write events of core/v1 alone.
#[tokio::test]
async fn nodes_write_events_of_both_groups() {
    let world = World::new().await;
    let node = world.as_user(User::node("n1"));
    let core = json!({"metadata": {"name": "a"}, "involvedObject": {"kind": "Node", "name": "n1"}});
    assert_eq!(node.post("/api/v1/namespaces/default/events", core).await.status, 201);
    let newer = json!({"metadata": {"name": "b"}, "regarding": {"kind": "Node", "name": "n1"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "action": "A", "reason": "R", "type": "Normal",
        "reportingController": "kubelet", "reportingInstance": "n1"});
    let url = "/apis/events.k8s.io/v1/namespaces/default/events";
    assert_eq!(node.post(url, newer).await.status, 201);
    assert_eq!(node.delete(&format!("{url}/b")).await.status, 403);
}

/// Upstream parses HTML and puts its proxy's path before every link of the same host.
#[tokio::test]
async fn links_inside_html_go_through_the_proxy_as_they_are() {
    const PAGE: &str = "<html><a href=\"/metrics\">metrics</a></html>";
    let folder = tempfile::tempdir().unwrap();
    let localhost = "127.0.0.1".parse().unwrap();
    let names = ServingNames::api_server(localhost, "localhost");
    let pki = Pki::open(folder.path(), &names, jiff::Timestamp::now()).unwrap();
    let node = pki.node("n1", &[localhost], jiff::Timestamp::now()).unwrap();
    let tls = tls::server_config(pki.authority().certificate(), &node.serving).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(tls);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let agent = async {
        let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut asked = [0; 4096];
        let count = stream.read(&mut asked).await.unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            PAGE.len()
        );
        stream.write_all(format!("{head}{PAGE}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        String::from_utf8_lossy(&asked[..count]).into_owned()
    };
    let config = Config { node_tls: Some(pki.node_tls().unwrap()), ..Config::new(SystemClock::shared()) };
    let server =
        apiserver::Server::new(std::sync::Arc::new(store::MemoryStore::new()), config).await.unwrap();
    let world = World { server, user: User::admin() };
    let node = json!({"metadata": {"name": "n1"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    assert_eq!(world.post("/api/v1/nodes", node).await.status, 201);
    let (asked, page) = tokio::join!(agent, world.get("/api/v1/nodes/n1/proxy/x"));
    assert!(asked.starts_with("GET /x HTTP/1.1\r\n"), "{asked}");
    assert_eq!((page.status.as_u16(), &page.body[..]), (200, PAGE.as_bytes()));
}
