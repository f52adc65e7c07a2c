//! Tokens through the door: asked for, shown, reviewed, and void with what they are bound to.

use apiserver::access::User;
use base64::Engine;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::world::{Answer, World};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";
const PODS: &str = "/api/v1/namespaces/default/pods";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

async fn token(world: &World, body: Value) -> String {
    let answer = world.post(TOKEN, body).await;
    assert_eq!(answer.status, 201, "{}", answer.said());
    answer.json()["status"]["token"].as_str().unwrap().to_owned()
}

/// As over the network: the token is all that says who asks.
async fn bearing(world: &World, token: &str, method: &str, url: &str, body: Value) -> Answer {
    let request = Request::builder().method(method).uri(url).header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {token}"));
    let request = request.body(apiserver::body::full(body.to_string())).unwrap();
    let response = world.server.handle(request).await;
    let (parts, body) = response.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

async fn who(world: &World, token: &str) -> Option<Value> {
    let answer = bearing(world, token, "POST", WHO, json!({})).await;
    (answer.status != StatusCode::UNAUTHORIZED).then(|| answer.json()["status"]["userInfo"].clone())
}

fn pod(name: &str, node: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}})
}

fn bound(kind: &str, object: &Value) -> Value {
    json!({"spec": {"audiences": [], "boundObjectRef": {"apiVersion": "v1", "kind": kind,
        "name": object["metadata"]["name"], "uid": object["metadata"]["uid"]}}})
}

