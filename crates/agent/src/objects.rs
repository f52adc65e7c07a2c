//! ConfigMaps and Secrets that a Pod refers to, fetched when they are needed.
//!
//! Which ones a Pod names is read from its spec; an object that is absent is an answer, an API server that is away is
//! an error, unless it has said before what the object is ([`crate::offline`]). What changed is seen at the next look. A
//! static Pod's come from the manifests beside it and never from the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret};
use kube::Api;

use crate::offline::Kept;
use crate::source::local_objects::LocalObjects;
use crate::token;

/// How long a start waits for the API where an older answer will do.
const KNOWN_AFTER_MS: u64 = 3_000;

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
    /// The API, and while it is away what it said last for the Pod of this uid.
    Api {
        /// `None`: this node has no API server.
        client: Option<&'a kube::Client>,
        kept: &'a Kept,
        uid: &'a str,
    },
    /// Static Pods get what lies among the manifests, and nothing else.
    Node(&'a LocalObjects),
}

/// Fetches all of them.
pub async fn fetch(shelf: Shelf<'_>, namespace: &str, names: &Names) -> Result<Referenced, ObjectsError> {
    let mut referenced = Referenced::default();
    let (client, kept, uid) = match shelf {
        Shelf::Api { client, kept, uid } => (client, kept, uid),
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
    if names.config_maps.is_empty() && names.secrets.is_empty() {
        return Ok(referenced);
    }
    let needs = kept.needs(uid);
    for name in &names.config_maps {
        let known = needs.config_maps.get(name).cloned();
        let found = one::<ConfigMap>(client, "ConfigMap", namespace, name, known).await?;
        referenced.config_maps.insert(name.clone(), found);
    }
    for name in &names.secrets {
        let known = needs.secrets.get(name).cloned();
        let found = one::<Secret>(client, "Secret", namespace, name, known).await?;
        referenced.secrets.insert(name.clone(), found);
    }
    kept.keep_needs(uid, |needs| {
        needs.config_maps.extend(referenced.config_maps.clone());
        needs.secrets.extend(referenced.secrets.clone());
    });
    Ok(referenced)
}

/// From the API; from what is kept where the API cannot say.
async fn one<K>(
    client: Option<&kube::Client>,
    kind: &'static str,
    namespace: &str,
    name: &str,
    known: Option<Option<K>>,
) -> Result<Option<K>, ObjectsError>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    let client = client.ok_or_else(|| ObjectsError::Alone { kind, name: name.to_owned() })?.clone();
    let api = Api::<K>::namespaced(client, namespace);
    let Some(known) = known else {
        return api.get_opt(name).await.map_err(|source| ObjectsError::Get {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            source: Box::new(source),
        });
    };
    let patience = Duration::from_millis(KNOWN_AFTER_MS);
    match tokio::time::timeout(patience, api.get_opt(name)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) if is_an_answer(&error) => Err(ObjectsError::Get {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            source: Box::new(error),
        }),
        Ok(Err(_)) | Err(_) => {
            tracing::warn!(kind, namespace, name, "the API server is away: what it said last is used");
            Ok(known)
        }
    }
}

/// Whether somebody who knows has refused, rather than nobody has answered.
pub fn is_an_answer(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429)
}
