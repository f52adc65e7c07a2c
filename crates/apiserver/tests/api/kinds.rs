//! Every further kind is made, read, listed, changed and removed by the same doors; what is particular to one is here.

use serde_json::{Value, json};

use crate::world::World;

const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// One valid object of each kind, by the URL of its collection.
fn examples() -> Vec<(&'static str, Value)> {
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    vec![
        ("/api/v1/namespaces/default/podtemplates", json!({"metadata": {"name": "a"}, "template": template})),
        (
            "/api/v1/namespaces/default/services",
            json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}),
        ),
        (
            "/api/v1/namespaces/default/endpoints",
            json!({"metadata": {"name": "a"}, "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}),
        ),
        (
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            json!({"metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}],
                "ports": [{"port": 80}]}),
        ),
        (
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            json!({"metadata": {"name": "a"}, "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}}}),
        ),
        ("/apis/node.k8s.io/v1/runtimeclasses", json!({"metadata": {"name": "a"}, "handler": "kata"})),
        (
            "/apis/storage.k8s.io/v1/storageclasses",
            json!({"metadata": {"name": "a"}, "provisioner": "example.com/disk"}),
        ),
        ("/apis/storage.k8s.io/v1/csidrivers", json!({"metadata": {"name": "a"}, "spec": {}})),
        (
            "/apis/storage.k8s.io/v1/csinodes",
            json!({"metadata": {"name": "a"}, "spec": {"drivers": [{"name": "d", "nodeID": "n"}]}}),
        ),
        (
            CSRS,
            json!({"metadata": {"name": "a"}, "spec": {"request": request("alice", &[]), "usages": ["client auth"],
                "signerName": "kubernetes.io/kube-apiserver-client"}}),
        ),
    ]
}

/// A PEM certificate request, as base64.
fn request(name: &str, groups: &[&str]) -> String {
    use base64::Engine as _;
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    for group in groups {
        params.distinguished_name.push(rcgen::DnType::OrganizationName, *group);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    base64::engine::general_purpose::STANDARD.encode(pem)
}

#[tokio::test]
async fn every_kind_is_made_read_listed_changed_and_removed() {
    let world = World::new().await;
    for (url, body) in examples() {
        let made = world.post(url, body).await;
        assert_eq!(made.status, 201, "{url}: {}", made.said());
        let one = format!("{url}/a");
        assert_eq!(world.get(&one).await.json(), made.json(), "{url}");
        let listed = world.get(url).await.json();
        let names: Vec<&Value> =
            listed["items"].as_array().unwrap().iter().map(|o| &o["metadata"]["name"]).collect();
        assert!(names.contains(&&json!("a")), "{url}: {names:?}");
        assert_eq!(listed["kind"], format!("{}List", made.json()["kind"].as_str().unwrap()), "{url}");
        let same = world.put(&one, made.json()).await;
        assert_eq!(
            same.json()["metadata"]["resourceVersion"],
            made.json()["metadata"]["resourceVersion"],
            "{url}"
        );
        let labelled = world.merge(&one, json!({"metadata": {"labels": {"x": "y"}}})).await;
        assert_eq!(labelled.json()["metadata"]["labels"]["x"], "y", "{url}: {}", labelled.said());
        assert_eq!(world.delete(&one).await.status, 200, "{url}");
        assert_eq!(world.get(&one).await.status, 404, "{url}");
    }
}

#[tokio::test]
async fn defaults_are_shown() {
    let world = World::new().await;
    for (url, body) in examples() {
        world.post(url, body).await;
    }
    let read = async |url: &str| world.get(&format!("{url}/a")).await.json();
    let slice = read("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices").await;
    assert_eq!(slice["ports"], json!([{"name": "", "port": 80, "protocol": "TCP"}]));
    assert_eq!(slice["metadata"]["generation"], 1);
    let endpoints = read("/api/v1/namespaces/default/endpoints").await;
    assert_eq!(endpoints["subsets"][0]["ports"], json!([{"port": 80, "protocol": "TCP"}]));
    let class = read("/apis/storage.k8s.io/v1/storageclasses").await;
    assert_eq!(
        (&class["reclaimPolicy"], &class["volumeBindingMode"]),
        (&json!("Delete"), &json!("Immediate"))
    );
    let driver = read("/apis/storage.k8s.io/v1/csidrivers").await;
    assert_eq!(
        driver["spec"],
        json!({"attachRequired": true, "podInfoOnMount": false, "storageCapacity": false, "requiresRepublish": false,
            "seLinuxMount": false, "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"]})
    );
    let budget = read("/apis/policy/v1/namespaces/default/poddisruptionbudgets").await;
    assert_eq!(budget["metadata"]["generation"], 1);
    assert_eq!(
        budget["status"],
        json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
    );
    let template = read("/api/v1/namespaces/default/podtemplates").await;
    assert_eq!(template["template"]["spec"]["dnsPolicy"], "ClusterFirst");
}

#[tokio::test]
async fn status_and_spec_of_a_budget_are_written_apart_and_its_generation_counts_the_spec() {
    let world = World::new().await;
    let url = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    world.post(url, json!({"metadata": {"name": "a"}, "spec": {"maxUnavailable": 1}})).await;
    let one = format!("{url}/a");
    let status = json!({"spec": {"maxUnavailable": 5}, "status": {"disruptionsAllowed": 1, "expectedPods": 2,
        "currentHealthy": 2, "desiredHealthy": 1}});
    let written = world.merge(&format!("{one}/status"), status).await.json();
    assert_eq!(
        (&written["spec"]["maxUnavailable"], &written["status"]["expectedPods"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(written["metadata"]["generation"], 1);
    let changed =
        world.merge(&one, json!({"spec": {"maxUnavailable": 2}, "status": {"expectedPods": 9}})).await.json();
    assert_eq!(
        (&changed["metadata"]["generation"], &changed["status"]["expectedPods"]),
        (&json!(2), &json!(2))
    );
    let both = world.merge(&one, json!({"spec": {"minAvailable": 1}})).await.said();
    assert!(both.contains("minAvailable and maxUnavailable cannot be both set"), "{both}");
    let negative =
        world.merge(&format!("{one}/status"), json!({"status": {"expectedPods": -1}})).await.said();
    assert_eq!(
        negative,
        "422 Invalid: PodDisruptionBudget.policy \"a\" is invalid: status.expectedPods: Invalid value: -1: must be \
         greater than or equal to 0"
    );
}

#[tokio::test]
async fn verdict_and_certificate_of_a_request_have_a_door_each() {
    let world = World::new().await;
    let body = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"request": request("alice", &[]), "usages": ["client auth"],
            "signerName": "example.com/mine", "username": "forged", "groups": ["system:masters"]},
            "status": {"conditions": [{"type": "Approved", "status": "True"}]}})
    };
    let made = world.post(CSRS, body("a")).await.json();
    assert_eq!(made["spec"]["username"], world.user.name.as_str(), "the requestor is who asks");
    assert_eq!(made["status"], json!({}), "nobody approves their own request by making it");

    let approved = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "Yes"}],
        "certificate": "eA=="}});
    let main = world.merge(&format!("{CSRS}/a"), approved.clone()).await.json();
    assert_eq!(main["status"], json!({}), "the main door writes metadata only");
    let conditions = json!({"status": {"conditions": approved["status"]["conditions"]}});
    let told = world.merge(&format!("{CSRS}/a/status"), conditions).await;
    assert_eq!(
        told.said(),
        "422 Invalid: CertificateSigningRequest.certificates.k8s.io \"a\" is invalid: status.conditions: Forbidden: \
         updates may not add a condition of type \"Approved\""
    );
    let verdict = world.merge(&format!("{CSRS}/a/approval"), approved).await.json();
    let condition = &verdict["status"]["conditions"][0];
    assert_eq!(condition["reason"], "Yes");
    assert!(condition["lastUpdateTime"].is_string() && condition["lastTransitionTime"].is_string());
    assert_eq!(verdict["status"].get("certificate"), None);
    let said = world.merge(&format!("{CSRS}/a/approval"), json!({"status": {"conditions": []}})).await.said();
    assert!(said.ends_with("updates may not remove a condition of type \"Approved\""), "{said}");
    let both = json!({"status": {"conditions": [{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}]}});
    let said = world.merge(&format!("{CSRS}/a/approval"), both).await.said();
    assert!(said.contains("Approved and Denied conditions are mutually exclusive"), "{said}");

    let rubbish =
        world.merge(&format!("{CSRS}/a/status"), json!({"status": {"certificate": "eA=="}})).await.said();
    assert!(rubbish.contains("status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block"), "{rubbish}");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem();
    let encoded = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(certificate)
    };
    let issued = world.merge(&format!("{CSRS}/a/status"), json!({"status": {"certificate": encoded}})).await;
    assert_eq!((issued.status.as_u16(), &issued.json()["status"]["certificate"]), (200, &json!(encoded)));
    assert_eq!(issued.json()["status"]["conditions"][0]["reason"], "Yes");
}