#[tokio::test]
async fn bearer_of_a_token_is_the_account_and_has_its_rights() {
    let world = World::new().await;
    let token = token(&world, json!({})).await;
    let user = who(&world, &token).await.unwrap();
    assert_eq!(user["username"], "system:serviceaccount:default:default");
    assert_eq!(
        user["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    assert!(
        user["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap().starts_with("JTI=")
    );
    assert_eq!(bearing(&world, &token, "GET", PODS, json!(null)).await.status, 403);
    let binding = json!({"metadata": {"name": "b"}, "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
        "roleRef": {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"}});
    world.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await;
    assert_eq!(bearing(&world, &token, "GET", PODS, json!(null)).await.status, 200);
    let forged = format!("{}x", &token[..token.len() - 1]);
    assert_eq!(
        bearing(&world, &forged, "GET", PODS, json!(null)).await.said(),
        "401 Unauthorized: Unauthorized"
    );
}

#[tokio::test]
async fn token_ends_with_the_pod_secret_node_or_account_that_it_is_bound_to() {
    let world = World::new().await;
    let node = world.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await.json();
    let of_pod = world.post(PODS, pod("p", "n1")).await.json();
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = world.post(secrets, json!({"metadata": {"name": "s"}})).await.json();
    let pods = token(&world, bound("Pod", &of_pod)).await;
    let secrets_token = token(&world, bound("Secret", &secret)).await;
    let nodes = token(&world, bound("Node", &node)).await;
    let extra = who(&world, &pods).await.unwrap()["extra"].clone();
    for (key, value) in [
        ("pod-name", &of_pod["metadata"]["name"]),
        ("pod-uid", &of_pod["metadata"]["uid"]),
        ("node-name", &node["metadata"]["name"]),
        ("node-uid", &node["metadata"]["uid"]),
    ] {
        assert_eq!(extra[format!("authentication.kubernetes.io/{key}")][0], *value, "{key}");
    }
    for (token, url) in [
        (&secrets_token, format!("{secrets}/s")),
        (&nodes, "/api/v1/nodes/n1".to_owned()),
        (&pods, format!("{PODS}/p?gracePeriodSeconds=0")),
    ] {
        assert!(who(&world, token).await.is_some(), "{url}");
        assert_eq!(world.delete(&url).await.status, 200);
        assert!(who(&world, token).await.is_none(), "{url}");
    }
    // An account of the same name is another one.
    let plain = token(&world, json!({})).await;
    assert!(who(&world, &plain).await.is_some());
    world.delete(&format!("{ACCOUNTS}/default")).await;
    assert!(who(&world, &plain).await.is_none());
    world.post(ACCOUNTS, json!({"metadata": {"name": "default"}})).await;
    assert!(who(&world, &plain).await.is_none());
}

#[tokio::test]
async fn token_requests_are_bounded_and_refused_as_upstream_refuses_them() {
    let world = World::new().await;
    world.post(ACCOUNTS, json!({"metadata": {"name": "other"}})).await;
    let object = world.post(PODS, pod("p", "n1")).await.json();
    let answer =
        world.post(TOKEN, json!({"spec": {"audiences": ["vault"], "expirationSeconds": 600}})).await.json();
    assert_eq!(answer["spec"]["audiences"], json!(["vault"]));
    assert_eq!(
        (&answer["metadata"]["name"], &answer["metadata"]["namespace"]),
        (&json!("default"), &json!("default"))
    );
    assert!(
        who(&world, answer["status"]["token"].as_str().unwrap()).await.is_none(),
        "it is not for this server"
    );
    let defaulted = world
        .post(TOKEN, json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}))
        .await
        .json();
    assert_eq!(
        (&defaulted["spec"]["expirationSeconds"], &defaulted["spec"]["audiences"]),
        (&json!(3600), &json!([ISSUER]))
    );
    let kubectls = json!({"metadata": {"creationTimestamp": null}, "spec": {"audiences": null, "boundObjectRef": null},
        "status": {"token": "", "expirationTimestamp": null}});
    assert_eq!(world.post(TOKEN, kubectls).await.status, 201);
    let mut wrong = bound("Pod", &object);
    wrong["spec"]["boundObjectRef"]["uid"] = json!("u");
    let uid = object["metadata"]["uid"].as_str().unwrap();
    for (url, body, said) in [
        (
            TOKEN,
            json!({"spec": {"expirationSeconds": 599}}),
            "422 Invalid: TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
        ),
        (
            TOKEN,
            json!({"spec": {"expirationSeconds": 4294967297_i64}}),
            "422 Invalid: TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
        ),
        (
            TOKEN,
            json!({"metadata": {"name": "x"}}),
            "422 Invalid: TokenRequest.authentication.k8s.io \"default\" is invalid: metadata.name: Invalid value: \"x\": must match the service account name if specified",
        ),
        (
            TOKEN,
            json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "gone"}}}),
            "404 NotFound: pods \"gone\" not found",
        ),
        (
            TOKEN,
            json!({"spec": {"boundObjectRef": {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d"}}}),
            "400 BadRequest: cannot bind token to object of type apps/v1, Kind=DaemonSet",
        ),
        (&format!("{ACCOUNTS}/gone/token"), json!({}), "404 NotFound: serviceaccounts \"gone\" not found"),
        (
            &format!("{ACCOUNTS}/other/token"),
            bound("Pod", &object),
            "400 BadRequest: cannot bind token for serviceaccount \"other\" to pod running with different serviceaccount name.",
        ),
    ] {
        assert_eq!(world.post(url, body).await.said(), said);
    }
    let said = world.post(TOKEN, wrong).await.said();
    assert!(
        said.starts_with("409 Conflict: ")
            && said.contains("(u) does not match the UID in record")
            && !said.contains(uid),
        "{said}"
    );
    assert_eq!(world.get(TOKEN).await.status, 405);
}

#[tokio::test]
async fn mounted_tokens_lifetime_is_extended_and_says_when_to_warn() {
    let world = World::new().await;
    let object = world.post(PODS, pod("p", "n1")).await.json();
    let mut body = bound("Pod", &object);
    body["spec"]["expirationSeconds"] = json!(3607);
    let token = token(&world, body).await;
    let payload =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let seconds = |field: &Value| field.as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(seconds(&claims["exp"]), 365 * 24 * 60 * 60);
    assert_eq!(seconds(&claims["kubernetes.io"]["warnafter"]), 3607);
}

#[tokio::test]
async fn nodes_have_tokens_for_their_own_pods_and_their_audiences_only() {
    let world = World::new().await;
    let node = world.as_user(User::node("n1"));
    let mut own = pod("own", "n1");
    own["spec"]["volumes"] = json!([{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}}]);
    let own = world.post(PODS, own).await.json();
    let other = world.post(PODS, pod("other", "n2")).await.json();
    assert_eq!(node.post(TOKEN, bound("Pod", &own)).await.status, 201);
    let with = |audiences: Value| {
        let mut body = bound("Pod", &own);
        body["spec"]["audiences"] = audiences;
        body
    };
    assert_eq!(node.post(TOKEN, with(json!(["vault"]))).await.status, 201);
    let mut nameless = bound("Pod", &own);
    nameless["spec"]["boundObjectRef"]["uid"] = json!("");
    for (body, why) in [
        (json!({}), "node requested token not bound to a pod"),
        (nameless, "node requested token with a pod binding without a uid"),
        (bound("Pod", &other), "node requested token bound to a pod scheduled on a different node"),
        (with(json!(["bank"])), "audience \"bank\" not found in pod spec volume"),
        (with(json!(["vault", "bank"])), "node may only request 0 or 1 audiences"),
    ] {
        let said = node.post(TOKEN, body).await.said();
        assert_eq!(said, format!("403 Forbidden: serviceaccounts \"default\" is forbidden: {why}"));
    }
    // An account of no Pod of its own is not the node's to have tokens of.
    world.post(ACCOUNTS, json!({"metadata": {"name": "rich"}})).await;
    let said = node.post(&format!("{ACCOUNTS}/rich/token"), bound("Pod", &own)).await.said();
    assert!(said.contains("no relationship found between node 'n1' and this object"), "{said}");
}

#[tokio::test]
async fn reviews_say_whose_token_it_is_and_for_whom() {
    let world = World::new().await;
    let plain = token(&world, json!({})).await;
    let vault = token(&world, json!({"spec": {"audiences": ["vault"]}})).await;
    let review = async |token: &str, audiences: Value| {
        let body = json!({"spec": {"token": token, "audiences": audiences}});
        world.post(REVIEWS, body).await.json()["status"].clone()
    };
    let found = review(&plain, json!(null)).await;
    assert_eq!(found["authenticated"], true);
    assert_eq!(found["user"]["username"], "system:serviceaccount:default:default");
    assert_eq!(found["audiences"], json!([ISSUER]));
    assert_eq!(review(&vault, json!(["vault", "bank"])).await["audiences"], json!(["vault"]));
    for (token, audiences) in
        [(vault.as_str(), json!(null)), (&plain, json!(["bank"])), ("nonsense", json!(null))]
    {
        let found = review(token, audiences).await;
        assert_ne!(found["authenticated"], true);
        assert!(found["error"].as_str().unwrap().contains("invalid bearer token"), "{found}");
    }
    let said = world.post(REVIEWS, json!({"spec": {}})).await.said();
    assert_eq!(said, "400 BadRequest: token is required for TokenReview in authentication");
}

#[tokio::test]
async fn bootstrap_token_of_kube_system_lets_its_bearer_in_until_it_is_gone() {
    let world = World::new().await;
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let secret = json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "stringData": {
        "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token"}});
    let token = "abcdef.0123456789abcdef";
    assert!(who(&world, token).await.is_none());
    assert_eq!(world.post(secrets, secret).await.status, 201);
    let user = who(&world, token).await.unwrap();
    assert_eq!(user["username"], "system:bootstrap:abcdef");
    assert_eq!(
        user["groups"],
        json!([
            "system:bootstrappers",
            "system:bootstrappers:kubeadm:default-node-token",
            "system:authenticated"
        ])
    );
    assert!(who(&world, "abcdef.0123456789abcdee").await.is_none());
    world.delete(&format!("{secrets}/bootstrap-token-abcdef")).await;
    assert!(who(&world, token).await.is_none());
}

