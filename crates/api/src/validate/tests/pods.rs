//! Pods, rule by rule.

use serde_json::{Value, json};

use super::{set, told};
use crate::default;
use crate::field::FieldError;
use crate::validate::{pod_create, pod_update};
use k8s_openapi::api::core::v1::Pod;

pub(super) fn edited(edits: &[(&str, Value)]) -> Pod {
    let mut value = json!({"metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    for (pointer, edit) in edits {
        set(&mut value, pointer, edit.clone());
    }
    let mut pod: Pod = serde_json::from_value(value).unwrap();
    default::pod(&mut pod);
    pod
}

fn create(edits: &[(&str, Value)]) -> Vec<FieldError> {
    pod_create(&edited(edits))
}

/// One edit below `/spec`, and the errors below `spec.`.
fn check(table: Vec<(&str, Value, Vec<&str>)>) {
    for (pointer, value, expect) in table {
        let expect: Vec<String> = expect.into_iter().map(|error| format!("spec.{error}")).collect();
        assert_eq!(
            told(&create(&[(&format!("/spec{pointer}"), value.clone())])),
            expect,
            "{pointer} {value}"
        );
    }
}

#[test]
fn downward_api_files_are_told_without_index() {
    let fine = json!({"path": "a", "fieldRef": {"fieldPath": "metadata.name"}});
    let bad = json!({"path": "", "fieldRef": {"fieldPath": "metadata.name"}});
    let volumes = json!([{"name": "v", "downwardAPI": {"items": [fine, bad]}}]);
    check(vec![("/volumes", volumes, vec!["volumes[0].downwardAPI.path Required"])]);
}

#[test]
fn a_plain_pod_is_valid() {
    assert_eq!(create(&[]), []);
    assert_eq!(pod_update(&edited(&[]), &edited(&[])), []);
}

#[test]
fn tolerations_are_consistent() {
    let one = |toleration: Value| json!([toleration]);
    check(vec![
        ("/tolerations", one(json!({"operator": "Exists"})), vec![]),
        ("/tolerations", one(json!({"key": "k", "value": "v", "effect": "NoSchedule"})), vec![]),
        ("/tolerations", one(json!({"operator": "Equal"})), vec!["tolerations[0].operator Invalid"]),
        (
            "/tolerations",
            one(json!({"key": "k", "tolerationSeconds": 5})),
            vec!["tolerations[0].effect Invalid"],
        ),
        ("/tolerations", one(json!({"key": "k", "tolerationSeconds": 5, "effect": "NoExecute"})), vec![]),
        (
            "/tolerations",
            one(json!({"key": "k", "operator": "Exists", "value": "v"})),
            vec!["tolerations[0].operator Invalid"],
        ),
        (
            "/tolerations",
            one(json!({"key": "k", "operator": "In"})),
            vec!["tolerations[0].operator NotSupported"],
        ),
        (
            "/tolerations",
            one(json!({"key": "k", "effect": "Never"})),
            vec!["tolerations[0].effect NotSupported"],
        ),
        (
            "/tolerations",
            one(json!({"key": "a b", "operator": "Exists"})),
            vec!["tolerations[0].key Invalid"],
        ),
    ]);
}

#[test]
fn node_affinity_terms_are_well_formed() {
    let required = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let at = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let expression = |operator: &str, values: Value| json!([{"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}]);
    let field = |key: &str, operator: &str, values: Value| json!([{"matchFields": [{"key": key, "operator": operator, "values": values}]}]);
    let e = |rest: &str| format!("{at}[0].matchExpressions[0].{rest}");
    let f = |rest: &str| format!("{at}[0].matchFields[0].{rest}");
    let table = vec![
        (json!([]), vec![format!("{at} Required")]),
        (expression("In", json!(["a"])), vec![]),
        (expression("In", json!([])), vec![e("values Required")]),
        (expression("Exists", json!(["a"])), vec![e("values Forbidden")]),
        (expression("Gt", json!(["1", "2"])), vec![e("values Required")]),
        (expression("Gt", json!(["1"])), vec![]),
        (expression("Like", json!(["1"])), vec![e("operator Invalid")]),
        (field("metadata.name", "In", json!(["n1"])), vec![]),
        (field("metadata.name", "In", json!(["n1", "n2"])), vec![f("values Required")]),
        (field("metadata.name", "Exists", json!([])), vec![f("operator Invalid")]),
        (field("metadata.uid", "In", json!(["n1"])), vec![f("key Invalid")]),
    ];
    for (terms, expect) in table {
        let expect: Vec<String> = expect.into_iter().map(|error| format!("spec.{error}")).collect();
        assert_eq!(told(&create(&[(&format!("/spec{required}"), terms.clone())])), expect, "{terms}");
    }
    let preferred = |weight: i32| json!([{"weight": weight, "preference": {"matchExpressions": []}}]);
    let pointer = "/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution";
    let path = "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight Invalid";
    check(vec![
        (pointer, preferred(1), vec![]),
        (pointer, preferred(0), vec![path]),
        (pointer, preferred(101), vec![path]),
    ]);
}

#[test]
fn pod_affinity_needs_a_topology() {
    let pointer = "/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    let at = "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]";
    let topology = format!("{at}.topologyKey");
    check(vec![
        (pointer, json!([{"topologyKey": "failure-domain.beta.kubernetes.io/zone"}]), vec![]),
        (
            pointer,
            json!([{"topologyKey": ""}]),
            vec![
                &format!("{topology} Required"),
                &format!("{topology} Invalid"),
                &format!("{topology} Invalid"),
            ],
        ),
        (
            pointer,
            json!([{"topologyKey": "a", "namespaces": ["A"]}]),
            vec![&format!("{at}.namespace Invalid")],
        ),
        (
            pointer,
            json!([{"topologyKey": "a", "labelSelector": {"matchExpressions": [{"key": "k", "operator": "In"}]}}]),
            vec![&format!("{at}.labelSelector.matchExpressions[0].values Required")],
        ),
    ]);
}

#[test]
fn host_ports_match_and_do_not_collide() {
    let ports = |ports: Value| json!([{"name": "c", "image": "i", "ports": ports}]);
    check(vec![
        ("/containers", ports(json!([{"containerPort": 80, "hostPort": 8080}])), vec![]),
        (
            "/containers",
            ports(json!([{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}])),
            vec!["containers[0].ports[1].hostPort Duplicate"],
        ),
        (
            "/containers",
            ports(
                json!([{"containerPort": 80, "hostPort": 80}, {"containerPort": 80, "hostPort": 80, "protocol": "UDP"}]),
            ),
            vec![],
        ),
        (
            "/containers",
            ports(json!([{"containerPort": 0}])),
            vec!["containers[0].ports[0].containerPort Required"],
        ),
        (
            "/containers",
            ports(json!([{"containerPort": 70000}])),
            vec!["containers[0].ports[0].containerPort Invalid"],
        ),
        (
            "/containers",
            ports(json!([{"containerPort": 80, "protocol": "ICMP"}])),
            vec!["containers[0].ports[0].protocol NotSupported"],
        ),
        (
            "/containers",
            ports(json!([{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}])),
            vec!["containers[0].ports[1].name Duplicate"],
        ),
    ]);
    let errors = create(&[
        ("/spec/hostNetwork", json!(true)),
        ("/spec/containers", ports(json!([{"containerPort": 80, "hostPort": 81}]))),
    ]);
    assert_eq!(told(&errors), ["spec.containers[0].ports[0].hostPort Invalid"]);
}

#[test]
fn volumes_have_one_source_and_safe_paths() {
    let volume = |source: Value| {
        let mut volume = json!({"name": "v"});
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        json!([volume])
    };
    let host = |path: &str, type_: &str| volume(json!({"hostPath": {"path": path, "type": type_}}));
    let mut table = vec![
        ("/volumes", host("", ""), vec!["volumes[0].hostPath.path Required"]),
        ("/volumes", host("/a/../b", ""), vec!["volumes[0].hostPath.path Invalid"]),
        ("/volumes", host("/a..b", ""), vec![]),
        ("/volumes", host("/a", "Folder"), vec!["volumes[0].hostPath.type NotSupported"]),
        (
            "/volumes",
            volume(json!({"hostPath": {"path": "/a"}, "emptyDir": {}})),
            vec!["volumes[0].hostPath Forbidden"],
        ),
        ("/volumes", volume(json!({"configMap": {}})), vec!["volumes[0].configMap.name Required"]),
        (
            "/volumes",
            volume(json!({"secret": {"secretName": "s", "defaultMode": 512}})),
            vec!["volumes[0].secret.defaultMode Invalid"],
        ),
        (
            "/volumes",
            volume(json!({"configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}})),
            vec!["volumes[0].configMap.items[0].path Invalid"],
        ),
        (
            "/volumes",
            volume(
                json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 1}}]}}),
            ),
            vec!["volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds Invalid"],
        ),
        ("/volumes", json!([{"name": "a"}, {"name": "a"}]), vec!["volumes[1].name Duplicate"]),
        ("/volumes", json!([{"name": "A"}]), vec!["volumes[0].name Invalid"]),
    ];
    for type_ in
        ["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"]
    {
        table.push(("/volumes", host("/a", type_), vec![]));
    }
    check(table);
}

