//! The files of a volume that the agent writes: configMap, secret, downwardAPI, projected.
//!
//! A token is for the Pod's processes alone where the Pod says who they are: upstream's rules by `runAsUser` and `fsGroup`
//! (pkg/volume/projected, util.FsUserFrom).

use std::collections::BTreeMap;
use std::path::{Component, Path};

use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};

use super::atomic::{File, Files};
use crate::downward::{self, Facts};
use crate::objects::Referenced;
use crate::token::Wanted;

/// Mode of a file unless the Pod says otherwise.
const DEFAULT_MODE: u32 = 0o644;
/// Mode of a token whose readers are known; the volume's group is given its share when the file is written.
const PRIVATE_MODE: u32 = 0o600;

/// Secrets do not touch the disk.
pub fn is_secret(volume: &Volume) -> bool {
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let secret =
        |source: &VolumeProjection| source.secret.is_some() || source.service_account_token.is_some();
    volume.secret.is_some() || projected.into_iter().any(secret)
}

/// The one user that all containers run as, if the Pod says so.
fn only_user(pod: &Pod) -> Option<i64> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut users = containers.map(|container| {
        container.security_context.as_ref().and_then(|context| context.run_as_user).or(of_pod)
    });
    let first = users.next()??;
    users.all(|user| user == Some(first)).then_some(first)
}

fn service_account_token(
    files: &mut Files,
    source: &ServiceAccountTokenProjection,
    mode: u32,
    referenced: &Referenced,
    pod: &Pod,
) -> Result<(), String> {
    let Some(token) = referenced.tokens.get(&Wanted::of(source)) else {
        return Err("the service account's token was not fetched".to_owned());
    };
    let user = only_user(pod);
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let group = context.and_then(|context| context.fs_group);
    let mode = if user.is_some() || group.is_some() { PRIVATE_MODE } else { mode };
    put(files, &source.path, token.as_bytes().to_vec(), mode)?;
    if let Some(file) = files.get_mut(&source.path) {
        file.owner = user.and_then(|user| u32::try_from(user).ok());
    }
    Ok(())
}

/// The agent writes it, containers only read it.
pub fn is_written(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// The files, or `None` when the volume is of another kind.
pub fn of(volume: &Volume, referenced: &Referenced, facts: &Facts<'_>) -> Result<Option<Files>, String> {
    let mut files = Files::new();
    if let Some(source) = &volume.config_map {
        let mode = mode(source.default_mode);
        let optional = source.optional == Some(true);
        config_map(&mut files, &source.name, source.items.as_deref(), optional, mode, referenced)?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let (mode, optional) = (mode(source.default_mode), source.optional == Some(true));
        secret(&mut files, name, source.items.as_deref(), optional, mode, referenced)?;
    } else if let Some(source) = &volume.downward_api {
        downward(&mut files, source.items.iter().flatten(), mode(source.default_mode), facts)?;
    } else if let Some(projected) = &volume.projected {
        let mode = mode(projected.default_mode);
        for source in projected.sources.iter().flatten() {
            if let Some(source) = &source.config_map {
                let optional = source.optional == Some(true);
                config_map(&mut files, &source.name, source.items.as_deref(), optional, mode, referenced)?;
            }
            if let Some(source) = &source.secret {
                let optional = source.optional == Some(true);
                secret(&mut files, &source.name, source.items.as_deref(), optional, mode, referenced)?;
            }
            if let Some(source) = &source.downward_api {
                downward(&mut files, source.items.iter().flatten(), mode, facts)?;
            }
            if let Some(source) = &source.service_account_token {
                service_account_token(&mut files, source, mode, referenced, facts.pod)?;
            }
            if source.cluster_trust_bundle.is_some() {
                return Err("projected trust bundles are not supported".to_owned());
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(files))
}

fn mode(wanted: Option<i32>) -> u32 {
    wanted.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(DEFAULT_MODE) & 0o777
}

fn config_map(
    files: &mut Files,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: u32,
    referenced: &Referenced,
) -> Result<(), String> {
    match referenced.config_maps.get(name).and_then(Option::as_ref) {
        Some(map) => keys(files, &config_map_data(map), items, optional, mode),
        None if optional => Ok(()),
        None => Err(format!("configmap {name:?} not found")),
    }
}

fn config_map_data(map: &ConfigMap) -> BTreeMap<&str, Vec<u8>> {
    let text = map.data.iter().flatten().map(|(key, value)| (key.as_str(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.clone()));
    text.chain(binary).collect()
}

fn secret(
    files: &mut Files,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: u32,
    referenced: &Referenced,
) -> Result<(), String> {
    match referenced.secrets.get(name).and_then(Option::as_ref) {
        Some(secret) => keys(files, &secret_data(secret), items, optional, mode),
        None if optional => Ok(()),
        None => Err(format!("secret {name:?} not found")),
    }
}

fn secret_data(secret: &Secret) -> BTreeMap<&str, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.clone())).collect()
}

fn keys(
    files: &mut Files,
    data: &BTreeMap<&str, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    default_mode: u32,
) -> Result<(), String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for (key, content) in data {
            put(files, key, content.clone(), default_mode)?;
        }
        return Ok(());
    };
    for item in items {
        match data.get(item.key.as_str()) {
            Some(content) => {
                put(
                    files,
                    &item.path,
                    content.clone(),
                    item.mode.map_or(default_mode, |own| mode(Some(own))),
                )?;
            }
            None if optional => {}
            None => return Err(format!("references non-existent key: {}", item.key)),
        }
    }
    Ok(())
}

