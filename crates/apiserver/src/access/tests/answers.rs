//! Who may do what: one table of questions with the answers that a Kubernetes API server gives with
//! `--authorization-mode=Node,RBAC` and its bootstrap roles.

use serde_json::json;

use super::{asks, binding, with};
use crate::access::token::ACCOUNTS_GROUP;
use crate::access::{Authorizer, User, user};

/// `who: verb group/resource/subresource namespace/name` (`-` is the core group), `yes` or `no`.
///
/// `viewer`, `editor`, `admin` and `root` hold view, edit, admin and cluster-admin everywhere, `team-*` in the
/// namespace `team`. On `n1` runs the Pod `default/web`, which names Secret `s`, ConfigMap `c`, account `sa` and claim `v`;
/// on `n2` runs nothing.
const TABLE: &str = "
anonymous:      get /healthz                                                    yes
anonymous:      get /livez                                                      yes
anonymous:      get /version                                                    yes
anonymous:      get /metrics                                                    no
anonymous:      get /api                                                        no
anonymous:      get /openid/v1/jwks                                             no
anonymous:      list -/pods default                                             no
jane:           get /apis/apps/v1                                               yes
jane:           get /openapi/v3                                                 yes
jane:           get /metrics                                                    no
jane:           post /api                                                       no
jane:           get -/pods default/web                                          no
jane:           create authorization.k8s.io/selfsubjectaccessreviews            yes
jane:           create authorization.k8s.io/selfsubjectrulesreviews             yes
jane:           create authentication.k8s.io/selfsubjectreviews                 yes
jane:           create authorization.k8s.io/subjectaccessreviews                no
jane:           create authentication.k8s.io/tokenreviews                       no
jane:           get /openid/v1/jwks                                             no
monitor:        get /metrics                                                    yes
monitor:        get /readyz/etcd                                                yes
monitor:        get -/pods default/web                                          no
account:        get /openid/v1/jwks                                             yes
account:        get /.well-known/openid-configuration                           yes
account:        get -/secrets default/s                                         no
account:        list -/pods default                                             no
viewer:         get -/pods default/web                                          yes
viewer:         list -/pods                                                     yes
viewer:         get -/pods/log default/web                                      yes
viewer:         watch apps/daemonsets team                                      yes
viewer:         get apps/daemonsets/status team/d                               yes
viewer:         list -/events team                                              yes
viewer:         list -/namespaces                                               yes
viewer:         get -/serviceaccounts team/sa                                   yes
viewer:         list discovery.k8s.io/endpointslices team                       yes
viewer:         list policy/poddisruptionbudgets team                           yes
viewer:         get -/secrets default/s                                         no
viewer:         list -/nodes                                                    no
viewer:         get rbac.authorization.k8s.io/roles team/r                      no
viewer:         create -/pods team                                              no
viewer:         create -/pods/exec default/web                                  no
viewer:         get -/pods/exec default/web                                     no
viewer:         list coordination.k8s.io/leases team                            no
editor:         create -/pods team                                              yes
editor:         delete -/pods default/web                                       yes
editor:         get -/secrets default/s                                         yes
editor:         create -/pods/exec default/web                                  yes
editor:         create -/pods/portforward default/web                           yes
editor:         create -/pods/eviction default/web                              yes
editor:         create -/serviceaccounts/token default/sa                       yes
editor:         impersonate -/serviceaccounts default/sa                        yes
editor:         patch apps/daemonsets team/d                                    yes
editor:         deletecollection -/configmaps team                              yes
editor:         update coordination.k8s.io/leases team/l                        yes
editor:         patch -/events team/e                                           yes
editor:         update apps/daemonsets/status team/d                            no
editor:         create rbac.authorization.k8s.io/rolebindings team              no
editor:         create -/namespaces                                             no
editor:         impersonate -/users root                                        no
editor:         update -/endpoints team/e                                       no
editor:         create -/pods/binding default/web                               no
admin:          create rbac.authorization.k8s.io/rolebindings team              yes
admin:          update rbac.authorization.k8s.io/roles team/r                   yes
admin:          create authorization.k8s.io/localsubjectaccessreviews team      yes
admin:          create rbac.authorization.k8s.io/clusterrolebindings            no
admin:          escalate rbac.authorization.k8s.io/roles team/r                 no
admin:          bind rbac.authorization.k8s.io/clusterroles /cluster-admin      no
admin:          update -/namespaces /team                                       no
admin:          delete -/nodes /n1                                              no
admin:          create certificates.k8s.io/certificatesigningrequests           no
root:           delete -/nodes /n1                                              yes
root:           escalate rbac.authorization.k8s.io/clusterroles /x              yes
root:           approve certificates.k8s.io/signers /any                        yes
root:           delete /anything                                                yes
root:           impersonate -/users jane                                        yes
team-viewer:    list -/pods team                                                yes
team-viewer:    list -/pods default                                             no
team-viewer:    list -/pods                                                     no
team-viewer:    get -/namespaces team/team                                      yes
team-admin:     create rbac.authorization.k8s.io/roles team                     yes
team-admin:     create rbac.authorization.k8s.io/roles default                  no
team-admin:     get -/secrets team/any                                          yes
team-admin:     get -/secrets default/s                                         no
scheduler:      create -/pods/binding default/web                               yes
scheduler:      patch -/pods/status default/web                                 yes
scheduler:      delete -/pods default/web                                       yes
scheduler:      watch -/nodes                                                   yes
scheduler:      list storage.k8s.io/storageclasses                              yes
scheduler:      update coordination.k8s.io/leases kube-system/kube-scheduler    yes
scheduler:      get -/configmaps kube-system/extension-apiserver-authentication yes
scheduler:      create -/pods default                                           no
scheduler:      get -/secrets default/s                                         no
scheduler:      update -/nodes /n1                                              no
scheduler:      update coordination.k8s.io/leases default/kube-controller-manager no
controllers:    list -/anything                                                 yes
controllers:    create -/pods default                                           yes
controllers:    create -/serviceaccounts/token default/sa                       yes
controllers:    update certificates.k8s.io/certificatesigningrequests/approval /c yes
controllers:    create rbac.authorization.k8s.io/clusterrolebindings            no
controllers:    impersonate -/users jane                                        no
proxy:          watch -/services                                                yes
proxy:          watch discovery.k8s.io/endpointslices                           yes
proxy:          get -/nodes /n1                                                 yes
proxy:          get -/secrets default/s                                         no
dns:            list -/endpoints                                                yes
dns:            watch -/services                                                yes
dns:            get -/services default/kubernetes                               no
job-controller: create -/pods default                                           yes
job-controller: patch batch/jobs/status default/j                               yes
job-controller: get -/secrets default/s                                         no
cleaner:        delete -/secrets kube-system/bootstrap-token-abcdef             yes
cleaner:        delete -/secrets default/s                                      no
newcomer:       create certificates.k8s.io/certificatesigningrequests           yes
newcomer:       watch certificates.k8s.io/certificatesigningrequests            yes
newcomer:       create certificates.k8s.io/certificatesigningrequests/nodeclient no
newcomer:       approve certificates.k8s.io/signers /kubelet no
delegate:       create authentication.k8s.io/tokenreviews                       yes
delegate:       create authorization.k8s.io/subjectaccessreviews                yes
delegate:       list -/pods                                                     no
n1:             get -/secrets default/s                                         yes
n1:             list -/secrets default/s                                        yes
n1:             watch -/secrets default/s                                       yes
n1:             get -/configmaps default/c                                      yes
n1:             get -/persistentvolumeclaims default/v                          yes
n1:             patch -/persistentvolumeclaims/status default/v                 yes
n1:             create -/serviceaccounts/token default/sa                       yes
n1:             get -/serviceaccounts default/sa                                yes
n1:             get -/pods default/web                                          yes
n1:             get -/nodes /n1                                                 yes
n1:             patch -/nodes/status /n1                                        yes
n1:             create -/nodes                                                  yes
n1:             create -/pods default                                           yes
n1:             delete -/pods default/web                                       yes
n1:             patch -/pods/status default/web                                 yes
n1:             create -/pods/eviction default/web                              yes
n1:             create coordination.k8s.io/leases kube-node-lease               yes
n1:             update coordination.k8s.io/leases kube-node-lease/n1            yes
n1:             create storage.k8s.io/csinodes                                  yes
n1:             patch storage.k8s.io/csinodes /n1                               yes
n1:             create resource.k8s.io/resourceslices                           yes
n1:             list -/services                                                 yes
n1:             get -/endpoints default/e                                       yes
n1:             create -/events default                                         yes
n1:             create certificates.k8s.io/certificatesigningrequests           yes
n1:             create authentication.k8s.io/tokenreviews                       yes
n1:             create authorization.k8s.io/subjectaccessreviews                yes
n1:             watch storage.k8s.io/csidrivers                                 yes
n1:             watch node.k8s.io/runtimeclasses                                yes
n1:             get -/secrets default/other                                     no
n1:             get -/secrets kube-system/s                                     no
n1:             list -/secrets default                                          no
n1:             list -/secrets                                                  no
n1:             create -/secrets default                                        no
n1:             update -/secrets default/s                                      no
n1:             delete -/configmaps default/c                                   no
n1:             list -/persistentvolumeclaims default                           no
n1:             get -/persistentvolumeclaims default/other                      no
n1:             get -/persistentvolumes /pv                                     no
n1:             get storage.k8s.io/volumeattachments /a                         no
n1:             get resource.k8s.io/resourceclaims default/r                    no
n1:             get resource.k8s.io/resourceslices /r                           no
n1:             list resource.k8s.io/resourceslices                             no
n1:             create -/serviceaccounts/token default/other                    no
n1:             list -/serviceaccounts default                                  no
n1:             create -/serviceaccounts default                                no
n1:             get -/pods default/other                                        no
n1:             list -/pods                                                     no
n1:             list -/pods default                                             no
n1:             patch -/pods default/web                                        no
n1:             update -/pods default/web                                       no
n1:             deletecollection -/pods default                                 no
n1:             create -/pods/exec default/web                                  no
n1:             create -/pods/binding default/web                               no
n1:             get -/nodes /n2                                                 no
n1:             list -/nodes                                                    no
n1:             delete -/nodes /n1                                              no
n1:             create -/nodes/proxy /n1                                        no
n1:             get coordination.k8s.io/leases kube-node-lease/n2               no
n1:             list coordination.k8s.io/leases kube-node-lease                 no
n1:             update coordination.k8s.io/leases kube-system/kube-scheduler    no
n1:             get storage.k8s.io/csinodes /n2                                 no
n1:             list storage.k8s.io/csinodes                                    no
n1:             create apps/daemonsets default                                  no
n1:             list rbac.authorization.k8s.io/clusterroles                     no
n1:             impersonate -/users jane                                        no
n1:             update certificates.k8s.io/certificatesigningrequests/approval /c no
n2:             get -/secrets default/s                                         no
n2:             get -/configmaps default/c                                      no
n2:             create -/serviceaccounts/token default/sa                       no
n2:             get -/pods default/web                                          no
n2:             get -/nodes /n2                                                 yes
n2:             get -/nodes /n1                                                 no
impostor:       get -/secrets default/s                                         no
impostor:       get -/nodes /n1                                                 no
nameless-node:  get -/nodes /n1                                                 no
nameless-node:  list -/services                                                 no
";

