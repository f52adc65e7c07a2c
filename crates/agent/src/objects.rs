//! ConfigMaps and Secrets that a Pod refers to, fetched when they are needed.
//!
//! Which ones a Pod names is read from its spec; an object that is absent is an answer, an API server that is away is
//! an error. Nothing is kept between calls: what changed is seen at the next look. A static Pod's come from the
//! manifests beside it and never from the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret};
use kube::Api;

use crate::source::local_objects::LocalObjects;
use crate::token;

/// Everything that a Pod's volumes and variables refer to. `None`: it does not exist.
#[derive(Debug, Clone, Default)]
pub struct Referenced {
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
    pub secrets: BTreeMap<String, Option<Secret>>,
    pub tokens: BTreeMap<token::Wanted, Arc<str>>,
}

#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    #[error("{kind} {name:?} cannot be had: this node has no API server")]
    Alone { kind: &'static str, name: String },
    #[error("get {kind} {namespace}/{name}")]
    Get {
        kind: &'static str,
        namespace: String,
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
}

/// Names of ConfigMaps and Secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
}

impl Names {
    /// What the volumes of a Pod refer to.
    pub fn of_volumes(pod: &Pod) -> Names {
        let mut names = Names::default();
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            names.config_maps.extend(volume.config_map.iter().map(|source| source.name.clone()));
            names.secrets.extend(volume.secret.iter().filter_map(|source| source.secret_name.clone()));
            for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
                names.config_maps.extend(source.config_map.iter().map(|source| source.name.clone()));
                names.secrets.extend(source.secret.iter().map(|source| source.name.clone()));
            }
        }
        names
    }

    /// What the variables of a container refer to.
    pub fn of_environment(container: &Container) -> Names {
        let mut names = Names::default();
        for from in container.env_from.iter().flatten() {
            names.config_maps.extend(from.config_map_ref.iter().map(|source| source.name.clone()));
            names.secrets.extend(from.secret_ref.iter().map(|source| source.name.clone()));
        }
        for from in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            names.config_maps.extend(from.config_map_key_ref.iter().map(|source| source.name.clone()));
            names.secrets.extend(from.secret_key_ref.iter().map(|source| source.name.clone()));
        }
        names
    }

    /// Credentials for its images.
    pub fn of_image_pulls(pod: &Pod) -> Names {
        let secrets = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
        Names { secrets: secrets.map(|reference| reference.name.clone()).collect(), ..Names::default() }
    }
}

/// Where they are fetched from.
#[derive(Clone, Copy)]
pub enum Shelf<'a> {
    /// `None`: this node has no API server.
    Api(Option<&'a kube::Client>),
    /// Static Pods get what lies among the manifests, and nothing else.
    Node(&'a LocalObjects),
}

/// Fetches all of them.
pub async fn fetch(shelf: Shelf<'_>, namespace: &str, names: &Names) -> Result<Referenced, ObjectsError> {
    let mut referenced = Referenced::default();
    let client = match shelf {
        Shelf::Api(client) => client,
        Shelf::Node(objects) => {
            let maps = names.config_maps.iter();
            referenced.config_maps =
                maps.map(|name| (name.clone(), objects.config_map(namespace, name))).collect();
            let secrets = names.secrets.iter();
            referenced.secrets =
                secrets.map(|name| (name.clone(), objects.secret(namespace, name))).collect();
            return Ok(referenced);
        }
    };
    let alone = |kind, name: &String| ObjectsError::Alone { kind, name: name.clone() };
    let failed = |kind, name: &String, source| ObjectsError::Get {
        kind,
        namespace: namespace.to_owned(),
        name: name.clone(),
        source: Box::new(source),
    };
    for name in &names.config_maps {
        let client = client.ok_or_else(|| alone("ConfigMap", name))?.clone();
        let found = Api::<ConfigMap>::namespaced(client, namespace).get_opt(name).await;
        referenced.config_maps.insert(name.clone(), found.map_err(|error| failed("ConfigMap", name, error))?);
    }
    for name in &names.secrets {
        let client = client.ok_or_else(|| alone("Secret", name))?.clone();
        let found = Api::<Secret>::namespaced(client, namespace).get_opt(name).await;
        referenced.secrets.insert(name.clone(), found.map_err(|error| failed("Secret", name, error))?);
    }
    Ok(referenced)
}