fn downward<'a>(
    files: &mut Files,
    items: impl Iterator<Item = &'a DownwardAPIVolumeFile>,
    default_mode: u32,
    facts: &Facts<'_>,
) -> Result<(), String> {
    for item in items {
        let content = if let Some(field) = &item.field_ref {
            downward::field(&field.field_path, facts)
        } else if let Some(resource) = &item.resource_field_ref {
            downward::resource(resource, None, facts)
        } else {
            continue;
        };
        let content = content.map_err(|error| error.to_string())?;
        put(files, &item.path, content.into_bytes(), item.mode.map_or(default_mode, |own| mode(Some(own))))?;
    }
    Ok(())
}

/// Relative, and it stays inside.
fn put(files: &mut Files, path: &str, content: Vec<u8>, mode: u32) -> Result<(), String> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    // `..data` and its like are the writer's own.
    if path.is_empty() || !plain || path.starts_with("..") {
        return Err(format!(
            "invalid path {path:?}: must be relative, inside the volume, and not start with '..'"
        ));
    }
    files.insert(path.to_owned(), File { content, mode, owner: None });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_for_its_readers_alone_where_the_pod_says_who_they_are() {
        let pod = |spec: serde_json::Value| -> Pod {
            serde_json::from_value(serde_json::json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
        };
        let volume: Volume =
            serde_json::from_value(serde_json::json!({"name": "t", "projected": {"defaultMode": 420,
            "sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}]}}))
            .unwrap();
        let mut referenced = Referenced::default();
        referenced.tokens.insert(Wanted { audience: String::new(), seconds: 3607 }, "abc".into());
        let user = |user: i64| serde_json::json!({"name": "c", "securityContext": {"runAsUser": user}});
        let anybody = serde_json::json!({"name": "c"});
        for (spec, mode, owner) in [
            (serde_json::json!({"containers": [anybody]}), 0o644, None),
            (serde_json::json!({"containers": [user(7)]}), 0o600, Some(7)),
            (serde_json::json!({"containers": [user(7), user(8)]}), 0o644, None),
            (serde_json::json!({"containers": [user(7), anybody]}), 0o644, None),
            (serde_json::json!({"initContainers": [user(9)], "containers": [user(7)]}), 0o644, None),
            (
                serde_json::json!({"containers": [anybody, user(7)], "securityContext": {"runAsUser": 7}}),
                0o600,
                Some(7),
            ),
            (serde_json::json!({"containers": [anybody], "securityContext": {"fsGroup": 5}}), 0o600, None),
        ] {
            let pod = pod(spec.clone());
            let files = of(&volume, &referenced, &Facts::new(&pod)).unwrap().unwrap();
            let file = &files["token"];
            assert_eq!(
                (file.content.as_slice(), file.mode, file.owner),
                (&b"abc"[..], mode, owner),
                "{spec}"
            );
        }
        assert!(is_secret(&volume), "it does not touch the disk");
        assert!(
            of(&volume, &Referenced::default(), &Facts::new(&pod(serde_json::json!({"containers": []}))))
                .is_err()
        );
    }

    #[test]
    fn paths_that_leave_the_volume_are_refused() {
        let mut files = Files::new();
        for path in ["", "/etc/passwd", "../x", "a/../../x", "..data", "a/.."] {
            assert!(put(&mut files, path, Vec::new(), 0o644).is_err(), "{path}");
        }
        put(&mut files, "a/b", Vec::new(), 0o644).unwrap();
    }
}
