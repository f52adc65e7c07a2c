//! What every object has: name, labels, owners, deletion.
//!
//! Total accessors over `ObjectMeta`, so that callers never unwrap: what is absent is empty.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

static NONE: BTreeMap<String, String> = BTreeMap::new();

/// Reading an object's metadata. Implemented for every kind that has an `ObjectMeta`.
pub trait Meta {
    fn meta(&self) -> &ObjectMeta;

    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// Empty for cluster-scoped objects.
    fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    fn resource_version(&self) -> &str {
        self.meta().resource_version.as_deref().unwrap_or_default()
    }

    fn generation(&self) -> i64 {
        self.meta().generation.unwrap_or_default()
    }

    fn labels(&self) -> &BTreeMap<String, String> {
        self.meta().labels.as_ref().unwrap_or(&NONE)
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.labels().get(key).map(String::as_str)
    }

    fn annotations(&self) -> &BTreeMap<String, String> {
        self.meta().annotations.as_ref().unwrap_or(&NONE)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations().get(key).map(String::as_str)
    }

    fn finalizers(&self) -> &[String] {
        self.meta().finalizers.as_deref().unwrap_or_default()
    }

    fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers().iter().any(|f| f == finalizer)
    }

    fn owners(&self) -> &[OwnerReference] {
        self.meta().owner_references.as_deref().unwrap_or_default()
    }

    /// The one owner that manages the object, if there is one.
    fn controller_owner(&self) -> Option<&OwnerReference> {
        self.owners().iter().find(|owner| owner.controller == Some(true))
    }

    fn is_controlled_by(&self, uid: &str) -> bool {
        self.controller_owner().is_some_and(|owner| owner.uid == uid)
    }

    fn creation_timestamp(&self) -> Option<Timestamp> {
        self.meta().creation_timestamp.as_ref().map(|time| time.0)
    }

    fn deletion_timestamp(&self) -> Option<Timestamp> {
        self.meta().deletion_timestamp.as_ref().map(|time| time.0)
    }

    fn is_deleting(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }
}

impl<T: Metadata<Ty = ObjectMeta>> Meta for T {
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }
}

/// The owner reference of a controller on an object it makes: `controller` and `blockOwnerDeletion` are set.
pub fn controller_ref(api_version: &str, kind: &str, owner: &impl Meta) -> OwnerReference {
    OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: owner.name().to_owned(),
        uid: owner.uid().to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;

    #[test]
    fn absent_metadata_reads_as_empty() {
        let pod = Pod::default();
        assert_eq!((pod.name(), pod.namespace(), pod.uid()), ("", "", ""));
        assert!(pod.labels().is_empty() && pod.owners().is_empty() && !pod.is_deleting());
    }

    #[test]
    fn only_the_controlling_owner_controls() {
        let mut pod = Pod::default();
        let metadata =
            ObjectMeta { name: Some("ds".into()), uid: Some("u1".into()), ..ObjectMeta::default() };
        let owner = Pod { metadata, ..Pod::default() };
        let plain = OwnerReference { uid: "u0".into(), ..OwnerReference::default() };
        pod.metadata.owner_references = Some(vec![plain, controller_ref("apps/v1", "DaemonSet", &owner)]);
        assert!(pod.is_controlled_by("u1") && !pod.is_controlled_by("u0"));
        assert_eq!(pod.controller_owner().map(|o| o.kind.as_str()), Some("DaemonSet"));
    }
}