fn who(name: &str) -> User {
    let person = |name: &str| User::authenticated(name, [""; 0]);
    let account = |name: &str| {
        let groups = [ACCOUNTS_GROUP.to_owned(), format!("{ACCOUNTS_GROUP}:kube-system")];
        User::authenticated(format!("system:serviceaccount:kube-system:{name}"), groups)
    };
    match name {
        "anonymous" => User {
            name: user::ANONYMOUS.into(),
            groups: vec![user::UNAUTHENTICATED.into()],
            ..User::default()
        },
        "monitor" => User::authenticated("m", ["system:monitoring"]),
        "account" => account("any"),
        "scheduler" => User::scheduler(),
        "controllers" => User::controllers(),
        "proxy" => person("system:kube-proxy"),
        "dns" => account("kube-dns"),
        "job-controller" => account("job-controller"),
        "cleaner" => account("token-cleaner"),
        "newcomer" => User::authenticated("system:bootstrap:abcdef", ["system:bootstrappers"]),
        "n1" | "n2" => User::node(name),
        // The name alone makes no node, and neither does the group.
        "impostor" => User::authenticated("system:node:n1", ["devs"]),
        "nameless-node" => User::authenticated("somebody", [user::NODES]),
        name => person(name),
    }
}

fn authorizer() -> Authorizer {
    let everywhere = |who: &str, role: &str| {
        let subjects = json!([{"kind": "User", "name": who}]);
        binding("ClusterRoleBinding", who, "", &format!("ClusterRole/{role}"), subjects)
    };
    let in_team = |who: &str, role: &str| {
        let subjects = json!([{"kind": "User", "name": who}]);
        binding("RoleBinding", who, "team", &format!("ClusterRole/{role}"), subjects)
    };
    let newcomers = json!([{"kind": "Group", "name": "system:bootstrappers"}]);
    with(&[
        everywhere("viewer", "view"),
        everywhere("editor", "edit"),
        everywhere("admin", "admin"),
        everywhere("root", "cluster-admin"),
        everywhere("delegate", "system:auth-delegator"),
        in_team("team-viewer", "view"),
        in_team("team-admin", "admin"),
        binding("ClusterRoleBinding", "new", "", "ClusterRole/system:node-bootstrapper", newcomers),
    ])
}

#[test]
fn bootstrap_roles_and_nodes_may_what_upstream_lets_them() {
    let authorizer = authorizer();
    let mut wrong = Vec::new();
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let (user, question) = line.split_once(':').unwrap();
        let words: Vec<&str> = question.split_whitespace().collect();
        let (answer, request) = words.split_last().unwrap();
        let expected = match *answer {
            "yes" => true,
            "no" => false,
            other => panic!("{other:?} is no answer: {line}"),
        };
        if authorizer.authorize(&asks(who(user), &request.join(" "))).is_allowed() != expected {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "answered otherwise:\n{}", wrong.join("\n"));
}
