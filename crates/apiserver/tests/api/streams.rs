//! What the server itself says of pods' streams and of `proxy`, before any node is asked.

use apiserver::access::User;
use serde_json::json;

use crate::world::World;

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn with_pod(node: Option<&str>) -> World {
    let world = World::new().await;
    let containers = json!([{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]);
    let init = json!([{"name": "first", "image": "i"}]);
    let pod = json!({"metadata": {"name": "p"},
        "spec": {"nodeName": node, "containers": containers, "initContainers": init}});
    let made = world.post(PODS, pod).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    world
}

#[tokio::test]
async fn container_must_be_named_where_there_are_several_and_must_exist() {
    let world = with_pod(None).await;
    for subresource in ["log", "exec", "attach"] {
        let said = world.get(&format!("{PODS}/p/{subresource}")).await.said();
        assert_eq!(
            said,
            "400 BadRequest: a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [first]"
        );
        let said = world.get(&format!("{PODS}/p/{subresource}?container=z")).await.said();
        assert_eq!(said, "400 BadRequest: container z is not valid for pod p");
    }
    assert_eq!(world.get(&format!("{PODS}/q/log")).await.said(), "404 NotFound: pods \"q\" not found");
}

#[tokio::test]
async fn pod_without_a_node_has_no_log_yet_and_no_streams() {
    let world = with_pod(None).await;
    assert_eq!(world.get(&format!("{PODS}/p/log?container=a")).await.status, 204);
    for subresource in ["exec?container=a", "attach?container=first", "portforward"] {
        assert_eq!(
            world.post(&format!("{PODS}/p/{subresource}"), json!({})).await.said(),
            "400 BadRequest: pod p does not have a host assigned"
        );
    }
}

#[tokio::test]
async fn log_options_are_checked_first() {
    let world = World::new().await;
    let refused = world.get(&format!("{PODS}/p/log?tailLines=-1&limitBytes=0")).await;
    assert_eq!(
        refused.said(),
        "422 Invalid: PodLogOptions \"p\" is invalid: [tailLines: Invalid value: -1: must be greater than or equal to 0, limitBytes: Invalid value: 0: must be greater than 0]"
    );
    assert_eq!(refused.json()["details"]["causes"][1]["field"], "limitBytes");
    let said = world.get(&format!("{PODS}/p/log?tailLines=x")).await.said();
    assert_eq!(said, "400 BadRequest: strconv.ParseInt: parsing \"x\": invalid syntax");
}

#[tokio::test]
async fn node_that_is_not_there_is_an_error_of_the_server() {
    let world = with_pod(Some("gone")).await;
    assert_eq!(
        world.get(&format!("{PODS}/p/log?container=a")).await.said(),
        "500 InternalError: Internal error occurred: error getting node: nodes \"gone\" not found"
    );
}

/// A user who may use these verbs on these resources.
async fn user(world: &World, verbs: &[&str], resources: &[&str]) -> World {
    let group = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rules = json!([{"apiGroups": [""], "verbs": verbs, "resources": resources}]);
    let role = json!({"metadata": {"name": "r"}, "rules": rules});
    assert_eq!(world.post(&format!("{group}/roles"), role).await.status, 201);
    let binding = json!({"metadata": {"name": "r"},
        "subjects": [{"kind": "User", "name": "eve"}],
        "roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}});
    assert_eq!(world.post(&format!("{group}/rolebindings"), binding).await.status, 201);
    world.as_user(User::authenticated("eve", [""; 0]))
}

#[tokio::test]
async fn websockets_get_needs_the_right_to_create_too() {
    let world = with_pod(None).await;
    let eve = user(&world, &["get"], &["pods/exec", "pods/attach", "pods/portforward", "pods/log"]).await;
    for subresource in ["exec", "attach", "portforward"] {
        let said = eve.get(&format!("{PODS}/p/{subresource}?container=a")).await.said();
        assert_eq!(
            said,
            format!(
                "403 Forbidden: pods \"p\" is forbidden: User \"eve\" cannot create resource \"pods/{subresource}\" in API group \"\" in the namespace \"default\""
            )
        );
    }
    // Reading a log is only reading.
    assert_eq!(eve.get(&format!("{PODS}/p/log?container=a")).await.status, 204);
}

#[tokio::test]
async fn proxy_takes_a_verb_for_each_method() {
    let world = with_pod(None).await;
    let eve = user(&world, &["get", "delete"], &["pods/proxy"]).await;
    let url = format!("{PODS}/http:p:80/proxy/x/y");
    // The right is there; the pod has no address yet.
    assert_eq!(eve.get(&url).await.said(), "400 BadRequest: address not allowed");
    assert_eq!(eve.delete(&url).await.said(), "400 BadRequest: address not allowed");
    assert_eq!(eve.post(&url, json!({})).await.status, 403);
    assert_eq!(eve.put(&url, json!({})).await.status, 403);
}

#[tokio::test]
async fn proxy_names_what_it_cannot_reach() {
    let world = with_pod(None).await;
    for (url, said) in [
        ("pods/ftp:p:80/proxy/", "400 BadRequest: invalid pod request \"ftp:p:80\""),
        ("pods/q/proxy/", "404 NotFound: pods \"q\" not found"),
        ("pods/p:http/proxy/", "400 BadRequest: invalid port \"http\""),
    ] {
        assert_eq!(world.get(&format!("/api/v1/namespaces/default/{url}")).await.said(), said);
    }
    assert_eq!(
        world.get("/api/v1/nodes/n/proxy/metrics").await.said(),
        "404 NotFound: nodes \"n\" not found"
    );
}
