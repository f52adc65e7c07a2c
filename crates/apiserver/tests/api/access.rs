//! Who may do what, through the door.

use std::sync::Arc;

use apiserver::access::User;
use process::SystemClock;
use serde_json::json;
use store::Store;
use store::memory::MemoryStore;

use crate::world::World;

#[tokio::test]
async fn stranger_is_refused_in_upstreams_words_until_a_role_is_bound() {
    let world = World::new().await;
    let stranger = world.as_user(User::authenticated("eve", [""; 0]));
    let url = "/api/v1/namespaces/default/configmaps";
    assert_eq!(
        stranger.get(url).await.said(),
        "403 Forbidden: configmaps is forbidden: User \"eve\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    let group = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let binding = json!({
        "metadata": {"name": "eve"},
        "subjects": [{"kind": "User", "name": "eve"}],
        "roleRef": {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"},
    });
    let bound = world.post(&format!("{group}/rolebindings"), binding).await;
    assert_eq!(bound.status, 201, "{:?}", bound.body);
    assert_eq!(stranger.get(url).await.status, 200);
    assert_eq!(stranger.post(url, json!({"metadata": {"name": "a"}})).await.status, 403);
    world.delete(&format!("{group}/rolebindings/eve")).await;
    assert_eq!(stranger.get(url).await.status, 403);
}

#[tokio::test]
async fn nobody_sees_the_version_and_nothing_else() {
    let world = World::new().await;
    let anonymous = |url: &str| {
        let request = http::Request::get(url).body(apiserver::body::empty()).unwrap();
        let mut service = world.server.service();
        async move { tower::Service::call(&mut service, request).await.unwrap().status().as_u16() }
    };
    assert_eq!(anonymous("/version").await, 200);
    assert_eq!(anonymous("/healthz").await, 200);
    assert_eq!(anonymous("/api/v1/pods").await, 401);
    let request = http::Request::get("/version").header("authorization", "Bearer x");
    let mut service = world.server.service();
    let answer =
        tower::Service::call(&mut service, request.body(apiserver::body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn node_writes_itself_and_reads_only_what_its_pods_need() {
    let world = World::new().await;
    let node = world.as_user(User::node("n1"));
    assert_eq!(node.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await.status, 201);
    assert_eq!(node.post("/api/v1/nodes", json!({"metadata": {"name": "n2"}})).await.status, 403);
    let secrets = "/api/v1/namespaces/default/secrets";
    world.post(secrets, json!({"metadata": {"name": "s"}})).await;
    assert_eq!(node.get(&format!("{secrets}/s")).await.status, 403);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1",
        "containers": [{"name": "c", "image": "i", "envFrom": [{"secretRef": {"name": "s"}}]}]}});
    assert_eq!(world.post("/api/v1/namespaces/default/pods", pod.clone()).await.status, 201);
    assert_eq!(node.get(&format!("{secrets}/s")).await.status, 200);
    let mut plain = pod;
    plain["metadata"]["name"] = json!("q");
    let refused = node.post("/api/v1/namespaces/default/pods", plain).await;
    assert!(refused.said().contains("node \"n1\" can only create mirror pods"), "{}", refused.said());
}

