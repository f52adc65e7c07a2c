//! ServiceAccount: every pod runs as one, with a token of it mounted unless account or pod say no.
//!
//! Upstream: plugin/pkg/admission/serviceaccount. The token, the cluster's CA and the namespace come in one projected
//! volume at the well-known place; a container that mounts something of its own there is left alone. Mirror pods run
//! without an account, and may not name what belongs to one.

use api::pod::volume_secrets;
use api::well_known::pod_annotation::CONFIG_MIRROR;
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath,
    LocalObjectReference, ObjectFieldSelector, Pod, PodSpec, ProjectedVolumeSource, ServiceAccount,
    ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};

use super::{Admission, pods};
use crate::access::token::WARN_ONLY_SECONDS;
use crate::error::ApiError;
use crate::pipeline::{generate_name, typed};

/// The account of a pod that names none.
pub const DEFAULT: &str = "default";
const VOLUME_PREFIX: &str = "kube-api-access-";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const ROOT_CA: &str = "kube-root-ca.crt";
const FILE_MODE: i32 = 0o644;
/// Deprecated upstream, and still kept: the account's pods may name its own secrets only.
pub const ENFORCE_MOUNTABLE_SECRETS: &str = "kubernetes.io/enforce-mountable-secrets";

pub fn admit(pod: &mut Pod, admission: &Admission<'_>) -> Result<(), ApiError> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let mirror = pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(CONFIG_MIRROR));
    let Some(spec) = &mut pod.spec else { return Ok(()) };
    let account = spec.service_account_name.clone().or_else(|| spec.service_account.clone());
    let account = account.filter(|account| !account.is_empty());
    if mirror {
        return admit_mirror(spec, account.is_some()).map_err(|why| ApiError::forbidden(pods(), &name, why));
    }
    let account = account.unwrap_or_else(|| DEFAULT.to_owned());
    let known = admission.windows.window("serviceaccounts");
    let known = known.and_then(|window| window.get(&format!("{namespace}/{account}")));
    let known: Option<ServiceAccount> = known.map(|object| typed(&object)).transpose()?;
    // The default account of a new namespace is made by a controller: who creates waits for it, see `call::write`.
    let Some(known) = known else {
        let why = format!(
            "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
        );
        return Err(ApiError::forbidden(pods(), &name, why));
    };
    spec.service_account = Some(account.clone());
    spec.service_account_name = Some(account.clone());
    let automount = spec.automount_service_account_token.or(known.automount_service_account_token);
    if automount.unwrap_or(true) {
        mount_token(spec)?;
    }
    if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
        spec.image_pull_secrets = known.image_pull_secrets.clone().filter(|secrets| !secrets.is_empty());
    }
    check_secrets(spec, &account, &known).map_err(|why| ApiError::forbidden(pods(), &name, why))
}

fn admit_mirror(spec: &PodSpec, has_account: bool) -> Result<(), &'static str> {
    if has_account {
        return Err("a mirror pod may not reference service accounts");
    }
    if !api::pod::secret_names(spec).is_empty() {
        return Err("a mirror pod may not reference secrets");
    }
    let volumes = spec.volumes.iter().flatten().flat_map(|volume| &volume.projected);
    let mut sources = volumes.flat_map(|projected| projected.sources.iter().flatten());
    if sources.any(|source| source.service_account_token.is_some()) {
        return Err("a mirror pod may not use ServiceAccountToken volume projections");
    }
    Ok(())
}

/// Mounts the token into every container that has nothing at its place.
fn mount_token(spec: &mut PodSpec) -> Result<(), ApiError> {
    let there = spec.volumes.iter().flatten().find(|volume| volume.name.starts_with(VOLUME_PREFIX));
    let there = there.map(|volume| volume.name.clone());
    let volume = match &there {
        Some(name) => name.clone(),
        None => generate_name(VOLUME_PREFIX)?,
    };
    let mut mounted = false;
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        mounted |= mount_into(container, &volume);
    }
    if mounted && there.is_none() {
        spec.volumes.get_or_insert_default().push(token_volume(volume));
    }
    Ok(())
}

