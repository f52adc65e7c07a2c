//! What a static Pod refers to: what other manifests of this node can give, and what nobody here can.
//!
//! Upstream refuses every reference to an API object since 1.34; before, such a Pod ran without a mirror.
//! DIFFERS(static-local): ConfigMaps and Secrets that lie among the manifests may be named; everything else is refused
//! with its field.

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::{ManifestError, ObjectName};

const CONFIG_MAP: &str = "ConfigMap";
const SECRET: &str = "Secret";

/// One place that names a ConfigMap or Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub field: String,
    pub object: ObjectName,
    /// The Pod runs without it as well.
    pub optional: bool,
}

/// Refuses what no manifest can bring.
pub fn refuse_api_objects(pod: &Pod) -> Result<(), ManifestError> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    let refuse = |field: String, what| Err(ManifestError::ApiReference { field, what });
    if spec.service_account_name.as_deref().is_some_and(|name| !name.is_empty()) {
        return refuse("spec.serviceAccountName".to_owned(), "a ServiceAccount");
    }
    if spec.resource_claims.as_ref().is_some_and(|list| !list.is_empty()) {
        return refuse("spec.resourceClaims".to_owned(), "ResourceClaims");
    }
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        return refuse("spec.ephemeralContainers".to_owned(), "ephemeral containers come through the API");
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let field = |kind: &str| format!("spec.volumes[{index}].{kind}");
        if volume.persistent_volume_claim.is_some() {
            return refuse(field("persistentVolumeClaim"), "a PersistentVolumeClaim");
        }
        if volume.ephemeral.is_some() {
            return refuse(field("ephemeral"), "a PersistentVolumeClaim");
        }
        let mut bare = volume.clone();
        (bare.secret, bare.projected) = (None, None);
        if !api::pod::volume_secrets(&bare).is_empty() {
            return refuse(
                format!("spec.volumes[{index}]"),
                "a Secret for a volume that is mounted by a driver",
            );
        }
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for (at, source) in sources.enumerate() {
            let field = |kind: &str| format!("spec.volumes[{index}].projected.sources[{at}].{kind}");
            if source.service_account_token.is_some() {
                return refuse(field("serviceAccountToken"), "a ServiceAccount's token");
            }
            if source.cluster_trust_bundle.is_some() {
                return refuse(field("clusterTrustBundle"), "a ClusterTrustBundle");
            }
        }
    }
    Ok(())
}

/// Every ConfigMap and Secret that the Pod names, in the order of its fields.
pub fn of(pod: &Pod) -> Vec<Reference> {
    let mut found = Found { namespace: pod.metadata.namespace.clone().unwrap_or_default(), all: Vec::new() };
    let Some(spec) = &pod.spec else { return Vec::new() };
    // A Secret for pulls that is not there is passed over, as by upstream.
    for (at, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        found.add(format!("spec.imagePullSecrets[{at}]"), SECRET, &secret.name, Some(true));
    }
    volumes(spec, &mut found);
    let groups =
        [("initContainers", spec.init_containers.as_deref()), ("containers", Some(&*spec.containers))];
    for (group, containers) in groups {
        for (index, container) in containers.into_iter().flatten().enumerate() {
            for (at, from) in container.env_from.iter().flatten().enumerate() {
                let field = || format!("spec.{group}[{index}].envFrom[{at}]");
                if let Some(map) = &from.config_map_ref {
                    found.add(field(), CONFIG_MAP, &map.name, map.optional);
                }
                if let Some(secret) = &from.secret_ref {
                    found.add(field(), SECRET, &secret.name, secret.optional);
                }
            }
            for (at, variable) in container.env.iter().flatten().enumerate() {
                let Some(from) = &variable.value_from else { continue };
                let field = || format!("spec.{group}[{index}].env[{at}].valueFrom");
                if let Some(map) = &from.config_map_key_ref {
                    found.add(field(), CONFIG_MAP, &map.name, map.optional);
                }
                if let Some(secret) = &from.secret_key_ref {
                    found.add(field(), SECRET, &secret.name, secret.optional);
                }
            }
        }
    }
    found.all
}

struct Found {
    namespace: String,
    all: Vec<Reference>,
}

impl Found {
    fn add(&mut self, field: String, kind: &'static str, name: &str, optional: Option<bool>) {
        let object = ObjectName { kind, namespace: self.namespace.clone(), name: name.to_owned() };
        self.all.push(Reference { field, object, optional: optional == Some(true) });
    }
}

