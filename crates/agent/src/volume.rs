//! A Pod's volumes: made ready before its containers start, kept over restarts, removed after its end.
//!
//! Each Pod has one folder `<root>/pods/<uid>`; every volume has its place in it, found by name alone, so an agent
//! that knows nothing finds them again. A hostPath is used where it lies. What belongs to the API (ConfigMaps,
//! Secrets) is handed in.
//! Invariant: removing a Pod's folder never reaches through a mount.

pub mod atomic;
mod content;
mod host_path;
mod sub_path;

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod, Volume, VolumeMount};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::containerd::mount_table;
use crate::downward::Facts;
use crate::environment::expand;
use crate::objects::Referenced;

/// Why a volume is not ready: the text of FailedMount.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("MountVolume.SetUp failed for volume {volume:?}: {message}")]
    Refused { volume: String, message: String },
    #[error("MountVolume.SetUp failed for volume {volume:?}: {step}: {source}")]
    Io { volume: String, step: &'static str, source: io::Error },
    #[error("{folder} is still mounted: {source}")]
    StillMounted { folder: PathBuf, source: io::Error },
    #[error("remove {folder}: {source}")]
    Remove { folder: PathBuf, source: io::Error },
}

/// The folder of all Pods on this node.
#[derive(Debug, Clone)]
pub struct Volumes {
    pods: PathBuf,
}

/// A mount of a container, resolved to a path on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedMount {
    pub host_path: PathBuf,
    pub read_only: bool,
}

impl Volumes {
    pub fn new(root_dir: &Path) -> Volumes {
        Volumes { pods: root_dir.join("pods") }
    }

    /// A Pod's own folder.
    pub fn pod_folder(&self, uid: &str) -> PathBuf {
        self.pods.join(uid)
    }

    /// uids of all Pods that have a folder.
    pub fn pods_with_folders(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.pods).into_iter().flatten().flatten();
        let mut uids: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        uids.sort();
        uids
    }

    fn place(&self, uid: &str, volume: &Volume) -> PathBuf {
        if let Some(source) = &volume.host_path {
            return PathBuf::from(&source.path);
        }
        self.pod_folder(uid).join("volumes").join(kind(volume)).join(&volume.name)
    }

    /// Where an emptyDir lies.
    pub fn empty_dir(&self, uid: &str, name: &str) -> PathBuf {
        let volume =
            Volume { name: name.to_owned(), empty_dir: Some(Default::default()), ..Volume::default() };
        self.place(uid, &volume)
    }

    /// Makes every volume ready. Repeating it brings changed content up to date.
    pub fn prepare(&self, pod: &Pod, referenced: &Referenced, facts: &Facts<'_>) -> Result<(), VolumeError> {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let group = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.security_context.as_ref())
            .and_then(|context| context.fs_group);
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            self.prepare_one(uid, volume, group, referenced, facts)?;
        }
        Ok(())
    }

    fn prepare_one(
        &self,
        uid: &str,
        volume: &Volume,
        group: Option<i64>,
        referenced: &Referenced,
        facts: &Facts<'_>,
    ) -> Result<(), VolumeError> {
        let refused = |message: String| VolumeError::Refused { volume: volume.name.clone(), message };
        let failed = |step: &'static str| {
            let volume = volume.name.clone();
            move |source: io::Error| VolumeError::Io { volume, step, source }
        };
        if let Some(source) = &volume.host_path {
            return host_path::check(source).map_err(refused);
        }
        let place = self.place(uid, volume);
        if let Some(source) = &volume.empty_dir {
            let fresh = !place.exists();
            std::fs::create_dir_all(&place).map_err(failed("make the folder"))?;
            match source.medium.as_deref().unwrap_or_default() {
                "" => {}
                "Memory" => {
                    mount_tmpfs(&place, source.size_limit.as_ref().map(|limit| limit.0.as_str()), 0o777)
                        .map_err(failed("mount a tmpfs"))?
                }
                other => return Err(refused(format!("medium {other:?} is not supported"))),
            }
            // The umask has its say in mkdir, not here. Kept on later calls: the Pod may have changed it.
            if fresh {
                let mode = if group.is_some() { 0o2777 } else { 0o777 };
                std::fs::set_permissions(&place, std::fs::Permissions::from_mode(mode))
                    .and_then(|()| std::os::unix::fs::chown(&place, None, group.map(|id| id as u32)))
                    .map_err(failed("set the permissions"))?;
            }
            return Ok(());
        }
        let Some(files) = content::of(volume, referenced, facts).map_err(refused)? else {
            return Err(refused("this kind of volume is not supported".to_owned()));
        };
        std::fs::create_dir_all(&place).map_err(failed("make the folder"))?;
        if content::is_secret(volume) {
            mount_tmpfs(&place, None, 0o755).map_err(failed("mount a tmpfs"))?;
        }
        atomic::write(&place, &files, group.map(|id| id as u32)).map_err(failed("write the files"))
    }

    /// The path on the node for one mount of a container. `variables` are the container's own, for subPathExpr.
    pub fn resolve(
        &self,
        pod: &Pod,
        container: &Container,
        index: usize,
        wanted: &VolumeMount,
        variables: &indexmap::IndexMap<String, String>,
    ) -> Result<ResolvedMount, VolumeError> {
        let refused =
            |message: &str| VolumeError::Refused { volume: wanted.name.clone(), message: message.to_owned() };
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let volume = pod
            .spec
            .iter()
            .flat_map(|spec| spec.volumes.iter().flatten())
            .find(|volume| volume.name == wanted.name)
            .ok_or_else(|| refused("the Pod has no volume of this name"))?;
        let place = self.place(uid, volume);
        // What is written by the agent is not for the container to change.
        let read_only = wanted.read_only == Some(true) || content::is_written(volume);
        let sub_path = match (&wanted.sub_path, &wanted.sub_path_expr) {
            (Some(path), _) if !path.is_empty() => path.clone(),
            (_, Some(expression)) if !expression.is_empty() => {
                let path = expand(expression, variables);
                if path.contains("$(") {
                    return Err(refused("subPathExpr names a variable that is not set"));
                }
                path
            }
            _ => return Ok(ResolvedMount { host_path: place, read_only }),
        };
        let target = self
            .pod_folder(uid)
            .join("volume-subpaths")
            .join(&wanted.name)
            .join(&container.name)
            .join(index.to_string());
        sub_path::bind(&place, &sub_path, &target).map_err(|error| VolumeError::Refused {
            volume: wanted.name.clone(),
            message: format!("failed to prepare subPath {sub_path:?}: {error}"),
        })?;
        Ok(ResolvedMount { host_path: target, read_only })
    }

    /// Unmounts and removes everything of a Pod. What is not there is success.
    pub fn remove(&self, uid: &str) -> Result<(), VolumeError> {
        let folder = self.pod_folder(uid);
        if uid.is_empty() || !folder.exists() {
            return Ok(());
        }
        let still = |source: io::Error| VolumeError::StillMounted { folder: folder.clone(), source };
        let table = mount_table().map_err(still)?;
        for row in table.iter().rev().filter(|row| row.mount_point.starts_with(&folder)) {
            unmount(&row.mount_point, UnmountFlags::DETACH).map_err(|error| still(error.into()))?;
        }
        let table = mount_table().map_err(still)?;
        if table.iter().any(|row| row.mount_point.starts_with(&folder)) {
            return Err(still(io::ErrorKind::ResourceBusy.into()));
        }
        match std::fs::remove_dir_all(&folder) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(VolumeError::Remove { folder, source })
            }
            _ => Ok(()),
        }
    }
}