#[tokio::test]
async fn reviews_answer_for_oneself() {
    let world = World::new().await;
    let eve = world.as_user(User::authenticated("eve", ["staff"]));
    let review =
        json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}});
    let url = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let denied = eve.post(url, review.clone()).await;
    assert_eq!((denied.status.as_u16(), &denied.json()["status"]["allowed"]), (201, &json!(false)));
    assert_eq!(world.post(url, review).await.json()["status"]["allowed"], true);
    let who = eve.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await.json();
    assert_eq!(who["status"]["userInfo"]["username"], "eve");
    assert_eq!(who["status"]["userInfo"]["groups"], json!(["staff", "system:authenticated"]));
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let world = World::new().await;
    let group = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let binding = |name: &str, user: &str, role: &str| {
        json!({"metadata": {"name": name}, "subjects": [{"kind": "User", "name": user}],
            "roleRef": {"kind": "ClusterRole", "name": role, "apiGroup": "rbac.authorization.k8s.io"}})
    };
    let bound = world.post(&format!("{group}/rolebindings"), binding("eve", "eve", "admin")).await;
    assert_eq!(bound.status, 201);
    let eve = world.as_user(User::authenticated("eve", [""; 0]));
    let rule = |verb: &str, resource: &str| json!({"metadata": {"name": resource}, "rules": [{"apiGroups": [""], "resources": [resource], "verbs": [verb]}]});
    assert_eq!(eve.post(&format!("{group}/roles"), rule("get", "pods")).await.status, 201);
    let refused = eve.post(&format!("{group}/roles"), rule("*", "nodes")).await.said();
    assert!(
        refused.starts_with(
            "403 Forbidden: roles.rbac.authorization.k8s.io \"nodes\" is forbidden: user \"eve\""
        ),
        "{refused}"
    );
    assert_eq!(
        eve.post(&format!("{group}/rolebindings"), binding("a", "bob", "cluster-admin")).await.status,
        403
    );
    assert_eq!(eve.post(&format!("{group}/rolebindings"), binding("b", "bob", "view")).await.status, 201);
}

#[tokio::test]
async fn callers_of_other_servers_are_named_by_the_clusters_ca() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let start = async |pem: &str| {
        let config = apiserver::Config {
            client_ca_pem: Some(pem.to_owned()),
            ..apiserver::Config::new(SystemClock::shared())
        };
        let server = apiserver::Server::new(Arc::clone(&store), config).await.unwrap();
        World { server, user: User::admin() }
    };
    let map = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let world = start("one").await;
    assert_eq!(world.get(map).await.json()["data"], json!({"client-ca-file": "one"}));
    world.merge(map, json!({"data": {"mine": "kept"}})).await;
    let again = start("two").await;
    assert_eq!(again.get(map).await.json()["data"], json!({"client-ca-file": "two", "mine": "kept"}));
}

#[tokio::test]
async fn built_in_roles_that_lost_rights_are_put_right_at_the_next_start() {
    let store = Arc::new(MemoryStore::new());
    let world = World::over(store.clone()).await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let own = json!([{"verbs": ["get"], "apiGroups": ["x.io"], "resources": ["things"]}]);
    for name in ["system:basic-user", "system:discovery"] {
        assert_eq!(world.merge(&format!("{roles}/{name}"), json!({"rules": own})).await.status, 200);
    }
    let kept = json!({"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}});
    world.merge(&format!("{roles}/system:discovery"), kept).await;
    world.merge(&format!("{bindings}/system:basic-user"), json!({"subjects": []})).await;
    world.delete(&format!("{roles}/view")).await;
    let monitoring = format!("{bindings}/system:monitoring");
    let mut other = world.get(&monitoring).await.json();
    world.delete(&monitoring).await;
    other["metadata"] = json!({"name": "system:monitoring"});
    other["roleRef"]["name"] = json!("cluster-admin");
    assert_eq!(world.post(bindings, other).await.status, 201);

    let again = World::over(store).await;
    let rules = again.get(&format!("{roles}/system:basic-user")).await.json()["rules"].clone();
    let granted: Vec<&str> =
        rules.as_array().unwrap().iter().map(|r| r["resources"][0].as_str().unwrap()).collect();
    assert_eq!(
        granted,
        ["things", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"]
    );
    assert_eq!(again.get(&format!("{roles}/system:discovery")).await.json()["rules"], own, "it said so");
    let subjects = again.get(&format!("{bindings}/system:basic-user")).await.json()["subjects"].clone();
    assert_eq!(subjects[0]["name"], "system:authenticated");
    assert_eq!(again.get(&format!("{roles}/view")).await.status, 200);
    assert_eq!(again.get(&monitoring).await.json()["roleRef"]["name"], "system:monitoring");
}