#[test]
fn mounts_name_a_volume_and_a_place() {
    let mounts = |mounts: Value| json!([{"name": "c", "image": "i", "volumeMounts": mounts}]);
    let both = |found: Value| {
        told(&create(&[("/spec/volumes", json!([{"name": "v"}])), ("/spec/containers", mounts(found))]))
    };
    let at = |rest: &str| vec![format!("spec.containers[0].volumeMounts{rest}")];
    assert_eq!(both(json!([{"name": "v", "mountPath": "/a"}])), Vec::<String>::new());
    assert_eq!(both(json!([{"name": "w", "mountPath": "/a"}])), at("[0].name NotFound"));
    assert_eq!(both(json!([{"name": "v", "mountPath": ""}])), at("[0].mountPath Required"));
    assert_eq!(
        both(json!([{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}])),
        at("[1].mountPath Invalid")
    );
    assert_eq!(both(json!([{"name": "v", "mountPath": "/a", "subPath": "/b"}])), at("[0].subPath Invalid"));
    assert_eq!(
        both(json!([{"name": "v", "mountPath": "/a", "subPath": "b/../c"}])),
        at("[0].subPath Invalid")
    );
    assert_eq!(
        both(json!([{"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"}])),
        at("[0].mountPropagation Forbidden")
    );
}

