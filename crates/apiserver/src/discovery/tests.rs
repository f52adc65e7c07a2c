//! Discovery documents against the scheme, and against hashes that upstream publishes.

use serde_json::Value;

use super::*;

fn read(path: &str, accept: Option<&str>) -> Value {
    let document = document(path, accept).unwrap_or_else(|| panic!("no document at {path}"));
    serde_json::from_slice(&document.bytes).unwrap()
}

fn resource(list: &Value, name: &str) -> Value {
    let found = list["resources"].as_array().unwrap().iter().find(|entry| entry["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}")).clone()
}

#[test]
fn core_is_found_at_api() {
    assert_eq!(read("/api", None)["versions"], serde_json::json!(["v1"]));
    let list = read("/api/v1", None);
    assert_eq!(list["groupVersion"], "v1");
    let pods = resource(&list, "pods");
    assert_eq!(pods["kind"], "Pod");
    assert_eq!(pods["shortNames"], serde_json::json!(["po"]));
    assert_eq!(pods["categories"], serde_json::json!(["all"]));
    assert_eq!(pods["namespaced"], true);
    let eviction = resource(&list, "pods/eviction");
    assert_eq!((&eviction["group"], &eviction["version"]), (&"policy".into(), &"v1".into()));
    assert_eq!(resource(&list, "pods/log")["kind"], "Pod");
}

#[test]
fn storage_version_hashes_are_those_of_upstream() {
    assert_eq!(resource(&read("/api/v1", None), "pods")["storageVersionHash"], "xPOwRZ+Yhw8=");
    for path in ["/apis/apps/v1", "/apis/extensions/v1beta1"] {
        assert_eq!(resource(&read(path, None), "daemonsets")["storageVersionHash"], "dd7pWHUlMKQ=");
    }
    let reviews = resource(&read("/apis/authorization.k8s.io/v1", None), "subjectaccessreviews");
    assert_eq!(reviews.get("storageVersionHash"), None);
}

#[test]
fn apps_v1_is_preferred_and_comes_before_the_legacy_group() {
    let groups = read("/apis", None);
    let groups = groups["groups"].as_array().unwrap();
    let at = |name: &str| groups.iter().position(|group| group["name"] == name).unwrap();
    assert_eq!(groups[at("apps")]["preferredVersion"]["groupVersion"], "apps/v1");
    assert!(at("apps") < at("extensions"));
    let apps = read("/apis/apps", None);
    assert_eq!(apps["kind"], "APIGroup");
    assert_eq!(apps["versions"][1]["version"], "v1beta2");
}

#[test]
fn no_short_name_or_category_names_a_legacy_resource() {
    let legacy = resource(&read("/apis/extensions/v1beta1", None), "daemonsets");
    assert_eq!((legacy.get("shortNames"), legacy.get("categories")), (None, None));
    let current = resource(&read("/apis/apps/v1", None), "daemonsets");
    assert_eq!(current["shortNames"], serde_json::json!(["ds"]));
}

#[test]
fn every_resource_of_the_scheme_is_listed_once_in_both_forms() {
    let accept = Some(Form::AggregatedV2.content_type());
    for row in RESOURCES {
        let path = match row.group {
            "" => format!("/api/{}", row.version),
            group => format!("/apis/{group}/{}", row.version),
        };
        let list = read(&path, None);
        let same = list["resources"].as_array().unwrap().iter().filter(|e| e["name"] == row.plural);
        assert_eq!(same.count(), 1, "{}", row.qualified());

        let aggregated = read(if row.group.is_empty() { "/api" } else { "/apis" }, accept);
        let resources: Vec<&Value> = aggregated["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|group| group["metadata"]["name"].as_str().unwrap_or("") == row.group)
            .flat_map(|group| group["versions"].as_array().unwrap())
            .filter(|version| version["version"] == row.version)
            .flat_map(|version| version["resources"].as_array().unwrap())
            .filter(|resource| resource["resource"] == row.plural)
            .collect();
        let [only] = resources[..] else { panic!("{} is listed {} times", row.plural, resources.len()) };
        assert_eq!(only["responseKind"]["kind"], row.kind);
        assert_eq!(
            only["subresources"].as_array().map_or(0, Vec::len),
            row.subresources.len(),
            "{}",
            row.qualified()
        );
    }
}

#[test]
fn the_accept_header_chooses_the_form() {
    let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let v2beta1 = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    for (accept, want) in [
        (None, Form::Plain),
        (Some("application/json".to_owned()), Form::Plain),
        (Some(format!("{v2},{v2beta1},application/json")), Form::AggregatedV2),
        (Some(format!("{v2beta1},application/json")), Form::AggregatedV2beta1),
        (Some(format!("application/json,{v2}")), Form::Plain),
        (
            Some("application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList".to_owned()),
            Form::Plain,
        ),
    ] {
        assert_eq!(Form::from_accept(accept.as_deref()), want, "{accept:?}");
    }
    let document = document("/apis", Some(v2)).unwrap();
    assert_eq!(document.content_type, v2);
    assert_eq!(document.etag.len(), 66);
}

#[test]
fn what_is_not_served_has_no_document() {
    for path in ["/", "/api/v2", "/apis/batch", "/apis/apps/v2", "/apis/apps/v1/daemonsets", ""] {
        assert!(document(path, None).is_none(), "{path}");
    }
    assert!(document("/apis/apps/", None).is_some());
}
