//! Bad requests and the exact words in which they are refused.

use serde_json::json;

use crate::world::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn refusals_have_upstreams_reasons_and_words() {
    let world = World::new().await;
    world.post(MAPS, json!({"metadata": {"name": "a"}})).await;
    let named = |name: &str| json!({"metadata": {"name": name}}).to_string();
    let json_type = "application/json";
    let cases: Vec<(&str, &str, &str, String, &str)> = vec![
        (
            "GET",
            "/api/v1/namespaces/default/configmaps/x",
            json_type,
            String::new(),
            "404 NotFound: configmaps \"x\" not found",
        ),
        (
            "GET",
            "/apis/apps/v1/namespaces/default/daemonsets/x",
            json_type,
            String::new(),
            "404 NotFound: daemonsets.apps \"x\" not found",
        ),
        (
            "GET",
            "/api/v1/widgets",
            json_type,
            String::new(),
            "404 NotFound: the server could not find the requested resource",
        ),
        (
            "GET",
            "/nowhere",
            json_type,
            String::new(),
            "404 NotFound: the server could not find the requested resource",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/configmaps/a/scale",
            json_type,
            String::new(),
            "404 NotFound: the server could not find the requested resource",
        ),
        ("POST", MAPS, json_type, named("a"), "409 AlreadyExists: configmaps \"a\" already exists"),
        (
            "POST",
            "/api/v1/namespaces/nope/configmaps",
            json_type,
            named("a"),
            "404 NotFound: namespaces \"nope\" not found",
        ),
        (
            "POST",
            "/api/v1/configmaps",
            json_type,
            named("a"),
            "405 MethodNotAllowed: the server does not allow this method on the requested resource",
        ),
        (
            "POST",
            "/api/v1/namespaces/default/configmaps/a",
            json_type,
            named("a"),
            "405 MethodNotAllowed: the server does not allow this method on the requested resource",
        ),
        (
            "POST",
            MAPS,
            "text/plain",
            named("b"),
            "415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default/configmaps/a",
            "application/xml",
            "{}".into(),
            "415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
        ),
        (
            "POST",
            MAPS,
            json_type,
            json!({"metadata": {"name": "b", "namespace": "kube-system"}}).to_string(),
            "400 BadRequest: the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "PUT",
            "/api/v1/namespaces/default/configmaps/a",
            json_type,
            named("b"),
            "400 BadRequest: the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            "POST",
            MAPS,
            json_type,
            json!({"apiVersion": "v2", "metadata": {"name": "b"}}).to_string(),
            "400 BadRequest: the API version in the data (v2) does not match the expected API version (v1)",
        ),
        (
            "POST",
            MAPS,
            json_type,
            "{\"metadata\":".into(),
            "400 BadRequest: the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input (7b226d65746164617461223a)",
        ),
        (
            "POST",
            MAPS,
            json_type,
            json!({}).to_string(),
            "422 Invalid: ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
        (
            "POST",
            MAPS,
            json_type,
            json!({"metadata": {"name": "b", "resourceVersion": "1"}}).to_string(),
            "400 BadRequest: resourceVersion should not be set on objects to be created",
        ),
        (
            "POST",
            "/api/v1/namespaces/default/configmaps?dryRun=Some",
            json_type,
            named("b"),
            "422 Invalid: CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/configmaps?fieldSelector=data.k%3Dv",
            json_type,
            String::new(),
            "400 BadRequest: \"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/configmaps?resourceVersion=99999999999&resourceVersionMatch=NotOlderThan",
            json_type,
            String::new(),
            "",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/configmaps?resourceVersionMatch=Exact",
            json_type,
            String::new(),
            "422 Invalid: ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/default",
            json_type,
            String::new(),
            "403 Forbidden: namespaces \"default\" is forbidden: this namespace may not be deleted",
        ),
    ];
    for (method, url, content_type, body, expect) in cases {
        let said = world.ask(method, url, content_type, body).await.said();
        if expect.is_empty() {
            assert!(
                said.starts_with("504 Timeout: Timeout: Too large resource version: 99999999999, current: "),
                "{said}"
            );
        } else {
            assert_eq!(said, expect, "{method} {url}");
        }
    }
}

#[tokio::test]
async fn details_name_the_object_and_every_wrong_field() {
    let world = World::new().await;
    let missing = world.get(&format!("{MAPS}/x")).await.json();
    assert_eq!(missing["details"], json!({"kind": "configmaps", "name": "x"}));
    assert_eq!(
        (&missing["kind"], &missing["apiVersion"], &missing["status"], &missing["code"]),
        (&json!("Status"), &json!("v1"), &json!("Failure"), &json!(404))
    );
    let url = "/apis/apps/v1/namespaces/default/daemonsets";
    let body = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "c"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        "updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}},
    }});
    let refused = world.post(url, body).await.json();
    assert_eq!(refused["details"]["kind"], "DaemonSet");
    assert_eq!(refused["details"]["group"], "apps");
    let fields: Vec<&str> = refused["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["spec.template.metadata.labels", "spec.updateStrategy.rollingUpdate.maxUnavailable"]);
}