/// Upstream's folder names.
fn kind(volume: &Volume) -> &'static str {
    if volume.empty_dir.is_some() {
        "kubernetes.io~empty-dir"
    } else if volume.config_map.is_some() {
        "kubernetes.io~configmap"
    } else if volume.secret.is_some() {
        "kubernetes.io~secret"
    } else if volume.downward_api.is_some() {
        "kubernetes.io~downward-api"
    } else {
        "kubernetes.io~projected"
    }
}

fn mount_tmpfs(place: &Path, size_limit: Option<&str>, mode: u32) -> io::Result<()> {
    let device = |path: &Path| std::fs::metadata(path).map(|folder| folder.dev());
    if place.parent().is_some_and(|parent| device(parent).ok() != device(place).ok()) {
        return Ok(());
    }
    let size = size_limit.and_then(|text| Quantity::parse(text).ok()).filter(|size| !size.is_zero());
    let options = match size {
        Some(size) => format!("mode={mode:o},size={}", size.bytes()),
        None => format!("mode={mode:o}"),
    };
    let options = std::ffi::CString::new(options).map_err(io::Error::other)?;
    mount("tmpfs", place, "tmpfs", MountFlags::empty(), options.as_c_str()).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(volumes: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u1", "labels": {"a": "1"}},
            "spec": {"containers": [{"name": "c"}], "volumes": volumes},
        }))
        .unwrap()
    }

    fn mount_of(name: &str, sub_path: Option<&str>) -> VolumeMount {
        VolumeMount {
            name: name.to_owned(),
            mount_path: "/x".to_owned(),
            sub_path: sub_path.map(str::to_owned),
            ..Default::default()
        }
    }

    #[test]
    fn empty_dir_is_for_everyone_survives_and_goes_with_the_pod() {
        let root = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(root.path());
        let pod = pod(serde_json::json!([{"name": "e", "emptyDir": {}}]));
        let facts = Facts::new(&pod);
        volumes.prepare(&pod, &Referenced::default(), &facts).unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let place =
            volumes.resolve(&pod, container, 0, &mount_of("e", None), &Default::default()).unwrap().host_path;
        assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o7777, 0o777);
        std::fs::write(place.join("kept"), "x").unwrap();
        volumes.prepare(&pod, &Referenced::default(), &facts).unwrap();
        assert!(place.join("kept").exists());
        assert_eq!(volumes.pods_with_folders(), ["u1"]);
        volumes.remove("u1").unwrap();
        volumes.remove("u1").unwrap();
        assert!(volumes.pods_with_folders().is_empty());
    }

    #[test]
    fn downward_files_are_written_and_read_only() {
        let root = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(root.path());
        let pod = pod(serde_json::json!([{"name": "d", "downwardAPI": {"items": [
            {"path": "meta/labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]));
        volumes.prepare(&pod, &Referenced::default(), &Facts::new(&pod)).unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let resolved =
            volumes.resolve(&pod, container, 0, &mount_of("d", None), &Default::default()).unwrap();
        assert!(resolved.read_only);
        assert_eq!(std::fs::read_to_string(resolved.host_path.join("meta/labels")).unwrap(), "a=\"1\"");
    }

    #[test]
    fn missing_config_map_is_refused_unless_optional() {
        let root = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(root.path());
        let wanted = pod(serde_json::json!([{"name": "m", "configMap": {"name": "gone"}}]));
        let error = volumes.prepare(&wanted, &Referenced::default(), &Facts::new(&wanted)).unwrap_err();
        assert!(error.to_string().contains("configmap \"gone\" not found"), "{error}");
        let optional =
            pod(serde_json::json!([{"name": "m", "configMap": {"name": "gone", "optional": true}}]));
        volumes.prepare(&optional, &Referenced::default(), &Facts::new(&optional)).unwrap();
    }
}
