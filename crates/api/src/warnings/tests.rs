//! Each mistake with its text.

use serde_json::{Value, json};

use super::*;

fn pod(spec: Value, annotations: Value) -> Vec<String> {
    let pod = json!({"metadata": {"name": "p", "annotations": annotations}, "spec": spec});
    of_pod(&serde_json::from_value(pod).unwrap())
}

fn set(spec: Value, annotations: Value) -> DaemonSet {
    let template = json!({"metadata": {"annotations": annotations}, "spec": spec});
    serde_json::from_value(json!({"metadata": {"name": "d"}, "spec": {"selector": {}, "template": template}}))
        .unwrap()
}

fn containers(container: Value) -> Value {
    json!({"containers": [container]})
}

#[test]
fn each_mistake_is_told_in_upstreams_words() {
    let term = |key: &str| json!({"matchExpressions": [{"key": key, "operator": "Exists"}]});
    let zone = "failure-domain.beta.kubernetes.io/zone";
    let old_zone = "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead";
    let null = "a null labelSelector results in matching no pod";
    let rows: Vec<(Value, Vec<String>)> = vec![
        (containers(json!({"name": "c"})), vec![]),
        (
            json!({"containers": [], "nodeSelector": {"beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}}),
            vec!["spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead".into()],
        ),
        (
            json!({"containers": [], "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term("a"), term(zone)]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term(zone)}]}}}),
            vec![
                format!("spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[1].matchExpressions[0].key: {zone} is {old_zone}"),
                format!("spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key: {zone} is {old_zone}"),
            ],
        ),
        (
            json!({"containers": [], "topologySpreadConstraints": [{"topologyKey": zone, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]}),
            vec![
                format!("spec.topologySpreadConstraints[0].topologyKey: {zone} is {old_zone}"),
                format!("spec.topologySpreadConstraints[0].labelSelector: {null}"),
            ],
        ),
        (
            // A topology key of Pod affinity is not looked at.
            json!({"containers": [], "affinity": {
                "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": zone}, {"topologyKey": "z", "labelSelector": {}}]},
                "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": zone}}]}}}),
            vec![
                format!("spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: {null}"),
                format!("spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: {null}"),
            ],
        ),
        (
            json!({"containers": [], "volumes": [{"name": "a", "emptyDir": {}}, {"name": "g", "gitRepo": {"repository": "r"}}]}),
            vec!["spec.volumes[1].gitRepo: deprecated in v1.11, and disabled by default in v1.33+".into()],
        ),
        (
            json!({"containers": [], "volumes": [{"name": "v", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "m", "items": [{"key": "k", "path": "token"}]}}]}}]}),
            vec!["spec.volumes[0].projected.sources.configMap[0]: has duplicated path with ServiceAccountToken \"token\"".into()],
        ),
        (
            json!({"containers": [], "hostAliases": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}],
                "imagePullSecrets": [{"name": "s"}, {"name": "s"}, {"name": ""}], "terminationGracePeriodSeconds": -1}),
            vec![
                "spec.hostAliases[1].ip: duplicate ip \"1.1.1.1\"".into(),
                "spec.imagePullSecrets[1].name: duplicate name \"s\"".into(),
                "spec.imagePullSecrets[2].name: invalid empty name \"\"".into(),
                "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1".into(),
            ],
        ),
        (
            containers(json!({"name": "c", "resources": {"limits": {"memory": "128m", "cpu": "1m"}, "requests": {"ephemeral-storage": "1.5"}}})),
            vec![
                "spec.containers[0].resources.limits[memory]: fractional byte value \"128m\" is invalid, must be an integer".into(),
                "spec.containers[0].resources.requests[ephemeral-storage]: fractional byte value \"1500m\" is invalid, must be an integer".into(),
            ],
        ),
        (
            containers(json!({"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "3"}, {"name": "A", "value": "$(A)"}]})),
            vec![
                "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply".into(),
                "spec.containers[0].env[3]: hides previous definition of \"A\", which may be dropped when using apply".into(),
            ],
        ),
        (
            json!({"initContainers": [{"name": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
                "containers": [{"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}]}]}),
            vec!["spec.containers[0].ports[0]: duplicate port definition with spec.initContainers[0].ports[0]".into()],
        ),
        (
            containers(json!({"name": "c", "ports": [
                {"containerPort": 80, "protocol": "TCP", "hostPort": 1}, {"containerPort": 80, "protocol": "TCP", "hostPort": 1, "hostIP": "1.1.1.1"},
                {"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81, "protocol": "TCP", "hostIP": "1.1.1.1"}]})),
            vec![
                "spec.containers[0].ports[1]: dangerously ambiguous port definition with spec.containers[0].ports[0]".into(),
                "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[0]".into(),
                "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[1]".into(),
                "spec.containers[0].ports[3]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:81 Protocol:TCP HostIP:1.1.1.1}".into(),
            ],
        ),
    ];
    for (spec, wanted) in rows {
        assert_eq!(pod(spec.clone(), json!({})), wanted, "{spec}");
    }
}

#[test]
fn annotations_that_a_field_has_replaced_are_told_unless_the_field_is_set() {
    let annotations = json!({"scheduler.alpha.kubernetes.io/critical-pod": "", "seccomp.security.alpha.kubernetes.io/pod": "x",
        "container.apparmor.security.beta.kubernetes.io/c": "x"});
    let told = [
        "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \"priorityClassName\" field instead",
        "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
        "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since v1.30; use the \"appArmorProfile\" field instead",
    ];
    let spec = containers(json!({"name": "c"}));
    assert_eq!(pod(spec.clone(), annotations.clone()), told[..2]);
    let wanted: Vec<String> = told.iter().map(|text| format!("spec.template.{text}")).collect();
    assert_eq!(of_daemon_set(&set(spec, annotations.clone()), None), wanted);
    let confined = json!({"containers": [{"name": "c"}], "securityContext": {
        "seccompProfile": {"type": "RuntimeDefault"}, "appArmorProfile": {"type": "RuntimeDefault"}}});
    assert_eq!(of_daemon_set(&set(confined, annotations), None), wanted[..1]);
}

#[test]
fn daemon_set_is_told_at_its_template_and_only_when_that_changes() {
    let old = set(json!({"containers": [], "nodeSelector": {"beta.kubernetes.io/arch": "arm"}}), json!({}));
    let told = [
        "spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ];
    assert_eq!(of_daemon_set(&old, None), told);
    let mut new = old.clone();
    new.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
    assert!(of_daemon_set(&new, Some(&old)).is_empty());
    new.spec.as_mut().unwrap().template.spec.as_mut().unwrap().host_network = Some(true);
    assert_eq!(of_daemon_set(&new, Some(&old)), told);
}

#[test]
fn name_that_is_no_label_may_surprise() {
    let dotted: Pod =
        serde_json::from_value(json!({"metadata": {"name": "a.b"}, "spec": {"containers": []}})).unwrap();
    let told = of_pod(&dotted);
    assert_eq!(
        told,
        [
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
          recommended: [must not contain dots]"
        ]
    );
}

#[test]
fn what_a_service_ignores_or_writes_oddly_is_told() {
    let ambiguous = |value: &str, network: &str, single: &str| {
        format!(
            "spec.loadBalancerSourceRanges[0]: CIDR value {value:?} is ambiguous in this context (should be {network:?} or {single:?}?)"
        )
    };
    let rows: Vec<(Value, Vec<String>)> = vec![
        (json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}), vec![]),
        (
            json!({"type": "ClusterIP", "clusterIP": "None", "sessionAffinity": "ClientIP", "externalIPs": ["10.0.0.1"], "loadBalancerIP": "10.0.0.2"}),
            vec![
                "spec.loadBalancerIP is ignored for headless services".into(),
                "spec.externalIPs is ignored for headless services".into(),
                "spec.SessionAffinity is ignored for headless services".into(),
            ],
        ),
        (json!({"type": "ClusterIP", "clusterIP": "None", "sessionAffinity": "None"}), vec![]),
        (
            json!({"type": "ExternalName", "externalName": "a.b", "externalIPs": ["::ffff:10.0.0.1"]}),
            vec![
                "spec.externalIPs[0]: non-standard IP address \"::ffff:10.0.0.1\" will be considered invalid in a future Kubernetes release: use \"10.0.0.1\"".into(),
                "spec.externalIPs is ignored when spec.type is \"ExternalName\"".into(),
            ],
        ),
        (
            json!({"type": "LoadBalancer", "externalName": "a.b", "loadBalancerIP": "2001:DB8::0:1", "trafficDistribution": "PreferClose"}),
            vec![
                "spec.loadBalancerIP: IPv6 address \"2001:DB8::0:1\" should be in RFC 5952 canonical format (\"2001:db8::1\")".into(),
                "spec.externalName is ignored when spec.type is not \"ExternalName\"".into(),
                "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into(),
            ],
        ),
        (
            json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.1/8"]}),
            vec![ambiguous("10.0.0.1/8", "10.0.0.0/8", "10.0.0.1/32")],
        ),
        (
            json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["2001:db8::1/64"]}),
            vec![ambiguous("2001:db8::1/64", "2001:db8::/64", "2001:db8::1/128")],
        ),
        (json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["0.0.0.0/0", "::/0", "10.0.0.1/32"]}), vec![]),
        (
            json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["2001:DB8::/64"]}),
            vec!["spec.loadBalancerSourceRanges[0]: IPv6 CIDR value \"2001:DB8::/64\" should be in RFC 5952 canonical format (\"2001:db8::/64\")".into()],
        ),
        (
            json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["::ffff:10.0.0.0/104"]}),
            vec!["spec.loadBalancerSourceRanges[0]: non-standard CIDR value \"::ffff:10.0.0.0/104\" will be considered invalid in a future Kubernetes release: use \"10.0.0.0/8\"".into()],
        ),
    ];
    for (spec, expect) in rows {
        let service = serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap();
        assert_eq!(of_service(&service), expect, "{spec}");
    }
    let old = json!({"metadata": {"name": "s", "annotations": {"service.kubernetes.io/topology-aware-hints": "auto"}}});
    assert_eq!(
        of_service(&serde_json::from_value(old).unwrap()),
        [
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead"
        ]
    );
}

#[test]
fn odd_addresses_of_endpoints_are_told_but_not_to_the_controller() {
    let endpoints = |labels: Value| {
        let subset =
            json!({"addresses": [{"ip": "10.0.0.1"}], "notReadyAddresses": [{"ip": "2001:db8:0::1"}]});
        serde_json::from_value(json!({"metadata": {"name": "s", "labels": labels}, "subsets": [subset]}))
            .unwrap()
    };
    assert_eq!(
        of_endpoints(&endpoints(json!({}))),
        [
            "subsets[0].notReadyAddresses[0].ip: IPv6 address \"2001:db8:0::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")"
        ]
    );
    let own = json!({"endpoints.kubernetes.io/managed-by": "endpoint-controller"});
    assert_eq!(of_endpoints(&endpoints(own)), [""; 0]);
}

#[test]
fn fields_without_a_use_are_told() {
    let node = json!({"metadata": {"name": "n"}, "spec": {"externalID": "x", "configSource": {}}});
    assert_eq!(
        of_node(&serde_json::from_value(node).unwrap()),
        [
            "spec.configSource: the feature is removed",
            "spec.externalID: this field is deprecated, and is unused by Kubernetes"
        ]
    );
    let class = json!({"metadata": {"name": "r"}, "handler": "h",
        "scheduling": {"nodeSelector": {"beta.kubernetes.io/os": "linux", "a": "b"}}});
    assert_eq!(
        of_runtime_class(&serde_json::from_value(class).unwrap()),
        ["scheduling.nodeSelector: deprecated since v1.14; use \"kubernetes.io/os\" instead"]
    );
}
