//! What users may do, with upstream's roles and its texts.

mod answers;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, RoleRef};
use serde_json::{Value, json};

use super::*;

/// Pod `web` in `default` is on node `n1` and names secret `s`, config map `c`, service account `sa`.
struct OnePod;

impl PodReferences for OnePod {
    fn refers(&self, node: &str, kind: Referenced, namespace: &str, name: &str) -> bool {
        let wanted = match kind {
            Referenced::Secret => "s",
            Referenced::ConfigMap => "c",
            Referenced::ServiceAccount => "sa",
            Referenced::VolumeClaim => "v",
            Referenced::Pod => "web",
        };
        (node, namespace, name) == ("n1", "default", wanted)
    }
}

fn authorizer() -> Authorizer {
    Authorizer::new(Arc::new(OnePod))
}

/// `verb group/resource/subresource namespace/name`, where a group of `-` is the core group.
fn asks(user: User, request: &str) -> Attributes {
    let words: Vec<&str> = request.split(' ').collect();
    if let [verb, path] = words.as_slice()
        && path.starts_with('/')
    {
        return Attributes { user, verb: (*verb).into(), path: (*path).into(), ..Attributes::default() };
    }
    let part = |word: usize, part: usize| {
        words.get(word).and_then(|word| word.split('/').nth(part)).unwrap_or_default().to_owned()
    };
    let group = part(1, 0);
    Attributes {
        user,
        verb: part(0, 0),
        group: if group == "-" { String::new() } else { group },
        version: "v1".into(),
        resource: part(1, 1),
        subresource: part(1, 2),
        namespace: part(2, 0),
        name: part(2, 1),
        ..Attributes::default()
    }
}

fn may(authorizer: &Authorizer, user: User, request: &str) -> bool {
    authorizer.authorize(&asks(user, request)).is_allowed()
}

fn refusal(authorizer: &Authorizer, attributes: &Attributes) -> String {
    match authorizer.authorize(attributes) {
        Decision::Deny { message } => message,
        Decision::Allow => panic!("{attributes:?} is allowed"),
    }
}

fn anybody() -> User {
    User::authenticated("jane", ["devs"])
}

fn typed<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

/// A policy of the bootstrap objects and these.
fn with(objects: &[Value]) -> Authorizer {
    let mut policy = bootstrap::objects();
    for object in objects {
        match object["kind"].as_str().unwrap() {
            "Role" => policy.roles.push(typed(object.clone())),
            "ClusterRole" => policy.cluster_roles.push(typed(object.clone())),
            "RoleBinding" => policy.role_bindings.push(typed(object.clone())),
            "ClusterRoleBinding" => policy.cluster_role_bindings.push(typed(object.clone())),
            kind => panic!("{kind} is no policy"),
        }
    }
    let authorizer = authorizer();
    authorizer.replace(Policy::new(&policy));
    authorizer
}

fn binding(kind: &str, name: &str, namespace: &str, role: &str, subjects: Value) -> Value {
    let (role_kind, role) = role.split_once('/').unwrap();
    json!({
        "kind": kind, "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
        "subjects": subjects,
    })
}

#[test]
fn masters_may_do_everything_and_others_nothing_but_look_around() {
    let authorizer = authorizer();
    for request in ["delete -/nodes /n1", "put /anything", "escalate x.io/things"] {
        assert!(may(&authorizer, User::admin(), request), "{request}");
        assert!(!may(&authorizer, anybody(), request), "{request}");
    }
    for request in ["get /api", "get /apis/apps/v1", "get /openapi/v3", "get /version", "get /livez"] {
        assert!(may(&authorizer, anybody(), request), "{request}");
    }
    let nobody = User { name: "system:anonymous".into(), ..User::default() };
    assert!(!may(&authorizer, nobody.clone(), "get /version"), "the group is what is bound");
    let nobody = User { groups: vec![user::UNAUTHENTICATED.into()], ..nobody };
    assert!(may(&authorizer, nobody.clone(), "get /version"));
    assert!(!may(&authorizer, nobody, "get /api"));
    assert!(!may(&authorizer, anybody(), "get /apix"));
    assert!(!may(&authorizer, anybody(), "post /api"));
    assert!(may(&authorizer, anybody(), "create authorization.k8s.io/selfsubjectrulesreviews"));
}