#[test]
fn probes_and_hooks_are_sound() {
    let with = |field: &str, probe: Value| {
        let mut container = json!({"name": "c", "image": "i"});
        container[field] = probe;
        json!([container])
    };
    let exec = |extra: Value| {
        let mut probe = json!({"exec": {"command": ["true"]}});
        probe.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        probe
    };
    check(vec![
        (
            "/containers",
            with("livenessProbe", exec(json!({"successThreshold": 2}))),
            vec!["containers[0].livenessProbe.successThreshold Invalid"],
        ),
        ("/containers", with("readinessProbe", exec(json!({"successThreshold": 2}))), vec![]),
        (
            "/containers",
            with("startupProbe", exec(json!({"successThreshold": 2}))),
            vec!["containers[0].startupProbe.successThreshold Invalid"],
        ),
        (
            "/containers",
            with("livenessProbe", exec(json!({"terminationGracePeriodSeconds": 0}))),
            vec!["containers[0].livenessProbe.terminationGracePeriodSeconds Invalid"],
        ),
        (
            "/containers",
            with("readinessProbe", exec(json!({"terminationGracePeriodSeconds": 5}))),
            vec!["containers[0].readinessProbe.terminationGracePeriodSeconds Invalid"],
        ),
        (
            "/containers",
            with("livenessProbe", exec(json!({"periodSeconds": -1}))),
            vec!["containers[0].livenessProbe.periodSeconds Invalid"],
        ),
        ("/containers", with("livenessProbe", json!({})), vec!["containers[0].livenessProbe Required"]),
        (
            "/containers",
            with("livenessProbe", exec(json!({"tcpSocket": {"port": 80}}))),
            vec!["containers[0].livenessProbe.tcpSocket Forbidden"],
        ),
        (
            "/containers",
            with("livenessProbe", json!({"httpGet": {"port": 0, "scheme": "FTP"}})),
            vec![
                "containers[0].livenessProbe.httpGet.port Invalid",
                "containers[0].livenessProbe.httpGet.scheme NotSupported",
            ],
        ),
        (
            "/containers",
            with("lifecycle", json!({"preStop": {"exec": {}}})),
            vec!["containers[0].lifecycle.preStop.exec.command Required"],
        ),
    ]);
}

