//! Forms of answers, discovery, health, and the headers that all answers have.

use serde_json::json;

use crate::world::{Answer, World};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn accepting(world: &World, url: &str, accept: &str) -> Answer {
    let request = http::Request::get(url).header("accept", accept).header("accept-encoding", "gzip");
    world.send(request.body(apiserver::body::empty()).unwrap()).await
}

#[tokio::test]
async fn tables_and_metadata_are_computed_for_lists_and_objects() {
    let world = World::new().await;
    world.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let list = accepting(&world, MAPS, table).await.json();
    assert_eq!((&list["kind"], &list["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    assert!(list["metadata"]["resourceVersion"].is_string());
    let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = accepting(&world, MAPS, partial).await.json();
    assert_eq!(
        (&list["kind"], &list["items"][0]["metadata"]["name"]),
        (&json!("PartialObjectMetadataList"), &json!("a"))
    );
    assert!(list["items"][0].get("data").is_none());
    // Upstream names Go's types, and does not fall back to the header's next range.
    let said = accepting(&world, &format!("{MAPS}/a"), partial).await.said();
    assert_eq!(
        said,
        "406 NotAcceptable: you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)"
    );
    let single = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
    assert_eq!(accepting(&world, &format!("{MAPS}/a"), single).await.json()["kind"], "PartialObjectMetadata");
    let said = accepting(&world, "/apis/apps/v1/daemonsets", single).await.said();
    assert_eq!(
        said,
        "406 NotAcceptable: you requested PartialObjectMetadata, but the requested object is a list (*apps.DaemonSetList)"
    );
    let yaml = accepting(&world, &format!("{MAPS}/a"), "application/yaml").await;
    assert_eq!(yaml.headers["content-type"], "application/yaml");
}

#[tokio::test]
async fn rows_carry_as_much_of_their_object_as_asked() {
    let world = World::new().await;
    world.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for (query, kind) in [
        ("", json!("PartialObjectMetadata")),
        ("?includeObject=None", json!(null)),
        ("?includeObject=Object", json!("ConfigMap")),
    ] {
        let answer = accepting(&world, &format!("{MAPS}/a{query}"), table).await.json();
        assert_eq!(answer["rows"][0]["object"]["kind"], kind, "{query}");
    }
    let wrong = accepting(&world, &format!("{MAPS}?includeObject=All"), table).await;
    assert_eq!(
        wrong.said(),
        "400 BadRequest: Unable to convert to Table as requested: includeObject: Invalid value: \"All\": must be 'Metadata', 'Object', 'None', or empty"
    );
    // Without a table nobody reads the parameter.
    assert_eq!(world.get(&format!("{MAPS}?includeObject=All")).await.status, 200);
}

#[tokio::test]
async fn large_lists_are_compressed_and_small_ones_are_not() {
    let world = World::new().await;
    let small = accepting(&world, MAPS, "application/json").await;
    assert!(small.headers.get("content-encoding").is_none());
    let big = "x".repeat(50_000);
    for i in 0..4 {
        world.post(MAPS, json!({"metadata": {"name": format!("m{i}")}, "data": {"k": big}})).await;
    }
    let large = accepting(&world, MAPS, "application/json").await;
    assert_eq!(large.headers["content-encoding"], "gzip");
    assert!(large.body.len() < 50_000);
}

#[tokio::test]
async fn every_answer_has_its_headers() {
    let world = World::new().await;
    let answer = world.get(MAPS).await;
    assert_eq!(answer.headers["cache-control"], "no-cache, private");
    assert!(answer.headers.contains_key("audit-id"));
    // There are no FlowSchemas and levels as objects whose uids could be told.
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("x-kubernetes-pf-")));
}

#[tokio::test]
async fn discovery_openapi_version_health_and_metrics_answer() {
    let world = World::new().await;
    assert_eq!(world.get("/api").await.json()["versions"], json!(["v1"]));
    assert!(world.get("/apis/apps/v1").await.json()["resources"].is_array());
    assert_eq!(world.get("/version").await.json()["gitVersion"], "v1.35.0+everynode");
    assert!(world.get("/openapi/v3").await.json()["paths"]["apis/apps/v1"].is_object());
    for path in ["/healthz", "/livez", "/readyz", "/readyz/store"] {
        let answer = world.get(path).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"ok"[..]), "{path}");
    }
    let verbose = world.get("/readyz?verbose").await;
    assert!(verbose.body.starts_with(b"[+]ping ok\n") && verbose.body.ends_with(b"readyz check passed\n"));
    let version = world.get("/version").await.json();
    for number in ["major", "minor"] {
        let digits = version[number].as_str().unwrap();
        assert!(
            !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()),
            "{number}: {digits}"
        );
    }
    let without = world.get("/livez?verbose&exclude=store&exclude=log").await;
    let text = String::from_utf8(without.body.to_vec()).unwrap();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        ["[+]ping ok", "[+]log excluded: ok", "[+]store excluded: ok", "[+]windows ok", "livez check passed"]
    );
    let metrics = String::from_utf8(world.get("/metrics").await.body.to_vec()).unwrap();
    assert!(metrics.contains("apiserver_storage_objects{resource=\"namespaces\"} 4"), "{metrics}");
}

