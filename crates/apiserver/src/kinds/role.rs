//! Roles and bindings: policy as objects. What a policy means is `access::rbac`'s.

use api::field::FieldErrors;
use api::{default, validate};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};

use super::{Kind, Part, Seen};

impl Kind for Role {
    fn default(&mut self) {
        default::role(self);
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::role_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::role_update(self, old)
    }
}

impl Kind for ClusterRole {
    fn default(&mut self) {
        default::cluster_role(self);
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::cluster_role_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::cluster_role_update(self, old)
    }
}

impl Kind for RoleBinding {
    fn default(&mut self) {
        default::role_binding(self);
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::role_binding_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::role_binding_update(self, old)
    }
}

impl Kind for ClusterRoleBinding {
    fn default(&mut self) {
        default::cluster_role_binding(self);
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::cluster_role_binding_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::cluster_role_binding_update(self, old)
    }
}
