//! What the cluster adds to or refuses in a write, beyond the object itself.
//!
//! Upstream's default chain as far as these kinds need it: NamespaceLifecycle, ServiceAccount, RuntimeClass,
//! TaintNodesByCondition (in the node's own strategy), Priority, DefaultTolerationSeconds, NodeRestriction. It reads other
//! objects from the windows and waits for nothing.

pub mod priority;
pub mod runtime_class;
pub mod service_account;
pub mod toleration;

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::access::user::MASTERS;
use crate::access::{Attributes, Authorizer, User, escalation};
use crate::allotment::Allotment;
use crate::error::ApiError;
use crate::window::Windows;
use api::scheme::Resource;

/// What admission may look at.
pub struct Admission<'a> {
    pub windows: &'a Windows,
    pub authorizer: &'a Authorizer,
    pub user: &'a User,
    pub now: Timestamp,
    pub allotment: &'a Allotment,
}

impl Admission<'_> {
    /// RBAC: nobody grants what they do not hold, unless they may `escalate` roles or `bind` this one.
    pub fn may_grant(
        &self,
        resource: &Resource,
        object: (&str, &str),
        excuse: &Attributes,
        granted: &[PolicyRule],
    ) -> Result<(), ApiError> {
        let (namespace, name) = object;
        if self.user.is_in(MASTERS) {
            return Ok(());
        }
        let excuse = Attributes { user: self.user.clone(), ..excuse.clone() };
        if self.authorizer.authorize(&excuse).is_allowed() {
            return Ok(());
        }
        let held = self.authorizer.rules_for(self.user, namespace);
        escalation::confirm_none(self.user, &held, granted)
            .map_err(|why| ApiError::forbidden(resource, name, why))
    }

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
}

fn pods() -> &'static Resource {
    static PODS: std::sync::LazyLock<&'static Resource> = std::sync::LazyLock::new(|| {
        api::scheme::find("", "v1", "pods").unwrap_or(&api::scheme::RESOURCES[0])
    });
    &PODS
}
