//! The raw protocol, with curl: discovery in both forms, tables, watches, compression, OpenAPI, health, metrics, refusals.

use blackbox::curl::{Answer, Curl};
use blackbox::{Machine, SOON, eventually};
use serde_json::{Value, json};

const AGGREGATED: &str =
    "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
const TABLE: &str = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const METADATA: &str =
    "Accept: application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn post(curl: &Curl, path: &str, body: &Value) -> Answer {
    curl.post(path, &body.to_string())
}

#[test]
fn curl_speaks_the_protocol() {
    let machine = Machine::server();
    let curl = Curl::new(&machine);
    discovery(&curl);
    open_api(&curl);
    forms(&curl);
    watches(&curl);
    compressed(&curl);
    health(&curl);
    refusals(&curl);
}

/// Over HTTP/2 curl before 8 loses the answer of a stream that is reset behind it: each of many must arrive.
#[test]
fn refusals_of_small_bodies_are_always_seen() {
    let machine = Machine::server();
    let curl = Curl::new(&machine);
    let json = "Content-Type: application/json";
    for _ in 0..10 {
        for (path, method, status) in [(MAPS, "PATCH", 405), ("/api/v1/none", "POST", 404)] {
            let refused = curl.ask(path, &["-X", method, "-H", json, "-d", "{}"]);
            assert_eq!(refused.status, status, "{method} {path}: {}", refused.headers);
        }
        let text = curl.ask(MAPS, &["-H", "Content-Type: text/plain", "-d", "{}"]);
        assert_eq!(text.status, 415, "{}", text.headers);
        let nobody = curl.ask_as_nobody(MAPS, &["-H", json, "-d", "{}"]);
        assert_eq!(nobody.status, 401, "{}", nobody.headers);
    }
}

fn names<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().into_iter().flatten().filter_map(|item| item[field].as_str()).collect()
}

fn discovery(curl: &Curl) {
    let core = curl.ask("/api", &[]).json();
    assert_eq!((&core["kind"], &core["versions"]), (&json!("APIVersions"), &json!(["v1"])));
    assert!(core["serverAddressByClientCIDRs"].is_array());
    let groups = curl.ask("/apis", &[]).json();
    assert_eq!(groups["kind"], "APIGroupList");
    assert!(names(&groups["groups"], "name").contains(&"apps"));
    let apps = curl.ask("/apis/apps", &[]).json();
    assert_eq!(
        (&apps["kind"], &apps["preferredVersion"]["groupVersion"]),
        (&json!("APIGroup"), &json!("apps/v1"))
    );
    let resources = curl.ask("/apis/apps/v1", &[]).json();
    assert_eq!(resources["kind"], "APIResourceList");
    assert_eq!(
        names(&resources["resources"], "name"),
        ["controllerrevisions", "daemonsets", "daemonsets/status"]
    );
    let pods = curl.ask("/api/v1", &[]).json();
    assert!(names(&pods["resources"], "name").contains(&"pods/eviction"));

    for path in ["/api", "/apis"] {
        let aggregated = curl.ask(path, &["-H", AGGREGATED]);
        assert_eq!(aggregated.json()["kind"], "APIGroupDiscoveryList", "{path}");
        let content_type = aggregated.header("content-type").unwrap_or_default();
        assert!(content_type.contains("as=APIGroupDiscoveryList"), "{content_type}");
        let tag =
            aggregated.header("etag").unwrap_or_else(|| panic!("no ETag: {}", aggregated.headers)).to_owned();
        let same = curl.ask(path, &["-H", AGGREGATED, "-H", &format!("If-None-Match: {tag}")]);
        assert_eq!((same.status, same.body.len()), (304, 0), "{path}");
    }
}

fn open_api(curl: &Curl) {
    let v2 = curl.ask("/openapi/v2", &[]).json();
    assert_eq!(v2["swagger"], "2.0");
    assert!(v2["definitions"]["io.k8s.api.apps.v1.DaemonSet"].is_object());
    let index = curl.ask("/openapi/v3", &[]).json();
    let apps = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("a URL").to_owned();
    assert!(apps.contains("?hash="), "{apps}");
    let v3 = curl.ask(&apps, &[]);
    assert!(v3.json()["paths"]["/apis/apps/v1/namespaces/{namespace}/daemonsets"]["post"].is_object());
    assert!(v3.header("cache-control").is_some_and(|value| value.contains("immutable")), "{}", v3.headers);
    let tag = v3.header("etag").expect("ETag").to_owned();
    assert_eq!(curl.ask(&apps, &["-H", &format!("If-None-Match: {tag}")]).status, 304);
}

