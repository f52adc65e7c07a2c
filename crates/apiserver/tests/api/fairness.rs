//! A greedy or slow client makes its own requests wait, and nobody else's.

use std::convert::Infallible;
use std::time::Duration;

use apiserver::access::User;
use apiserver::body;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use serde_json::json;

use crate::world::{DEADLINE, World};

/// A body of which the first byte never comes.
fn never() -> apiserver::Body {
    let silent = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
    body::boxed(http_body_util::StreamBody::new(silent))
}

/// A user who may do everything and is no administrator.
async fn trusted(world: &World, name: &str) -> World {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    });
    let made = world.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.said());
    world.as_user(User::authenticated(name, [""; 0]))
}

async fn taken(world: &World, level: &str) -> (usize, usize) {
    let text = String::from_utf8(world.get("/metrics").await.body.to_vec()).unwrap();
    let of = |metric: &str| {
        let line = format!("apiserver_flowcontrol_current_{metric}{{priority_level=\"{level}\"}} ");
        text.lines().find_map(|known| known.strip_prefix(&line)).unwrap().parse().unwrap()
    };
    (of("executing_seats"), of("inqueue_requests"))
}

#[tokio::test]
async fn bodies_that_never_come_hold_up_neither_nodes_nor_others_of_their_level() {
    let world = World::new().await;
    let (greedy, other) = (trusted(&world, "greedy").await, trusted(&world, "other").await);
    let node = world.as_user(User::node("n1"));
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "n1", "namespace": "kube-node-lease"}, "spec": {"holderIdentity": "n1"},
    });
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let made = node.post(leases, lease).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.said());

    let mut stuck = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let greedy = greedy.as_user(greedy.user.clone());
        let request = Request::post("/api/v1/namespaces/default/configmaps").body(never()).unwrap();
        stuck.spawn(async move { greedy.stream(request).await });
    }
    let full = async {
        while taken(&world, "global-default").await.1 == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, full).await.expect("the greedy client's requests wait for each other");

    // Bounded well below the time that the greedy client's own requests would take to give up.
    let promptly = Duration::from_secs(5);
    let renewed = tokio::time::timeout(promptly, node.put(&format!("{leases}/n1"), made.json())).await;
    assert_eq!(renewed.expect("the node does not wait").status, StatusCode::OK);
    let read = tokio::time::timeout(promptly, other.get("/api/v1/namespaces/default/configmaps")).await;
    assert_eq!(read.expect("another user of the level does not wait").status, StatusCode::OK);
    stuck.shutdown().await;
    assert_eq!(taken(&world, "global-default").await, (0, 0), "who leaves gives his seats back");
}

#[tokio::test]
async fn a_queue_that_is_full_answers_429_and_when_to_come_back() {
    let world = World::new().await;
    let greedy = trusted(&world, "greedy").await;
    let mut stuck = tokio::task::JoinSet::new();
    let refused = tokio::time::timeout(DEADLINE, async {
        loop {
            let (greedy_again, request) = (
                greedy.as_user(greedy.user.clone()),
                Request::post("/api/v1/namespaces/default/configmaps").body(never()).unwrap(),
            );
            stuck.spawn(async move { greedy_again.stream(request).await });
            if let Some(Ok(response)) = stuck.try_join_next() {
                return response;
            }
            tokio::task::yield_now().await;
        }
    });
    let refused = refused.await.expect("one is turned away");
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    let status = http_body_util::BodyExt::collect(refused.into_body()).await.unwrap().to_bytes();
    let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["message"], "Too many requests, please try again later.");
    assert_eq!(status["reason"], "TooManyRequests");
}