#[test]
fn refusals_are_in_upstreams_words() {
    let authorizer = authorizer();
    let told = |request: &str| refusal(&authorizer, &asks(anybody(), request));
    assert_eq!(
        told("get -/pods/log default/web"),
        r#"User "jane" cannot get resource "pods/log" in API group "" in the namespace "default""#
    );
    assert_eq!(
        told("list apps/daemonsets"),
        r#"User "jane" cannot list resource "daemonsets" in API group "apps" at the cluster scope"#
    );
    assert_eq!(told("post /metrics<>"), r#"User "jane" cannot post path "/metrics&lt;&gt;""#);
    let odd = User::authenticated("a\"b", [""; 0]);
    assert_eq!(
        refusal(&authorizer, &asks(odd, "get -/nodes /n")),
        r#"User "a\"b" cannot get resource "nodes" in API group "" at the cluster scope"#
    );
}

#[test]
fn rules_match_by_subresource_name_and_wildcard() {
    let rule = |rule: Value| -> PolicyRule { typed(rule) };
    let allowed = |rule: &PolicyRule, request: &str| rbac::allows(rule, &asks(anybody(), request));

    let pods = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}));
    assert!(allowed(&pods, "get -/pods default/a"));
    assert!(!allowed(&pods, "get -/pods/log default/a"), "a resource is not its subresources");
    assert!(!allowed(&pods, "get apps/pods default/a"));

    let status = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*/status", "pods/log"]}));
    assert!(allowed(&status, "patch apps/daemonsets/status default/a"));
    assert!(allowed(&status, "get -/pods/log default/a"));
    assert!(!allowed(&status, "get -/pods default/a"));

    let named = rule(
        json!({"verbs": ["get", "create"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["x"]}),
    );
    assert!(allowed(&named, "get -/secrets default/x"));
    assert!(!allowed(&named, "get -/secrets default/y"));
    assert!(!allowed(&named, "create -/secrets default"), "a create has no name yet");

    let everything = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
    assert!(allowed(&everything, "patch x.io/things/scale default/a"));
    assert!(!allowed(&everything, "get /metrics"), "resources are not paths");

    let urls = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz/*", "/logs*"]}));
    assert!(
        allowed(&urls, "get /healthz/etcd") && allowed(&urls, "get /logs") && allowed(&urls, "get /logs/a")
    );
    assert!(!allowed(&urls, "get /healthz"));
}

#[test]
fn bindings_reach_their_subjects_in_their_namespace() {
    let authorizer = with(&[
        json!({"kind": "Role", "metadata": {"name": "read", "namespace": "a"},
               "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]}),
        binding(
            "RoleBinding",
            "r",
            "a",
            "Role/read",
            json!([
                {"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "name": "robot"},
                {"kind": "ServiceAccount", "name": "guest", "namespace": "b"}, {"kind": "Group", "name": "ops"},
            ]),
        ),
        binding("RoleBinding", "v", "b", "ClusterRole/view", json!([{"kind": "Group", "name": "devs"}])),
        binding("ClusterRoleBinding", "e", "", "ClusterRole/edit", json!([{"kind": "User", "name": "ed"}])),
    ]);
    let account = |namespace: &str, name: &str| {
        User::authenticated(format!("system:serviceaccount:{namespace}:{name}"), ["system:serviceaccounts"])
    };
    assert!(may(&authorizer, anybody(), "get -/secrets a/x"));
    assert!(!may(&authorizer, anybody(), "get -/secrets b/x"), "view does not show secrets");
    assert!(!may(&authorizer, anybody(), "get -/secrets"), "a role binding says nothing of the cluster");
    assert!(may(&authorizer, anybody(), "list -/pods b"));
    assert!(!may(&authorizer, anybody(), "list -/pods a"));
    assert!(may(&authorizer, account("a", "robot"), "get -/secrets a/x"));
    assert!(!may(&authorizer, account("b", "robot"), "get -/secrets a/x"));
    assert!(may(&authorizer, account("b", "guest"), "get -/secrets a/x"));
    assert!(may(&authorizer, User::authenticated("oscar", ["ops"]), "get -/secrets a/x"));
    let ed = || User::authenticated("ed", [""; 0]);
    assert!(may(&authorizer, ed(), "create apps/daemonsets any"));
    assert!(may(&authorizer, ed(), "create -/pods/exec any/p"));
    assert!(may(&authorizer, ed(), "list -/pods any"), "edit includes view");
    assert!(!may(&authorizer, ed(), "create rbac.authorization.k8s.io/roles any"), "that is admin's");
    assert!(!may(&authorizer, ed(), "create -/nodes"));
}

#[test]
fn aggregated_role_gains_what_is_labelled_for_it() {
    let crds = json!({
        "kind": "ClusterRole",
        "metadata": {"name": "things", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"verbs": ["get"], "apiGroups": ["x.io"], "resources": ["things"]}],
    });
    let loops = json!({
        "kind": "ClusterRole", "metadata": {"name": "loop", "labels": {"loop": "yes"}},
        "aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [{"key": "loop", "operator": "Exists"}]}]},
    });
    let bind = |role: &str| {
        binding(
            "ClusterRoleBinding",
            role,
            "",
            &format!("ClusterRole/{role}"),
            json!([{"kind": "User", "name": role}]),
        )
    };
    let authorizer = with(&[crds, loops, bind("view"), bind("edit"), bind("admin"), bind("loop")]);
    for role in ["view", "edit", "admin"] {
        assert!(may(&authorizer, User::authenticated(role, [""; 0]), "get x.io/things any/a"), "{role}");
    }
    assert!(!may(&authorizer, User::authenticated("loop", [""; 0]), "get x.io/things any/a"));
}

#[test]
fn missing_role_is_named_in_the_refusal_and_allows_nothing() {
    let authorizer = with(&[binding(
        "ClusterRoleBinding",
        "x",
        "",
        "ClusterRole/gone",
        json!([{"kind": "User", "name": "jane"}]),
    )]);
    assert_eq!(
        refusal(&authorizer, &asks(anybody(), "list -/nodes")),
        "User \"jane\" cannot list resource \"nodes\" in API group \"\" at the cluster scope: \
         RBAC: clusterrole.rbac.authorization.k8s.io \"gone\" not found"
    );
    assert_eq!(authorizer.rules_for(&anybody(), "default").errors.len(), 1);
}

#[test]
fn components_may_do_their_work() {
    let authorizer = authorizer();
    for request in [
        "list apps/daemonsets",
        "update apps/daemonsets/status a/ds",
        "create -/pods a",
        "delete -/pods a/p",
        "create apps/controllerrevisions a",
        "patch -/nodes /n1",
        "patch -/nodes/status /n1",
        "create -/events a",
        "create events.k8s.io/events a",
        "watch coordination.k8s.io/leases kube-node-lease",
        "patch -/pods/status a/p",
        "create -/serviceaccounts a",
        "update -/namespaces/finalize /a",
        "deletecollection -/secrets a",
        "update coordination.k8s.io/leases kube-system/kube-controller-manager",
        "create coordination.k8s.io/leases kube-system",
        "watch -/namespaces",
    ] {
        assert!(may(&authorizer, User::controllers(), request), "controllers: {request}");
    }
    for request in [
        "watch -/pods",
        "watch -/nodes",
        "create -/pods/binding a/p",
        "patch -/pods/status a/p",
        "create events.k8s.io/events a",
        "update coordination.k8s.io/leases kube-system/kube-scheduler",
        "list scheduling.k8s.io/priorityclasses",
    ] {
        assert!(may(&authorizer, User::scheduler(), request), "scheduler: {request}");
    }
    assert!(!may(&authorizer, User::scheduler(), "create -/pods a"));
    assert!(!may(&authorizer, User::scheduler(), "get -/secrets a/s"));
    assert!(!may(&authorizer, User::controllers(), "create rbac.authorization.k8s.io/clusterrolebindings"));
}

#[test]
fn node_reads_only_what_its_pods_name() {
    let authorizer = authorizer();
    let n1 = || User::node("n1");
    for request in [
        "get -/secrets default/s",
        "watch -/secrets default/s",
        "get -/configmaps default/c",
        "create -/serviceaccounts/token default/sa",
        "get -/pods default/web",
        "get -/nodes /n1",
        "watch -/nodes /n1",
        "patch -/nodes/status /n1",
        "create -/nodes",
        "patch -/pods/status default/web",
        "create -/pods default",
        "delete -/pods default/web",
        "create -/pods/eviction default/web",
        "update coordination.k8s.io/leases kube-node-lease/n1",
        "create coordination.k8s.io/leases kube-node-lease",
        "create -/events default",
        "list -/services",
        "list node.k8s.io/runtimeclasses",
        "get /api",
    ] {
        assert!(may(&authorizer, n1(), request), "{request}");
    }
    let told = |request: &str| {
        let message = refusal(&authorizer, &asks(n1(), request));
        message.split_once(": ").map_or(String::new(), |(_, reason)| reason.to_owned())
    };
    let unrelated = "no relationship found between node 'n1' and this object";
    for (request, reason) in [
        ("get -/secrets default/other", unrelated),
        ("get -/secrets kube-system/s", unrelated),
        ("get -/configmaps default/s", unrelated),
        ("get -/pods default/other", unrelated),
        ("list -/secrets default", "No Object name found"),
        ("list -/secrets", "can only read namespaced object of this type"),
        ("create -/secrets default", "can only read resources of this type"),
        ("list -/pods", "can only list/watch pods with spec.nodeName field selector"),
        ("list -/nodes", "node 'n1' cannot read all nodes, only its own Node object"),
        ("get -/nodes /n2", "node 'n1' cannot read 'n2', only its own Node object"),
        (
            "list coordination.k8s.io/leases kube-node-lease",
            "can only get, create, update, patch, or delete a node lease",
        ),
        (
            "get coordination.k8s.io/leases kube-node-lease/n2",
            "can only access node lease with the same name as the requesting node",
        ),
        (
            "get coordination.k8s.io/leases kube-system/n1",
            "can only access leases in the \"kube-node-lease\" system namespace",
        ),
        ("list -/serviceaccounts default", "can only create tokens for individual service accounts"),
        ("delete -/nodes /n1", ""),
        ("create apps/daemonsets default", ""),
        ("patch -/pods default/web", ""),
    ] {
        assert_eq!(told(request), reason, "{request}");
    }
    let mut own_pods = asks(n1(), "watch -/pods");
    own_pods.field_equals = vec![("spec.nodeName".into(), "n1".into())];
    assert!(authorizer.authorize(&own_pods).is_allowed());
    own_pods.field_equals[0].1 = "n2".into();
    assert!(!authorizer.authorize(&own_pods).is_allowed());
    // The name alone makes no node.
    let impostor = User::authenticated("system:node:n1", ["devs"]);
    assert!(!may(&authorizer, impostor, "get -/secrets default/s"));
}

fn mirror_pod() -> Pod {
    typed(json!({
        "metadata": {
            "name": "web-n1", "annotations": {"kubernetes.io/config.mirror": "h"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "controller": true}],
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
    }))
}

#[test]
fn node_creates_mirror_pods_only() {
    let pod = mirror_pod();
    restriction::create_pod("n1", Some("u1"), &pod).unwrap();
    let told = |change: &dyn Fn(&mut Value)| {
        let mut object = serde_json::to_value(&pod).unwrap();
        change(&mut object);
        restriction::create_pod("n1", Some("u1"), &typed(object)).unwrap_err().to_string()
    };
    assert_eq!(
        told(&|pod| pod["metadata"]["annotations"] = json!({})),
        "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods"
    );
    let on_itself = "node \"n1\" can only create pods with spec.nodeName set to itself";
    assert_eq!(told(&|pod| pod["spec"]["nodeName"] = json!("n2")), on_itself);
    let owned = "node \"n1\" can only create pods with an owner reference set to itself";
    assert_eq!(told(&|pod| pod["metadata"]["ownerReferences"] = json!([])), owned);
    assert_eq!(told(&|pod| pod["metadata"]["ownerReferences"][0]["name"] = json!("n2")), owned);
    assert_eq!(
        told(&|pod| pod["metadata"]["ownerReferences"][0]["uid"] = json!("u2")),
        "node n1 UID mismatch: expected u2 got u1"
    );
    for (volume, kind) in [
        (json!({"secret": {"secretName": "s"}}), "secrets"),
        (json!({"configMap": {"name": "c"}}), "configmaps"),
        (json!({"projected": {"sources": [{"configMap": {"name": "c"}}]}}), "configmaps"),
        (json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}), "serviceaccounts"),
        (json!({"persistentVolumeClaim": {"claimName": "p"}}), "persistentvolumeclaims"),
    ] {
        let text = told(&|pod| {
            let mut volume = volume.clone();
            volume["name"] = json!("v");
            pod["spec"]["volumes"] = json!([volume]);
        });
        assert_eq!(text, format!("node \"n1\" can not create pods that reference {kind}"));
    }
    assert_eq!(
        told(&|pod| pod["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "s"}}])),
        "node \"n1\" can not create pods that reference secrets"
    );
    assert_eq!(
        told(&|pod| pod["spec"]["serviceAccountName"] = json!("default")),
        "node \"n1\" can not create pods that reference a service account"
    );
}

#[test]
fn node_touches_only_its_own_pods_node_and_lease() {
    let pod = mirror_pod();
    restriction::delete_pod("n1", &pod).unwrap();
    assert_eq!(
        restriction::delete_pod("n2", &pod).unwrap_err().to_string(),
        "node \"n2\" can only delete pods with spec.nodeName set to itself"
    );
    restriction::update_pod_status("n1", &pod, &pod).unwrap();
    let mut relabelled = pod.clone();
    relabelled.metadata.labels = Some(BTreeMap::from([("a".into(), "b".into())]));
    assert_eq!(
        restriction::update_pod_status("n1", &pod, &relabelled).unwrap_err().to_string(),
        "node \"n1\" cannot update labels through pod status"
    );
    restriction::update_pod_status("n2", &pod, &pod).unwrap_err();
    restriction::evict_pod("n2", &pod).unwrap_err();
    restriction::write_lease("n1", "kube-node-lease", "n1").unwrap();
    restriction::write_lease("n1", "kube-node-lease", "n2").unwrap_err();
    restriction::write_lease("n1", "default", "n1").unwrap_err();

    let node = |labels: Value, taints: Value| -> Node {
        typed(json!({"metadata": {"name": "n1", "labels": labels}, "spec": {"taints": taints}}))
    };
    let plain =
        node(json!({"kubernetes.io/hostname": "n1", "site": "x", "node.kubernetes.io/size": "l"}), json!([]));
    restriction::write_node("n1", None, &plain).unwrap();
    restriction::write_node("n1", Some(&plain), &plain).unwrap();
    assert_eq!(
        restriction::write_node("n2", Some(&plain), &plain).unwrap_err().to_string(),
        "node \"n2\" is not allowed to modify node \"n1\""
    );
    let greedy = node(
        json!({"node-restriction.kubernetes.io/a": "", "x.node-restriction.kubernetes.io/b": "",
               "node-role.kubernetes.io/master": "", "made.k8s.io/up": "", "notkubernetes.io/fine": ""}),
        json!([]),
    );
    assert_eq!(
        restriction::write_node("n1", None, &greedy).unwrap_err().to_string(),
        "node \"n1\" is not allowed to set the following labels: made.k8s.io/up, \
         node-restriction.kubernetes.io/a, node-role.kubernetes.io/master, x.node-restriction.kubernetes.io/b"
    );
    let tainted = node(json!({}), json!([{"key": "k", "effect": "NoSchedule"}]));
    assert_eq!(
        restriction::write_node("n1", Some(&tainted), &node(json!({}), json!([]))).unwrap_err().to_string(),
        "node \"n1\" is not allowed to modify taints"
    );
}

#[test]
fn nobody_grants_what_they_do_not_hold() {
    let authorizer = with(&[binding(
        "ClusterRoleBinding",
        "e",
        "",
        "ClusterRole/edit",
        json!([{"kind": "User", "name": "jane"}]),
    )]);
    let jane = anybody();
    let held = authorizer.rules_for(&jane, "default");
    let policy = authorizer.policy();
    let role = |name: &str| RoleRef {
        api_group: "rbac.authorization.k8s.io".into(),
        kind: "ClusterRole".into(),
        name: name.into(),
    };
    let view = policy.role_rules(&role("view"), "").unwrap();
    escalation::confirm_none(&jane, &held, view).unwrap();
    escalation::confirm_none(&jane, &held, policy.role_rules(&role("cluster-admin"), "").unwrap())
        .unwrap_err();
    assert!(policy.role_rules(&role("gone"), "").is_none());

    let wanted: Vec<PolicyRule> = typed(json!([
        {"verbs": ["get", "delete"], "apiGroups": [""], "resources": ["nodes", "pods"]},
        {"verbs": ["get"], "nonResourceURLs": ["/api/v1", "/metrics"]},
    ]));
    let refused = escalation::confirm_none(&jane, &held, &wanted).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "user \"jane\" (groups=[\"devs\" \"system:authenticated\"]) is attempting to grant RBAC permissions \
         not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"delete\"]}\n\
         {NonResourceURLs:[\"/metrics\"], Verbs:[\"get\"]}"
    );
}

#[test]
fn escalation_is_judged_name_by_name_and_subresource_by_subresource() {
    let rules = |rules: Value| UserRules { rules: typed(rules), errors: Vec::new() };
    let covered = |held: Value, granted: Value| {
        escalation::confirm_none(&anybody(), &rules(held), &rules(granted).rules).is_ok()
    };
    let secrets = |names: Value| json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": names}]);
    assert!(covered(secrets(json!([])), secrets(json!(["a"]))));
    assert!(covered(secrets(json!(["a", "b"])), secrets(json!(["a"]))));
    assert!(!covered(secrets(json!(["a"])), secrets(json!([]))));
    let resource = |resource: &str| json!([{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]);
    assert!(covered(resource("*"), resource("pods/log")));
    assert!(covered(resource("*/log"), resource("pods/log")));
    assert!(!covered(resource("pods"), resource("pods/log")));
    assert!(!covered(resource("pods"), resource("*")));
    let url = |url: &str| json!([{"verbs": ["get"], "nonResourceURLs": [url]}]);
    assert!(covered(url("/api/*"), url("/api/v1/*")));
    assert!(!covered(url("/api/v1"), url("/api/*")));
    // One verb each from two rules held.
    let both = json!([
        {"verbs": ["get"], "apiGroups": ["", "apps"], "resources": ["pods"]},
        {"verbs": ["list"], "apiGroups": ["*"], "resources": ["*"]},
    ]);
    assert!(covered(both, json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}])));
}