fn forms(curl: &Curl) {
    for number in 0..5 {
        let made = post(curl, MAPS, &json!({"metadata": {"name": format!("m{number}")}, "data": {"a": "b"}}));
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let table = curl.ask(MAPS, &["-H", TABLE]).json();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(names(&table["columnDefinitions"], "name"), ["Name", "Data", "Age"]);
    assert!(
        table["rows"][0]["cells"].is_array() && table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    );
    let metadata = curl.ask(MAPS, &["-H", METADATA]).json();
    assert_eq!(metadata["kind"], "PartialObjectMetadataList");
    assert!(metadata["items"][0].get("data").is_none());
    let yaml = curl.ask(&format!("{MAPS}/m0"), &["-H", "Accept: application/yaml"]);
    assert!(yaml.text().contains("kind: ConfigMap"), "{}", yaml.text());

    let mut token = String::new();
    let (mut seen, mut revisions) = (Vec::new(), Vec::new());
    loop {
        let page = curl.ask(&format!("{MAPS}?limit=2&continue={token}"), &[]).json();
        seen.extend(
            names(
                &page["items"].as_array().expect("items").iter().map(|o| o["metadata"].clone()).collect(),
                "name",
            )
            .iter()
            .map(|name| (*name).to_owned()),
        );
        revisions.push(page["metadata"]["resourceVersion"].clone());
        match page["metadata"]["continue"].as_str() {
            Some(next) if !next.is_empty() => token = next.to_owned(),
            _ => break,
        }
    }
    assert!(
        ["m0", "m1", "m2", "m3", "m4"].iter().all(|name| seen.iter().any(|known| known == name)),
        "{seen:?}"
    );
    assert!(
        revisions.iter().all(|revision| *revision == revisions[0]),
        "one revision for all pages: {revisions:?}"
    );
}

fn watches(curl: &Curl) {
    let from =
        curl.ask(MAPS, &[]).json()["metadata"]["resourceVersion"].as_str().expect("version").to_owned();
    assert_eq!(curl.ask(&format!("{MAPS}/m0"), &["-X", "DELETE"]).status, 200);
    let answer = curl.ask(&format!("{MAPS}?watch=true&resourceVersion={from}&timeoutSeconds=1"), &[]);
    let text = answer.text();
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert_eq!((lines.len(), &lines[0]["type"]), (1, &json!("DELETED")));
    assert_eq!(lines[0]["object"]["metadata"]["name"], "m0");
    let stream = "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1";
    let text = curl.ask(&format!("{MAPS}{stream}&labelSelector=none%3Dnone"), &[]).text();
    let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["type"], "BOOKMARK");
    assert_eq!(first["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

fn compressed(curl: &Curl) {
    let big = "x".repeat(200_000);
    assert_eq!(post(curl, MAPS, &json!({"metadata": {"name": "big"}, "data": {"x": big}})).status, 201);
    let path = format!("{MAPS}/big");
    let packed = curl.ask(&path, &["-H", "Accept-Encoding: gzip"]);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < 10_000, "{}", packed.body.len());
    let unpacked = curl.ask(&path, &["--compressed"]).json();
    assert_eq!(unpacked["data"]["x"].as_str().map(str::len), Some(200_000));
    assert_eq!(curl.ask(&path, &[]).header("content-encoding"), None);
}

fn health(curl: &Curl) {
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(curl.ask_as_nobody(path, &[]).text(), "ok", "{path}");
    }
    let verbose = curl.ask("/readyz?verbose", &[]).text();
    assert!(verbose.contains("[+]") && verbose.ends_with("readyz check passed\n"), "{verbose}");
    let version = curl.ask_as_nobody("/version", &[]).json();
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("35")));
    eventually("requests are counted", SOON, || {
        let metrics = curl.ask("/metrics", &[]).text();
        if metrics.contains("apiserver_request_total{") { Ok(()) } else { Err(metrics) }
    });
}

fn refusals(curl: &Curl) {
    let json = "Content-Type: application/json";
    for (path, options, status, reason) in [
        ("/api/v1/none", &[][..], 404, "NotFound"),
        ("/apis/none/v1", &[], 404, "NotFound"),
        ("/api/v1/namespaces/default/configmaps/none", &[], 404, "NotFound"),
        (MAPS, &["-X", "PATCH", "-H", json, "-d", "{}"], 405, "MethodNotAllowed"),
        (MAPS, &["-H", "Content-Type: text/plain", "-d", "x"], 415, "UnsupportedMediaType"),
        (MAPS, &["-H", json, "-d", "{"], 400, "BadRequest"),
        (MAPS, &["-H", json, "-d", "{\"kind\":\"Secret\",\"apiVersion\":\"v1\"}"], 400, "BadRequest"),
        (MAPS, &["-H", json, "-d", "{\"metadata\":{\"name\":\"No\"}}"], 422, "Invalid"),
        (MAPS, &["-H", "Accept: image/png"], 406, "NotAcceptable"),
        ("/api/v1/configmaps?labelSelector=,,", &[], 400, "BadRequest"),
        ("/api/v1/configmaps?continue=rubbish", &[], 400, "BadRequest"),
        ("/api/v1/configmaps?resourceVersion=999999999&resourceVersionMatch=Exact", &[], 504, "Timeout"),
    ] {
        let answer = curl.ask(path, options);
        let told = answer.json();
        assert_eq!((answer.status, &told["reason"]), (status, &reason.into()), "{path} {options:?}: {told}");
        assert_eq!((&told["kind"], &told["code"]), (&"Status".into(), &status.into()), "{path}");
    }
    let stranger = curl.ask_as_nobody("/api/v1/nodes", &[]);
    assert!(matches!(stranger.status, 401 | 403), "{}", stranger.text());
}