#[tokio::test]
async fn protobuf_bodies_create_and_delete_and_are_never_patches() {
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    let world = World::new().await;
    // A ConfigMap of the name `a` with the entry `k`: `v`.
    let map = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0d\x0a\x03\x0a\x01a\x12\x06\x0a\x01k\x12\x01v"
        .as_slice();
    let created = world.ask("POST", MAPS, PROTOBUF, map).await;
    assert_eq!((created.status.as_u16(), &created.json()["data"]), (201, &json!({"k": "v"})));
    let url = format!("{MAPS}/a");
    let patched = world.ask("PATCH", &url, PROTOBUF, map).await;
    assert_eq!(patched.status, 415);
    // DeleteOptions whose precondition is the uid `x`.
    let other = b"k8s\0\x0a\x13\x0a\x02v1\x12\x0dDeleteOptions\x12\x05\x12\x03\x0a\x01x".as_slice();
    assert_eq!(world.ask("DELETE", &url, PROTOBUF, other).await.status, 409);
    let broken = world.ask("POST", MAPS, PROTOBUF, &map[..20]).await;
    assert_eq!(broken.status, 400);
}

#[tokio::test]
async fn rules_of_oneself_are_listed_for_a_namespace() {
    const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let world = World::new().await;
    let review = world.post(REVIEWS, json!({"spec": {"namespace": "default"}})).await.json();
    let all = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    assert!(review["status"]["resourceRules"].as_array().unwrap().contains(&all), "{review}");
    assert_eq!(review["status"]["incomplete"], json!(false));
    let nowhere = world.post(REVIEWS, json!({"spec": {}})).await;
    assert_eq!(nowhere.said(), "400 BadRequest: no namespace on request");
}

#[tokio::test]
async fn a_schema_asked_for_by_its_hash_may_be_kept_and_an_old_hash_leads_to_it() {
    let world = World::new().await;
    let index = world.get("/openapi/v3").await.json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let kept = world.get(&url).await;
    assert_eq!(
        (kept.status.as_u16(), kept.headers["cache-control"].to_str().unwrap()),
        (200, "public, immutable")
    );
    assert!(kept.headers["expires"].to_str().unwrap().ends_with(" GMT"));
    let plain = world.get("/openapi/v3/apis/apps/v1").await;
    assert_eq!(plain.headers["cache-control"], "no-cache, private");
    let old = world.get("/openapi/v3/apis/apps/v1?hash=OLD").await;
    assert_eq!((old.status.as_u16(), old.headers["location"].to_str().unwrap()), (301, url.as_str()));
}

#[tokio::test]
async fn answers_to_people_are_indented_and_to_programs_compact() {
    let world = World::new().await;
    let ask = async |url: &str, agent: &'static str| {
        let request =
            http::Request::get(url).header("user-agent", agent).body(apiserver::body::empty()).unwrap();
        let answer = world.send(request).await;
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    let namespace = "/api/v1/namespaces/default";
    for (url, agent, indented) in [
        (namespace.to_owned(), "curl/7.88.1", true),
        (namespace.to_owned(), "kubectl/v1.35.0", false),
        (format!("{namespace}?pretty=true"), "kubectl/v1.35.0", true),
        (format!("{namespace}?pretty=0"), "curl/7.88.1", false),
        ("/api/v1/namespaces".to_owned(), "Wget/1.21", true),
        ("/api/v1/namespaces/none".to_owned(), "curl/7.88.1", true),
        ("/apis".to_owned(), "Mozilla/5.0 (X11)", true),
        ("/openapi/v3/api/v1".to_owned(), "curl/7.88.1", false),
        ("/version".to_owned(), "kubectl/v1.35.0", true),
    ] {
        let text = ask(&url, agent).await;
        assert_eq!(text.starts_with("{\n  \""), indented, "{url} {agent}: {text:.80}");
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{url}: {text}");
    }
    let watch = ask("/api/v1/namespaces?watch=1&timeoutSeconds=1", "curl/7.88.1").await;
    assert_eq!(
        watch.lines().next().map(|line| line.starts_with("{\"type\":\"ADDED\"")),
        Some(true),
        "{watch}"
    );
}