#[test]
fn init_containers_have_no_probes_unless_they_are_sidecars() {
    let init = |extra: Value| {
        let mut container = json!({"name": "i", "image": "i"});
        container.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!([container])
    };
    let probe = json!({"exec": {"command": ["true"]}});
    check(vec![
        ("/initContainers", init(json!({})), vec![]),
        (
            "/initContainers",
            init(json!({ "livenessProbe": probe })),
            vec!["initContainers[0].livenessProbe Forbidden"],
        ),
        (
            "/initContainers",
            init(json!({"lifecycle": {"preStop": probe}})),
            vec!["initContainers[0].lifecycle Forbidden"],
        ),
        ("/initContainers", init(json!({"restartPolicy": "Always", "livenessProbe": probe})), vec![]),
        (
            "/initContainers",
            init(json!({"restartPolicy": "Never"})),
            vec!["initContainers[0].restartPolicy NotSupported"],
        ),
        ("/initContainers", init(json!({"name": "c"})), vec!["initContainers[0].name Duplicate"]),
        ("/containers/0/restartPolicy", json!("Always"), vec!["containers[0].restartPolicy Forbidden"]),
    ]);
}

#[test]
fn resources_are_amounts_with_requests_below_limits() {
    let resources = |requests: Value, limits: Value| json!({"requests": requests, "limits": limits});
    let at = "/containers/0/resources";
    check(vec![
        (at, resources(json!({"cpu": "1"}), json!({"cpu": "2"})), vec![]),
        (
            at,
            resources(json!({"cpu": "2"}), json!({"cpu": "1"})),
            vec!["containers[0].resources.requests Invalid"],
        ),
        (
            at,
            resources(json!({"cpu": "-1"}), json!({})),
            vec!["containers[0].resources.requests[cpu] Invalid"],
        ),
        (
            at,
            resources(json!({"cpu": "1x"}), json!({})),
            vec!["containers[0].resources.requests[cpu] Invalid"],
        ),
        (
            at,
            resources(json!({"pods": "1"}), json!({})),
            vec!["containers[0].resources.requests[pods] Invalid"],
        ),
        (at, resources(json!({}), json!({"x.io/gpu": "1"})), vec![]),
        (
            at,
            resources(json!({}), json!({"x.io/gpu": "500m"})),
            vec![
                "containers[0].resources.limits[x.io/gpu] Invalid",
                "containers[0].resources.requests[x.io/gpu] Invalid",
            ],
        ),
        (
            at,
            resources(json!({"x.io/gpu": "1"}), json!({"x.io/gpu": "2"})),
            vec!["containers[0].resources.requests Invalid"],
        ),
        (at, resources(json!({"x.io/gpu": "1"}), json!({})), vec!["containers[0].resources.limits Required"]),
    ]);
    assert_eq!(
        create(&[("/spec/containers/0/resources", resources(json!({"cpu": "2"}), json!({"cpu": "1"})))])[0]
            .to_string(),
        "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"
    );
}

