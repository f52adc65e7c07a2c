//! What a client reads back after writing the short form.

use serde_json::{Value, json};

use super::*;

fn defaulted_daemon_set(value: Value) -> Value {
    let mut object: DaemonSet = serde_json::from_value(value).unwrap();
    daemon_set(&mut object);
    let once = object.clone();
    daemon_set(&mut object);
    assert_eq!(object, once, "defaults are idempotent");
    serde_json::to_value(object).unwrap()
}

fn defaulted_pod(spec: Value) -> Value {
    let mut object: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
    pod(&mut object);
    let once = object.clone();
    pod(&mut object);
    assert_eq!(object, once, "defaults are idempotent");
    serde_json::to_value(object).unwrap()["spec"].clone()
}

#[test]
fn a_stored_daemon_set_shows_every_default() {
    let out = defaulted_daemon_set(json!({"spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1.3"}]}}}}));
    let spec = &out["spec"];
    assert_eq!(
        spec["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})
    );
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(
        spec["template"]["spec"],
        json!({
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "securityContext": {}, "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "c", "image": "i:1.3", "imagePullPolicy": "IfNotPresent", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
        })
    );
    assert!(out["metadata"].get("labels").is_none(), "apps/v1 does not copy labels from the template");
}

#[test]
fn on_delete_gets_no_rolling_update_block() {
    let out = defaulted_daemon_set(
        json!({"spec": {"updateStrategy": {"type": "OnDelete"}, "selector": {}, "template": {}}}),
    );
    assert_eq!(out["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
}

#[test]
fn pull_policy_follows_the_tag() {
    let table = [
        ("a", "Always"),
        ("a:latest", "Always"),
        ("a:1", "IfNotPresent"),
        ("host:5000/a", "Always"),
        ("host:5000/a:1", "IfNotPresent"),
        ("a@sha256:0000", "IfNotPresent"),
        ("a:latest@sha256:0000", "Always"),
        ("", "IfNotPresent"),
    ];
    for (image, expect) in table {
        assert_eq!(container::pull_policy(image), expect, "{image}");
    }
}

#[test]
fn limits_become_requests_on_pods_but_not_on_templates() {
    let spec = json!({"containers": [{"name": "c", "image": "i", "resources":
        {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": "0.1"}}}]});
    assert_eq!(
        defaulted_pod(spec.clone())["containers"][0]["resources"],
        json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"}})
    );
    let out = defaulted_daemon_set(json!({"spec": {"selector": {}, "template": {"spec": spec}}}));
    assert_eq!(
        out["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"],
        json!({"cpu": "100m"})
    );
}

#[test]
fn service_links_and_host_ports_are_set_on_pods_but_not_on_templates() {
    let spec = json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]});
    let pod = defaulted_pod(spec.clone());
    assert_eq!(pod["enableServiceLinks"], true);
    assert_eq!(
        pod["containers"][0]["ports"][0],
        json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"})
    );
    let out = defaulted_daemon_set(json!({"spec": {"selector": {}, "template": {"spec": spec}}}));
    let template = &out["spec"]["template"]["spec"];
    assert!(template.get("enableServiceLinks").is_none());
    assert_eq!(template["containers"][0]["ports"][0], json!({"containerPort": 80, "protocol": "TCP"}));
}

#[test]
fn probes_and_hooks_are_filled_in() {
    let out = defaulted_pod(json!({"containers": [{"name": "c", "image": "i",
        "livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"grpc": {"port": 1}, "periodSeconds": 5},
        "lifecycle": {"preStop": {"httpGet": {"port": "p"}}}}]}));
    let container = &out["containers"][0];
    assert_eq!(
        container["livenessProbe"],
        json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
            "successThreshold": 1, "failureThreshold": 3})
    );
    assert_eq!(container["readinessProbe"]["grpc"], json!({"port": 1, "service": ""}));
    assert_eq!(container["readinessProbe"]["periodSeconds"], 5);
    assert_eq!(container["lifecycle"]["preStop"]["httpGet"]["path"], "/");
}

#[test]
fn volumes_and_environment_are_filled_in() {
    let out = defaulted_pod(json!({
        "volumes": [{"name": "a"}, {"name": "b", "hostPath": {"path": "/"}}, {"name": "c", "configMap": {"name": "x"}},
            {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}},
                {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}],
        "containers": [{"name": "c", "image": "i", "env": [
            {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "R", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}]}));
    assert_eq!(out["volumes"][0], json!({"name": "a", "emptyDir": {}}));
    assert_eq!(out["volumes"][1]["hostPath"], json!({"path": "/", "type": ""}));
    assert_eq!(out["volumes"][2]["configMap"]["defaultMode"], 420);
    assert_eq!(
        out["volumes"][3]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"],
        3600
    );
    assert_eq!(
        out["volumes"][3]["projected"]["sources"][1]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"],
        "v1"
    );
    assert_eq!(out["containers"][0]["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    assert_eq!(out["containers"][0]["env"][1]["valueFrom"]["resourceFieldRef"]["divisor"], "0");
}

#[test]
fn the_old_name_of_the_service_account_is_kept_in_step() {
    let out = defaulted_pod(json!({"serviceAccount": "x", "containers": []}));
    assert_eq!((&out["serviceAccountName"], &out["serviceAccount"]), (&json!("x"), &json!("x")));
}

#[test]
fn requests_of_the_pod_come_from_its_containers_and_then_from_its_limits() {
    let out = defaulted_pod(json!({"resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
        "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "500m"}}}]}));
    assert_eq!(out["resources"]["requests"], json!({"cpu": "500m", "memory": "1Gi"}));
}

#[test]
fn small_kinds_get_theirs() {
    let mut one: Secret =
        serde_json::from_value(json!({"data": {"a": "eA=="}, "stringData": {"a": "y", "b": "z"}})).unwrap();
    secret(&mut one);
    assert_eq!(
        serde_json::to_value(&one).unwrap()["data"],
        json!({"a": "eQ==", "b": "eg=="}),
        "stringData wins and is not stored"
    );
    assert_eq!((one.type_.as_deref(), one.string_data), (Some("Opaque"), None));

    let mut one: Namespace = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
    namespace(&mut one);
    let value = serde_json::to_value(&one).unwrap();
    assert_eq!(value["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "n"}));
    assert_eq!(value["status"]["phase"], "Active");

    let mut one: ClusterRoleBinding =
        serde_json::from_value(json!({"roleRef": {"kind": "ClusterRole", "name": "r"},
        "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}))
        .unwrap();
    cluster_role_binding(&mut one);
    assert_eq!(one.role_ref.api_group, RBAC_GROUP);
    let groups: Vec<_> = one.subjects.unwrap().into_iter().map(|s| s.api_group).collect();
    assert_eq!(groups, [Some(RBAC_GROUP.to_owned()), None]);

    let mut one = PriorityClass::default();
    priority_class(&mut one);
    assert_eq!(one.preemption_policy.as_deref(), Some("PreemptLowerPriority"));

    let mut one: Node =
        serde_json::from_value(json!({"status": {"capacity": {"memory": "1048576Ki"}}})).unwrap();
    node(&mut one);
    assert_eq!(one.status.unwrap().allocatable.unwrap()["memory"].0, "1Gi");
}
