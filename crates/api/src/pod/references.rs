//! The Secrets that a Pod names, wherever it can.
//!
//! What the node authorizer lets a node read and NodeRestriction forbids a mirror Pod to name. Upstream:
//! pkg/api/v1/pod `VisitPodSecretNames`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, LocalObjectReference, PodSpec, Volume};

use super::all_containers;

/// Of one volume, in no order that means anything; a name that is empty names none.
pub fn volume_secrets(volume: &Volume) -> Vec<&str> {
    let named = [
        volume.azure_file.as_ref().map(|source| &source.secret_name),
        reference(volume.cephfs.as_ref().and_then(|source| source.secret_ref.as_ref())),
        reference(volume.cinder.as_ref().and_then(|source| source.secret_ref.as_ref())),
        reference(volume.flex_volume.as_ref().and_then(|source| source.secret_ref.as_ref())),
        reference(volume.rbd.as_ref().and_then(|source| source.secret_ref.as_ref())),
        volume.secret.as_ref().and_then(|source| source.secret_name.as_ref()),
        reference(volume.scale_io.as_ref().map(|source| &source.secret_ref)),
        reference(volume.iscsi.as_ref().and_then(|source| source.secret_ref.as_ref())),
        reference(volume.storageos.as_ref().and_then(|source| source.secret_ref.as_ref())),
        reference(volume.csi.as_ref().and_then(|source| source.node_publish_secret_ref.as_ref())),
    ];
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let projected = projected.filter_map(|source| source.secret.as_ref()).map(|secret| &secret.name);
    let names = named.into_iter().flatten().chain(projected).map(String::as_str);
    names.filter(|name| !name.is_empty()).collect()
}

fn reference(secret: Option<&LocalObjectReference>) -> Option<&String> {
    secret.map(|secret| &secret.name)
}

/// Of the whole Pod: to pull images, in variables, in volumes.
pub fn secret_names(spec: &PodSpec) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    names.extend(spec.image_pull_secrets.iter().flatten().map(|secret| secret.name.as_str()));
    for (sources, variables) in environments(spec) {
        names.extend(sources.iter().filter_map(|source| source.secret_ref.as_ref()).map(|s| s.name.as_str()));
        let values = variables.iter().filter_map(|variable| variable.value_from.as_ref());
        names.extend(values.filter_map(|source| source.secret_key_ref.as_ref()).map(|s| s.name.as_str()));
    }
    names.extend(spec.volumes.iter().flatten().flat_map(volume_secrets));
    names.remove("");
    names
}

/// What each container has its environment from, ephemeral ones included.
pub fn environments(spec: &PodSpec) -> impl Iterator<Item = (&[EnvFromSource], &[EnvVar])> {
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral = ephemeral.map(|container| (container.env_from.as_deref(), container.env.as_deref()));
    let others =
        all_containers(spec).map(|container| (container.env_from.as_deref(), container.env.as_deref()));
    others.chain(ephemeral).map(|(from, variables)| (from.unwrap_or_default(), variables.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_place_that_can_name_a_secret_is_looked_at() {
        let spec: PodSpec = serde_json::from_value(json!({
            "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "init"}}]}],
            "containers": [{"name": "c", "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "variable", "key": "k"}}},
                {"name": "B", "value": "plain"}]}],
            "ephemeralContainers": [{"name": "e", "envFrom": [{"secretRef": {"name": "ephemeral"}}]}],
            "volumes": [
                {"name": "a", "azureFile": {"secretName": "azure", "shareName": "s"}},
                {"name": "b", "cephfs": {"monitors": [], "secretRef": {"name": "ceph"}}},
                {"name": "c", "cinder": {"volumeID": "v", "secretRef": {"name": "cinder"}}},
                {"name": "d", "flexVolume": {"driver": "d", "secretRef": {"name": "flex"}}},
                {"name": "e", "projected": {"sources": [{"secret": {"name": "projected"}}]}},
                {"name": "f", "rbd": {"monitors": [], "image": "i", "secretRef": {"name": "rbd"}}},
                {"name": "g", "secret": {"secretName": "volume"}},
                {"name": "h", "scaleIO": {"gateway": "g", "system": "s", "secretRef": {"name": "scale"}}},
                {"name": "i", "iscsi": {"targetPortal": "t", "iqn": "i", "lun": 0, "secretRef": {"name": "iscsi"}}},
                {"name": "j", "storageos": {"secretRef": {"name": "storageos"}}},
                {"name": "k", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "csi"}}},
                {"name": "l", "configMap": {"name": "not-a-secret"}}]
        }))
        .unwrap();
        let names: Vec<&str> = secret_names(&spec).into_iter().collect();
        assert_eq!(
            names,
            [
                "azure",
                "ceph",
                "cinder",
                "csi",
                "ephemeral",
                "flex",
                "init",
                "iscsi",
                "projected",
                "pull",
                "rbd",
                "scale",
                "storageos",
                "variable",
                "volume"
            ]
        );
    }
}