#[tokio::test]
async fn body_over_the_limit_is_413() {
    let world = World::new().await;
    let body = vec![b' '; 5 * 1024 * 1024];
    assert_eq!(
        world.ask("POST", MAPS, "application/json", body).await.said(),
        "413 RequestEntityTooLarge: Request entity too large: limit is 3145728"
    );
}

#[tokio::test]
async fn deep_nesting_and_foreign_accepts_are_refused() {
    let world = World::new().await;
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let map = |field: &str, levels: usize| {
        format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"m"}},"{field}":{}}}"#,
            deep(levels)
        )
    };
    let cannot = "400 BadRequest: ConfigMap in version \"v1\" cannot be handled as a ConfigMap: ";
    let unrecognized = "400 BadRequest: the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; ";
    let revision = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let data = format!(r#"{{"metadata":{{"name":"r"}},"revision":1,"data":{}}}"#, deep(200));
    for (url, body, begins) in [
        (
            MAPS,
            map("data", 9_000),
            format!("{cannot}json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string"),
        ),
        (MAPS, map("data", 10_000), format!("{unrecognized}json parse error: exceeded max depth (7b2261706956")),
        (MAPS, map("none", 10_000), format!("{unrecognized}json parse error: exceeded max depth (7b2261706956")),
        (
            MAPS,
            deep(5_000),
            format!("{unrecognized}json parse error: json: cannot unmarshal array into Go value of type struct {{ APIVersion"),
        ),
        (MAPS, "{".to_owned(), format!("{unrecognized}json parse error: unexpected end of JSON input (7b)")),
        (
            MAPS,
            r#"{"kind":5}"#.to_owned(),
            format!("{unrecognized}json parse error: json: cannot unmarshal number into Go struct field .kind of type string"),
        ),
        (
            MAPS,
            r#"{"metadata":{"name":"a"},"data":{"a":tru}}"#.to_owned(),
            format!("{unrecognized}json parse error: invalid character '}}' in literal true (expecting 'e')"),
        ),
        (revision, data, "400 BadRequest: ControllerRevision in version \"v1\" cannot be handled as a ControllerRevision: exceeded max depth".to_owned()),
    ] {
        let said = world.ask("POST", url, "application/json", body).await.said();
        assert!(said.starts_with(&begins), "{said}");
    }
    let ignored = world.ask("POST", MAPS, "application/json", map("none", 9_000)).await;
    assert_eq!(
        (ignored.status.as_u16(), ignored.warnings()),
        (201, vec!["299 - \"unknown field \\\"none\\\"\"".to_owned()])
    );
    let patch = format!(r#"{{"data":{}}}"#, deep(200));
    let said = world.ask("PATCH", &format!("{MAPS}/m"), "application/merge-patch+json", patch).await.said();
    assert_eq!(said, "400 BadRequest: error decoding patch: exceeded max depth");
    let request =
        http::Request::get(MAPS).header("accept", "text/html").body(apiserver::body::empty()).unwrap();
    assert_eq!(
        world.send(request).await.said(),
        "406 NotAcceptable: only the following media types are accepted: application/json, application/yaml"
    );
}

#[tokio::test]
async fn there_are_no_custom_resource_definitions() {
    let world = World::new().await;
    let list = world.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions?limit=500").await.json();
    assert_eq!((&list["kind"], &list["items"]), (&json!("CustomResourceDefinitionList"), &json!([])));
}

/// What upstream's routes answer: 404 where there is none, 405 where there is one for other methods.
#[tokio::test]
async fn path_that_is_none_is_404_for_every_method_and_one_without_the_method_405() {
    let world = World::new().await;
    world.post(MAPS, json!({"metadata": {"name": "a"}})).await;
    let pod = "/api/v1/namespaces/default/pods/p";
    let map = format!("{MAPS}/a");
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (methods, url, code) in [
        // No resources: what is at no path; routes by method; handlers that never ask for the method.
        ("GET POST PUT DELETE", "/nowhere", 404),
        ("GET POST", "/apis/none", 404),
        ("GET PUT", "/apis/apps/v9", 404),
        ("GET POST", "/healthz/none", 404),
        ("POST DELETE", "/openapi/v9", 404),
        ("POST PUT PATCH DELETE", "/version", 405),
        ("POST", "/api", 405),
        ("POST", "/api/v1", 405),
        ("DELETE", "/apis/apps/v1", 405),
        ("POST", "/openid/v1/jwks", 405),
        ("POST", "/.well-known/openid-configuration", 405),
        ("HEAD", "/version", 200),
        ("GET POST PUT", "/healthz", 200),
        ("POST", "/readyz", 200),
        ("POST", "/metrics", 200),
        ("POST", "/apis", 200),
        ("POST", "/apis/apps", 200),
        ("POST", "/openapi/v3", 200),
        ("POST", "/", 200),
        // Resources.
        ("HEAD", &map, 200),
        ("GET POST PUT DELETE", "/api/v1/widgets", 404),
        ("GET POST", "/apis/none/v1/widgets", 404),
        ("GET POST PUT", &format!("{map}/scale"), 404),
        ("GET POST PUT DELETE", "/api/v1/configmaps/a", 404),
        ("POST PUT PATCH DELETE", "/api/v1/configmaps", 405),
        ("POST", &map, 405),
        ("PUT PATCH", MAPS, 405),
        ("PUT PATCH DELETE", "/api/v1/namespaces", 405),
        ("GET POST", "/api/v1/namespaces/default/nodes", 404),
        ("GET PUT DELETE", reviews, 405),
        ("GET POST", &format!("{reviews}/x"), 404),
        ("GET POST", "/api/v1/bindings", 404),
        ("GET", "/api/v1/namespaces/default/bindings", 405),
        ("GET POST", "/api/v1/namespaces/default/bindings/p", 404),
        ("POST DELETE", &format!("{pod}/status"), 405),
        ("GET PUT PATCH", &format!("{pod}/binding"), 405),
        ("POST PUT", &format!("{pod}/log"), 405),
        ("GET", &format!("{pod}/status/x"), 404),
        ("POST PUT DELETE", "/api/v1/watch/namespaces/default/configmaps", 405),
        ("DELETE", "/api/v1/watch/namespaces/default/configmaps/a", 405),
    ] {
        for method in methods.split(' ') {
            let answer = world.ask(method, url, "application/json", "{}").await;
            assert_eq!(answer.status, code, "{method} {url}");
            match code {
                404 => assert_eq!(
                    answer.said(),
                    "404 NotFound: the server could not find the requested resource",
                    "{method} {url}"
                ),
                405 => assert_eq!(
                    answer.said(),
                    "405 MethodNotAllowed: the server does not allow this method on the requested resource",
                    "{method} {url}"
                ),
                _ => {}
            }
        }
    }
    assert_eq!(world.get(&map).await.status, 200, "nothing was deleted");
}

#[tokio::test]
async fn patch_of_what_is_not_there_and_options_of_other_verbs_are_refused() {
    let world = World::new().await;
    assert_eq!(
        world.merge(&format!("{MAPS}/x"), json!({"data": {}})).await.said(),
        "404 NotFound: configmaps \"x\" not found"
    );
    let url = format!("{MAPS}/x?force=true");
    assert_eq!(
        world.merge(&url, json!({"data": {}})).await.said(),
        "422 Invalid: PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
    );
    for (query, what) in [
        (
            &"fieldValidation=Maybe".to_owned(),
            "fieldValidation: Unsupported value: \"Maybe\": supported values: \"Ignore\", \"Warn\", \"Strict\"",
        ),
        (
            &format!("fieldManager={}", "m".repeat(129)),
            "fieldManager: Too long: may not be more than 128 bytes",
        ),
    ] {
        let said = world.put(&format!("{MAPS}/x?{query}"), json!({"metadata": {"name": "x"}})).await.said();
        assert_eq!(said, format!("422 Invalid: UpdateOptions.meta.k8s.io \"\" is invalid: {what}"));
    }
}
