//! Who asks: the user that authentication found, in upstream's terms.

use std::collections::BTreeMap;

/// Members may do everything; checked before every other rule.
pub const MASTERS: &str = "system:masters";
/// Every user that authentication has found.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Whoever shows no credentials, on the few paths where none are needed.
pub const ANONYMOUS: &str = "system:anonymous";
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Node agents, whose users are named [`NODE_USER_PREFIX`] and the node's name.
pub const NODES: &str = "system:nodes";
pub const NODE_USER_PREFIX: &str = "system:node:";
pub const SERVICE_ACCOUNT_USER_PREFIX: &str = "system:serviceaccount:";

pub const ADMIN_USER: &str = "kubernetes-admin";
pub const CONTROLLERS_USER: &str = "system:kube-controller-manager";
pub const SCHEDULER_USER: &str = "system:kube-scheduler";
pub const KUBELET_CLIENT_USER: &str = "kube-apiserver-kubelet-client";

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    pub name: String,
    pub uid: Option<String>,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user with these groups and, like every user found by authentication, `system:authenticated`.
    pub fn authenticated<G: Into<String>>(
        name: impl Into<String>,
        groups: impl IntoIterator<Item = G>,
    ) -> User {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        User { name: name.into(), groups, ..User::default() }
    }

    pub fn admin() -> User {
        User::authenticated(ADMIN_USER, [MASTERS])
    }

    pub fn controllers() -> User {
        User::authenticated(CONTROLLERS_USER, [""; 0])
    }

    pub fn scheduler() -> User {
        User::authenticated(SCHEDULER_USER, [""; 0])
    }

    pub fn node(node: &str) -> User {
        User::authenticated(format!("{NODE_USER_PREFIX}{node}"), [NODES])
    }

    /// The API server itself, for what it must do on its own behalf.
    pub fn apiserver() -> User {
        User::authenticated("system:apiserver", [MASTERS])
    }

    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The program that acts as this user, where the name says so: `kube-scheduler`, or `kubelet` on every node.
    pub fn component(&self) -> Option<&str> {
        if self.node_name().is_some() {
            return Some("kubelet");
        }
        match self.name.strip_prefix("system:")? {
            "apiserver" => Some("kube-apiserver"),
            name if name.contains(':') => None,
            name => Some(name),
        }
    }

    /// The node whose agent this is: the name says so and the group confirms it.
    pub fn node_name(&self) -> Option<&str> {
        let node = self.name.strip_prefix(NODE_USER_PREFIX)?;
        (!node.is_empty() && self.is_in(NODES)).then_some(node)
    }
}