#[test]
fn bootstrap_objects_are_unique_labelled_and_resolve() {
    let objects = bootstrap::objects();
    let names: Vec<_> =
        objects.cluster_roles.iter().map(|role| role.metadata.name.clone().unwrap()).collect();
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted, names, "in order, each once");
    let policy = Policy::new(&objects);
    for binding in &objects.cluster_role_bindings {
        assert!(policy.role_rules(&binding.role_ref, "").is_some(), "{:?}", binding.metadata.name);
    }
    for binding in &objects.role_bindings {
        assert!(policy.role_rules(&binding.role_ref, "kube-system").is_some(), "{:?}", binding.metadata.name);
    }
    let labelled = |role: &ClusterRole| {
        role.metadata.labels.as_ref().unwrap()["kubernetes.io/bootstrapping"] == "rbac-defaults"
    };
    assert!(objects.cluster_roles.iter().all(labelled));
    assert!(names.iter().any(|name| name == "system:controller:daemon-set-controller"));
}

#[test]
fn certificate_without_a_name_is_nobody() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let certificate = params.self_signed(&key).unwrap();
    assert!(matches!(authn::user_from_certificate(certificate.der()), Err(authn::CertificateError::NoName)));
    assert!(matches!(
        authn::user_from_certificate(b"no certificate"),
        Err(authn::CertificateError::Unreadable(_))
    ));
}