#[tokio::test]
async fn requests_that_are_none_or_ask_for_too_much_are_refused() {
    let world = World::new().await;
    let with = |change: Value| {
        let mut body = json!({"metadata": {"name": "a"}, "spec": {"request": request("alice", &[]),
            "usages": ["client auth"], "signerName": "example.com/mine"}});
        body["spec"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    let table = [
        (
            json!({"request": "eA=="}),
            "spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST",
        ),
        (json!({"usages": []}), "spec.usages: Required value"),
        (json!({"usages": ["fly"]}), "spec.usages[0]: Unsupported value: \"fly\""),
        (
            json!({"signerName": "mine"}),
            "spec.signerName: Invalid value: \"mine\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
        ),
        (
            json!({"signerName": "kubernetes.io/legacy-unknown"}),
            "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
        ),
        (
            json!({"expirationSeconds": 599}),
            "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)",
        ),
    ];
    for (change, expect) in table {
        let said = world.post(CSRS, with(change)).await.said();
        assert!(
            said.starts_with("422 Invalid: CertificateSigningRequest.certificates.k8s.io \"a\" is invalid: ")
                && said.contains(expect),
            "{said}"
        );
    }
    let masters = with(json!({"request": request("eve", &["system:masters"]),
        "signerName": "kubernetes.io/kube-apiserver-client"}));
    assert_eq!(
        world.post(CSRS, masters).await.said(),
        "403 Forbidden: certificatesigningrequests.certificates.k8s.io \"a\" is forbidden: use of \
         kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
    );
}

#[tokio::test]
async fn approving_and_signing_need_leave_for_the_signer() {
    let world = World::new().await;
    let body = json!({"metadata": {"name": "a"}, "spec": {"request": request("alice", &[]), "usages": ["client auth"],
        "signerName": "example.com/mine"}});
    world.post(CSRS, body).await;
    let roles = "/apis/rbac.authorization.k8s.io/v1";
    let grant = async |rules: Value| {
        world
            .put(&format!("{roles}/clusterroles/r"), json!({"metadata": {"name": "r"}, "rules": rules}))
            .await;
        let binding = json!({"metadata": {"name": "r"}, "roleRef": {"kind": "ClusterRole", "name": "r"},
            "subjects": [{"kind": "User", "name": "bob"}]});
        world.put(&format!("{roles}/clusterrolebindings/r"), binding).await;
    };
    let doors = json!({"apiGroups": ["certificates.k8s.io"], "verbs": ["update", "patch"],
        "resources": ["certificatesigningrequests/approval", "certificatesigningrequests/status"]});
    let signer = |verb: &str, name: &str| json!({"apiGroups": ["certificates.k8s.io"], "verbs": [verb], "resources": ["signers"], "resourceNames": [name]});
    let bob = world.as_user(apiserver::access::User { name: "bob".to_owned(), ..Default::default() });
    let approve = json!({"status": {"conditions": [{"type": "Approved", "status": "True"}]}});
    let fail = json!({"status": {"conditions": [{"type": "Failed", "status": "True"}]}});
    grant(json!([doors])).await;
    let prefix = "403 Forbidden: certificatesigningrequests.certificates.k8s.io \"a\" is forbidden: user not permitted to ";
    assert_eq!(
        bob.merge(&format!("{CSRS}/a/approval"), approve.clone()).await.said(),
        format!("{prefix}approve requests with signerName \"example.com/mine\"")
    );
    assert_eq!(
        bob.merge(&format!("{CSRS}/a/status"), fail.clone()).await.said(),
        format!("{prefix}sign requests with signerName \"example.com/mine\"")
    );
    grant(json!([doors, signer("approve", "example.com/*"), signer("sign", "example.com/mine")])).await;
    assert_eq!(bob.merge(&format!("{CSRS}/a/status"), fail).await.status, 200);
    let both = json!({"status": {"conditions": [{"type": "Failed", "status": "True"}, {"type": "Approved", "status": "True"}]}});
    assert_eq!(bob.merge(&format!("{CSRS}/a/approval"), both).await.status, 200);
}

#[tokio::test]
async fn ephemeral_containers_are_only_added() {
    let world = World::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    world.post(pods, pod).await;
    let door = format!("{pods}/p/ephemeralcontainers");
    let debugger = json!({"name": "d", "image": "busybox:1", "targetContainerName": "c"});
    let added = world
        .ask(
            "PATCH",
            &door,
            "application/strategic-merge-patch+json",
            json!({"metadata": {"labels": {"x": "y"}}, "spec": {"ephemeralContainers": [debugger], "nodeName": "n"}}).to_string(),
        )
        .await;
    assert_eq!(added.status, 200, "{}", added.said());
    let now = added.json();
    assert_eq!(now["spec"]["ephemeralContainers"][0]["terminationMessagePolicy"], "File");
    assert_eq!(
        (now["spec"].get("nodeName"), now["metadata"].get("labels")),
        (None, None),
        "nothing else changes here"
    );
    assert_eq!(now["metadata"]["generation"], 2);
    assert_eq!(world.get(&door).await.json(), now);
    let gone = world.merge(&door, json!({"spec": {"ephemeralContainers": null}})).await.said();
    assert!(
        gone.contains(
            "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed"
        ),
        "{gone}"
    );
    let mut changed = now.clone();
    changed["spec"]["ephemeralContainers"][0]["image"] = json!("other:1");
    let said = world.put(&door, changed).await.said();
    assert!(said.contains("existing ephemeral containers \"d\" may not be changed"), "{said}");
    let mut bad = now;
    bad["spec"]["ephemeralContainers"].as_array_mut().unwrap().push(
        json!({"name": "c", "image": "i", "targetContainerName": "nobody", "ports": [{"containerPort": 1}]}),
    );
    let said = world.put(&door, bad).await.said();
    for part in [
        "spec.ephemeralContainers[1].name: Duplicate value: \"c\"",
        "spec.ephemeralContainers[1].targetContainerName: Not found: \"nobody\"",
        "spec.ephemeralContainers[1].ports: Forbidden: cannot be set for an Ephemeral Container",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn fields_select_and_tables_show_the_further_kinds() {
    let world = World::new().await;
    for (url, body) in examples() {
        world.post(url, body).await;
    }
    let count = async |url: &str| world.get(url).await.json()["items"].as_array().map(Vec::len);
    assert_eq!(
        count("/api/v1/namespaces/default/services?fieldSelector=spec.type%3DNodePort").await,
        Some(0)
    );
    assert_eq!(
        count(&format!("{CSRS}?fieldSelector=spec.signerName%3Dkubernetes.io/kube-apiserver-client")).await,
        Some(1)
    );
    for (url, _) in examples() {
        let request = http::Request::get(url)
            .header("accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
            .body(apiserver::body::empty())
            .unwrap();
        let table = world.send(request).await.json();
        let columns = table["columnDefinitions"].as_array().unwrap().len();
        let cells = table["rows"][0]["cells"].as_array().unwrap();
        assert_eq!(cells.len(), columns, "{url}");
        assert!(columns > 2, "{url} has columns of its own");
    }
}