#[tokio::test]
async fn keys_and_issuer_are_published_for_who_may_see_them() {
    let world = World::new().await;
    let token = token(&world, json!({})).await;
    let found = bearing(&world, &token, "GET", "/.well-known/openid-configuration", json!(null)).await;
    assert_eq!(found.status, 200, "service accounts may: {}", found.said());
    let found = found.json();
    assert_eq!(found["issuer"], ISSUER);
    assert_eq!(found["id_token_signing_alg_values_supported"], json!(["ES256"]));
    let keys = world.get("/openid/v1/jwks").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    let key = &keys.json()["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["use"]), (&json!("EC"), &json!("P-256"), &json!("sig")));
    let eve = world.as_user(User::authenticated("eve", [""; 0]));
    assert_eq!(eve.get("/openid/v1/jwks").await.status, 403);
}

#[tokio::test]
async fn a_review_of_one_namespace_is_about_that_namespace() {
    let world = World::new().await;
    let url = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    let review = |namespace: &str| {
        json!({"metadata": {"namespace": "default"}, "spec": {"user": "system:admin",
        "groups": ["system:masters"], "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": namespace}}})
    };
    let found = world.post(url, review("default")).await;
    assert_eq!((found.status.as_u16(), &found.json()["status"]["allowed"]), (201, &json!(true)));
    assert_eq!(world.post(url, review("kube-system")).await.status, 400);
}
