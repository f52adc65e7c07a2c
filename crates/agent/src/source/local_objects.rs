//! ConfigMaps and Secrets that lie among the manifests: of this node alone, for its static Pods.
//!
//! Each source tells its own; of two sources the folder's come first. Readers get what counts now.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use parking_lot::RwLock;

use super::SourceKind;
use super::manifest::Manifest;

/// By namespace and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Objects {
    pub config_maps: BTreeMap<(String, String), ConfigMap>,
    pub secrets: BTreeMap<(String, String), Secret>,
}

impl Objects {
    pub fn add(&mut self, manifest: &Manifest) {
        let key = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
            (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
        };
        let maps = manifest.config_maps.iter().map(|map| (key(&map.metadata), map.clone()));
        self.config_maps.extend(maps);
        let secrets = manifest.secrets.iter().map(|secret| (key(&secret.metadata), secret.clone()));
        self.secrets.extend(secrets);
    }
}

/// What all sources of this node hold.
#[derive(Debug, Default)]
pub struct LocalObjects(RwLock<BTreeMap<SourceKind, Objects>>);

impl LocalObjects {
    pub fn set(&self, kind: SourceKind, objects: Objects) {
        self.0.write().insert(kind, objects);
    }

    pub fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap> {
        let key = (namespace.to_owned(), name.to_owned());
        self.0.read().values().find_map(|objects| objects.config_maps.get(&key).cloned())
    }

    pub fn secret(&self, namespace: &str, name: &str) -> Option<Secret> {
        let key = (namespace.to_owned(), name.to_owned());
        self.0.read().values().find_map(|objects| objects.secrets.get(&key).cloned())
    }
}
