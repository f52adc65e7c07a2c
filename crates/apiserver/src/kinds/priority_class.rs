//! PriorityClass: a name for a number that never changes.

use api::field::{FieldError, FieldErrors, Path};
use api::well_known::priority;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{Kind, Part};

impl Kind for PriorityClass {
    fn default(&mut self) {
        if self.preemption_policy.is_none() {
            self.preemption_policy = Some("PreemptLowerPriority".to_owned());
        }
    }

    fn generation_changed(&self, old: &Self) -> Option<bool> {
        Some(self.value != old.value || self.global_default != old.global_default)
    }

    fn validate_create(&self) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let built_in = [
            (priority::SYSTEM_CLUSTER_CRITICAL, priority::SYSTEM_CLUSTER_CRITICAL_VALUE),
            (priority::SYSTEM_NODE_CRITICAL, priority::SYSTEM_NODE_CRITICAL_VALUE),
        ];
        if name.starts_with(priority::SYSTEM_PREFIX) {
            if !built_in.contains(&(name, self.value)) {
                let path = Path::new("metadata").child("name");
                let detail = "priority class names with 'system-' prefix are reserved for system use only";
                errors.push(FieldError::forbidden(&path, detail));
            }
        } else if self.value > priority::USER_VALUE_MAX {
            let detail =
                format!("maximum allowed value of a user defined priority is {}", priority::USER_VALUE_MAX);
            errors.push(FieldError::forbidden(&Path::new("value"), detail));
        }
        errors
    }

    fn validate_update(&self, old: &Self, _part: Part) -> FieldErrors {
        let mut errors = FieldErrors::new();
        if self.value != old.value {
            let detail = "may not be changed in an update.";
            errors.push(FieldError::forbidden(&Path::new("value"), detail));
        }
        if self.preemption_policy != old.preemption_policy {
            let path = Path::new("preemptionPolicy");
            errors.push(FieldError::invalid(&path, self.preemption_policy.clone(), "field is immutable"));
        }
        errors
    }
}