fn mount_into(container: &mut Container, volume: &str) -> bool {
    let mounts = container.volume_mounts.get_or_insert_default();
    if mounts.iter().any(|mount| mount.mount_path == MOUNT_PATH) {
        return false;
    }
    mounts.push(VolumeMount {
        name: volume.to_owned(),
        mount_path: MOUNT_PATH.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    });
    true
}

fn token_volume(name: String) -> Volume {
    let token = ServiceAccountTokenProjection {
        path: "token".to_owned(),
        expiration_seconds: Some(WARN_ONLY_SECONDS),
        audience: None,
    };
    let ca = ConfigMapProjection {
        name: ROOT_CA.to_owned(),
        items: Some(vec![KeyToPath { key: "ca.crt".to_owned(), path: "ca.crt".to_owned(), mode: None }]),
        optional: None,
    };
    let namespace = DownwardAPIVolumeFile {
        path: "namespace".to_owned(),
        field_ref: Some(ObjectFieldSelector {
            api_version: Some("v1".to_owned()),
            field_path: "metadata.namespace".to_owned(),
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let sources = vec![
        VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() },
        VolumeProjection { config_map: Some(ca), ..VolumeProjection::default() },
        VolumeProjection {
            downward_api: Some(DownwardAPIProjection { items: Some(vec![namespace]) }),
            ..VolumeProjection::default()
        },
    ];
    let projected = ProjectedVolumeSource { default_mode: Some(FILE_MODE), sources: Some(sources) };
    Volume { name, projected: Some(projected), ..Volume::default() }
}

/// An account that says so lets its pods name no secrets but its own.
fn check_secrets(spec: &PodSpec, account: &str, known: &ServiceAccount) -> Result<(), String> {
    let annotations = known.metadata.annotations.as_ref();
    if annotations.and_then(|all| all.get(ENFORCE_MOUNTABLE_SECRETS)).is_none_or(|value| value != "true") {
        return Ok(());
    }
    let own = |name: &str| known.secrets.iter().flatten().any(|secret| secret.name.as_deref() == Some(name));
    for volume in spec.volumes.iter().flatten() {
        if let Some(name) = volume_secrets(volume).into_iter().find(|name| !own(name)) {
            return Err(format!(
                "volume with secret.secretName=\"{name}\" is not allowed because service account {account} does not reference that secret"
            ));
        }
    }
    for (kind, containers) in [
        ("init container", spec.init_containers.as_deref().unwrap_or_default()),
        ("container", spec.containers.as_slice()),
    ] {
        for container in containers {
            for source in container.env_from.iter().flatten().filter_map(|from| from.secret_ref.as_ref()) {
                if !own(&source.name) {
                    return Err(format!(
                        "{kind} {} with envFrom referencing secret.secretName=\"{}\" is not allowed because service account {account} does not reference that secret",
                        container.name, source.name
                    ));
                }
            }
            for variable in container.env.iter().flatten() {
                let secret = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
                if let Some(secret) = secret.filter(|secret| !own(&secret.name)) {
                    return Err(format!(
                        "{kind} {} with envVar {} referencing secret.secretName=\"{}\" is not allowed because service account {account} does not reference that secret",
                        container.name, variable.name, secret.name
                    ));
                }
            }
        }
    }
    let pulls = |secret: &LocalObjectReference| {
        known.image_pull_secrets.iter().flatten().any(|own| own.name == secret.name)
    };
    for (i, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        if !pulls(secret) {
            return Err(format!(
                "imagePullSecrets[{i}].name=\"{}\" is not allowed because service account {account} does not reference that imagePullSecret",
                secret.name
            ));
        }
    }
    Ok(())
}