#[test]
fn containers_environment_and_security_are_checked() {
    let env = |var: Value| json!([var]);
    check(vec![
        ("/containers/0/name", json!("A"), vec!["containers[0].name Invalid"]),
        ("/containers/0/name", json!(""), vec!["containers[0].name Required"]),
        ("/containers/0/image", json!(""), vec!["containers[0].image Required"]),
        ("/containers/0/image", json!(" i"), vec!["containers[0].image Invalid"]),
        ("/containers/0/imagePullPolicy", json!("Often"), vec!["containers[0].imagePullPolicy NotSupported"]),
        ("/containers/0/env", env(json!({"name": ""})), vec!["containers[0].env[0].name Required"]),
        ("/containers/0/env", env(json!({"name": "a=b"})), vec!["containers[0].env[0].name Invalid"]),
        (
            "/containers/0/env",
            env(json!({"name": "A", "valueFrom": {}})),
            vec!["containers[0].env[0].valueFrom Invalid"],
        ),
        (
            "/containers/0/env",
            env(
                json!({"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}),
            ),
            vec!["containers[0].env[0].valueFrom Invalid"],
        ),
        (
            "/containers/0/env",
            env(json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}})),
            vec![],
        ),
        (
            "/containers/0/env",
            env(json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}})),
            vec!["containers[0].env[0].valueFrom.fieldRef.fieldPath NotSupported"],
        ),
        (
            "/containers/0/env",
            env(json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.color"}}})),
            vec!["containers[0].env[0].valueFrom.fieldRef.fieldPath Invalid"],
        ),
        (
            "/containers/0/env",
            env(json!({"name": "A", "valueFrom": {"secretKeyRef": {"key": "k"}}})),
            vec!["containers[0].env[0].valueFrom.secretKeyRef.name Required"],
        ),
        ("/containers/0/envFrom", json!([{}]), vec!["containers[0].envFrom[0] Invalid"]),
        (
            "/containers/0/securityContext",
            json!({"privileged": true, "allowPrivilegeEscalation": false}),
            vec!["containers[0].securityContext Invalid"],
        ),
        (
            "/containers/0/securityContext",
            json!({"runAsUser": -1}),
            vec!["containers[0].securityContext.runAsUser Invalid"],
        ),
        ("/securityContext", json!({"fsGroup": -1}), vec!["securityContext.fsGroup Invalid"]),
        ("/restartPolicy", json!("Sometimes"), vec!["restartPolicy NotSupported"]),
        ("/dnsPolicy", json!("Magic"), vec!["dnsPolicy NotSupported"]),
        ("/nodeSelector", json!({"a b": "c"}), vec!["nodeSelector Invalid"]),
        ("/nodeName", json!("A B"), vec!["nodeName Invalid"]),
        ("/hostname", json!("a.b"), vec!["hostname Invalid"]),
        ("/activeDeadlineSeconds", json!(0), vec!["activeDeadlineSeconds Invalid"]),
        ("/ephemeralContainers", json!([{"name": "e", "image": "i"}]), vec!["ephemeralContainers Forbidden"]),
        (
            "/topologySpreadConstraints",
            json!([{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "Maybe"}]),
            vec![
                "topologySpreadConstraints[0].maxSkew Invalid",
                "topologySpreadConstraints[0].whenUnsatisfiable NotSupported",
            ],
        ),
    ]);
}

/// DIFFERS: upstream drops it where its gate is off; a value that never comes is worse than a refusal.
#[test]
fn a_value_from_a_file_is_refused() {
    let from = json!({"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}});
    check(vec![(
        "/containers/0/env",
        json!([{"name": "A", "valueFrom": from}]),
        vec!["containers[0].env[0].valueFrom.fileKeyRef Forbidden"],
    )]);
}