fn volumes(spec: &PodSpec, found: &mut Found) {
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        if let Some(map) = &volume.config_map {
            found.add(format!("spec.volumes[{index}].configMap"), CONFIG_MAP, &map.name, map.optional);
        }
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            found.add(format!("spec.volumes[{index}].secret"), SECRET, name, secret.optional);
        }
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for (at, source) in sources.enumerate() {
            let field = |kind: &str| format!("spec.volumes[{index}].projected.sources[{at}].{kind}");
            if let Some(map) = &source.config_map {
                found.add(field("configMap"), CONFIG_MAP, &map.name, map.optional);
            }
            if let Some(secret) = &source.secret {
                found.add(field("secret"), SECRET, &secret.name, secret.optional);
            }
        }
    }
}

/// The Pod as the API takes it: what is of this node alone is left out, because the API server refuses a mirror
/// that names ConfigMaps or Secrets, and has none of that name.
pub fn without_local_objects(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    spec.image_pull_secrets = None;
    for volume in spec.volumes.iter_mut().flatten() {
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        let names_one = volume.config_map.is_some()
            || volume.secret.is_some()
            || projected.into_iter().any(|source| source.config_map.is_some() || source.secret.is_some());
        if names_one {
            (volume.config_map, volume.secret, volume.projected) = (None, None, None);
            volume.empty_dir = Some(Default::default());
        }
    }
    let inits = spec.init_containers.iter_mut().flatten();
    for container in inits.chain(&mut spec.containers) {
        container.env_from = None;
        for variable in container.env.iter_mut().flatten() {
            let local = variable
                .value_from
                .as_ref()
                .is_some_and(|from| from.config_map_key_ref.is_some() || from.secret_key_ref.is_some());
            if local {
                variable.value_from = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "d"}, "spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"name": "c",
                "envFrom": [{"configMapRef": {"name": "all", "optional": true}}],
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}},
                    {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}],
            "volumes": [{"name": "v", "configMap": {"name": "files"}},
                {"name": "w", "projected": {"sources": [{"secret": {"name": "part"}}]}},
                {"name": "x", "emptyDir": {}}]}}))
        .unwrap()
    }

    #[test]
    fn every_place_is_found_with_its_field() {
        let found = of(&pod());
        let shown: Vec<String> = found
            .iter()
            .map(|one| format!("{} {}{}", one.field, one.object, if one.optional { " optional" } else { "" }))
            .collect();
        assert_eq!(
            shown,
            [
                "spec.imagePullSecrets[0] Secret d/pull optional",
                "spec.volumes[0].configMap ConfigMap d/files",
                "spec.volumes[1].projected.sources[0].secret Secret d/part",
                "spec.containers[0].envFrom[0] ConfigMap d/all optional",
                "spec.containers[0].env[0].valueFrom Secret d/key",
            ]
        );
    }

    #[test]
    fn what_the_api_is_shown_names_none_and_keeps_the_rest() {
        let mut shown = pod();
        without_local_objects(&mut shown);
        assert_eq!(of(&shown), []);
        let spec = shown.spec.unwrap();
        assert!(spec.volumes.unwrap().iter().all(|volume| volume.empty_dir.is_some()));
        assert!(spec.containers[0].env.as_ref().unwrap()[1].value_from.is_some());
    }

    #[test]
    fn what_no_manifest_can_bring_is_refused_by_field() {
        let refused = |spec: serde_json::Value| {
            let pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
            refuse_api_objects(&pod).unwrap_err().to_string()
        };
        let cases = [
            (json!({"containers": [], "serviceAccountName": "a"}), "spec.serviceAccountName"),
            (
                json!({"containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}),
                "spec.volumes[0].persistentVolumeClaim",
            ),
            (
                json!({"containers": [], "volumes": [{"name": "v", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "t"}}]}}]}),
                "spec.volumes[0].projected.sources[0].serviceAccountToken",
            ),
            (
                json!({"containers": [], "volumes": [{"name": "v", "iscsi": {"targetPortal": "p", "iqn": "i",
                    "lun": 0, "secretRef": {"name": "s"}}}]}),
                "spec.volumes[0]",
            ),
        ];
        for (spec, field) in cases {
            let text = refused(spec);
            assert!(text.starts_with(&format!("{field}: a static Pod cannot refer")), "{text}");
        }
        assert_eq!(
            refuse_api_objects(&pod()),
            Ok(()),
            "what may lie among the manifests is not refused here"
        );
    }
}
