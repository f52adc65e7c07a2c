//! What the cluster adds to or refuses in a write, beyond the object itself.
//!
//! Upstream's default chain as far as these kinds need it: NamespaceLifecycle, ServiceAccount (name only),
//! TaintNodesByCondition (in the node's own strategy), Priority, DefaultTolerationSeconds, NodeRestriction. It reads other
//! objects from the windows and waits for nothing.

pub mod priority;
pub mod service_account;
pub mod toleration;

use api::scheme::Resource;
use k8s_openapi::api::core::v1::Pod;

use crate::access::User;
use crate::error::ApiError;
use crate::window::Windows;

/// What admission may look at.
pub struct Admission<'a> {
    pub windows: &'a Windows,
    pub user: &'a User,
}

impl Admission<'_> {
    /// NamespaceLifecycle: nothing is created in a namespace that is not there or is on its way out.
    pub fn namespace_takes(&self, resource: &Resource, name: &str, namespace: &str) -> Result<(), ApiError> {
        let window = self.windows.window("namespaces");
        let Some(found) = window.and_then(|window| window.get(namespace)) else {
            let missing = api::scheme::find("", "v1", "namespaces").unwrap_or(resource);
            return Err(ApiError::not_found(missing, namespace));
        };
        if found.header.deleting || found.header.field("status.phase") == Some("Terminating") {
            return Err(ApiError::namespace_terminating(resource, name, namespace));
        }
        Ok(())
    }

    /// NodeRestriction for pods: a node's agent creates mirror pods of its own node only.
    pub fn node_may_create_pod(&self, pod: &Pod) -> Result<(), ApiError> {
        let Some(node) = self.user.node_name() else { return Ok(()) };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let refuse = |why: String| Err(ApiError::forbidden(pods(), name, why));
        if !api::pod::is_mirror(pod) {
            return refuse(format!(
                "pod does not have \"{}\" annotation, node {node:?} can only create mirror pods",
                api::well_known::pod_annotation::CONFIG_MIRROR
            ));
        }
        if api::pod::node_name(pod) != Some(node) {
            return refuse(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
        }
        Ok(())
    }
}

fn pods() -> &'static Resource {
    static PODS: std::sync::LazyLock<&'static Resource> = std::sync::LazyLock::new(|| {
        api::scheme::find("", "v1", "pods").unwrap_or(&api::scheme::RESOURCES[0])
    });
    &PODS
}
