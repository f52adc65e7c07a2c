//! The sources of volumes: exactly one each, and the fields that daemons use checked closely.
//!
//! Sources that need a storage provider are checked for the one field without which they mean nothing.

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, ProjectedVolumeSource, Volume,
};

use super::{Complaints, container_source, text, volume};
use crate::field::{FieldError, FieldErrors, Path};
use crate::quantity::Quantity;

const MODE_MAX: i32 = 0o777;
const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

pub(super) fn source(volume: &Volume, path: &Path) -> FieldErrors {
    let mut one = OneOf { found: 0, errors: FieldErrors::new(), path };
    if let Some(source) = &volume.empty_dir {
        one.of("emptyDir", |errors, path| {
            let limit = source.size_limit.as_ref().and_then(|limit| Quantity::try_from(limit).ok());
            if limit.is_some_and(Quantity::is_negative) {
                let detail = "SizeLimit field must be a valid resource quantity";
                errors.push(FieldError::forbidden(&path.child("sizeLimit"), detail));
            }
        });
    }
    if let Some(source) = &volume.host_path {
        one.of("hostPath", |errors, path| host_path(errors, source, path));
    }
    if let Some(source) = &volume.secret {
        one.of("secret", |errors, path| {
            errors.required_text(&path.child("secretName"), text(&source.secret_name));
            mode(errors, source.default_mode, &path.child("defaultMode"));
            items(errors, source.items.as_deref(), path);
        });
    }
    if let Some(source) = &volume.nfs {
        one.of("nfs", |errors, path| {
            errors.required_text(&path.child("server"), &source.server);
            if errors.required_text(&path.child("path"), &source.path) && !source.path.starts_with('/') {
                let detail = "must be an absolute path";
                errors.push(FieldError::invalid(&path.child("path"), source.path.as_str(), detail));
            }
        });
    }
    if let Some(source) = &volume.persistent_volume_claim {
        one.of("persistentVolumeClaim", |errors, path| {
            errors.required_text(&path.child("claimName"), &source.claim_name);
        });
    }
    if let Some(source) = &volume.downward_api {
        one.of("downwardAPI", |errors, path| {
            mode(errors, source.default_mode, &path.child("defaultMode"));
            files(errors, source.items.as_deref(), path);
        });
    }
    if let Some(source) = &volume.config_map {
        one.of("configMap", |errors, path| {
            errors.required_text(&path.child("name"), &source.name);
            mode(errors, source.default_mode, &path.child("defaultMode"));
            items(errors, source.items.as_deref(), path);
        });
    }
    if let Some(source) = &volume.projected {
        one.of("projected", |errors, path| projected(errors, source, path));
    }
    if let Some(source) = &volume.image {
        one.of("image", |errors, path| {
            errors.required_text(&path.child("reference"), text(&source.reference));
            let policies = ["Always", "IfNotPresent", "Never"];
            errors.one_of(&path.child("pullPolicy"), text(&source.pull_policy), &policies);
        });
    }
    provided(volume, &mut one);
    if one.found == 0 {
        one.errors.push(FieldError::required(path, "must specify a volume type"));
    }
    one.errors
}

/// Sources that a storage provider serves.
fn provided(volume: &Volume, one: &mut OneOf<'_>) {
    let named = [
        ("gcePersistentDisk", "pdName", volume.gce_persistent_disk.as_ref().map(|s| s.pd_name.as_str())),
        (
            "awsElasticBlockStore",
            "volumeID",
            volume.aws_elastic_block_store.as_ref().map(|s| s.volume_id.as_str()),
        ),
        ("gitRepo", "repository", volume.git_repo.as_ref().map(|s| s.repository.as_str())),
        ("iscsi", "targetPortal", volume.iscsi.as_ref().map(|s| s.target_portal.as_str())),
        ("glusterfs", "path", volume.glusterfs.as_ref().map(|s| s.path.as_str())),
        ("rbd", "image", volume.rbd.as_ref().map(|s| s.image.as_str())),
        ("cinder", "volumeID", volume.cinder.as_ref().map(|s| s.volume_id.as_str())),
        ("quobyte", "registry", volume.quobyte.as_ref().map(|s| s.registry.as_str())),
        ("flexVolume", "driver", volume.flex_volume.as_ref().map(|s| s.driver.as_str())),
        ("azureFile", "shareName", volume.azure_file.as_ref().map(|s| s.share_name.as_str())),
        ("vsphereVolume", "volumePath", volume.vsphere_volume.as_ref().map(|s| s.volume_path.as_str())),
        ("photonPersistentDisk", "pdID", volume.photon_persistent_disk.as_ref().map(|s| s.pd_id.as_str())),
        ("portworxVolume", "volumeID", volume.portworx_volume.as_ref().map(|s| s.volume_id.as_str())),
        ("azureDisk", "diskName", volume.azure_disk.as_ref().map(|s| s.disk_name.as_str())),
        ("scaleIO", "gateway", volume.scale_io.as_ref().map(|s| s.gateway.as_str())),
        ("csi", "driver", volume.csi.as_ref().map(|s| s.driver.as_str())),
        ("storageos", "volumeName", volume.storageos.as_ref().map(|s| text(&s.volume_name))),
    ];
    for (source, field, value) in named {
        if let Some(value) = value {
            one.of(source, |errors, path| {
                errors.required_text(&path.child(field), value);
            });
        }
    }
    if let Some(source) = &volume.cephfs {
        one.of("cephfs", |errors, path| {
            if source.monitors.is_empty() {
                errors.push(FieldError::required(&path.child("monitors"), ""));
            }
        });
    }
    if volume.fc.is_some() {
        one.of("fc", |_, _| {});
    }
    if volume.flocker.is_some() {
        one.of("flocker", |_, _| {});
    }
    if let Some(source) = &volume.ephemeral {
        one.of("ephemeral", |errors, path| {
            if source.volume_claim_template.is_none() {
                errors.push(FieldError::required(&path.child("volumeClaimTemplate"), ""));
            }
        });
    }
}

struct OneOf<'a> {
    found: usize,
    errors: FieldErrors,
    path: &'a Path,
}

impl OneOf<'_> {
    /// The first source is checked, every further one is refused.
    fn of(&mut self, name: &str, check: impl FnOnce(&mut FieldErrors, &Path)) {
        self.found += 1;
        let path = self.path.child(name);
        if self.found > 1 {
            self.errors.push(FieldError::forbidden(&path, "may not specify more than 1 volume type"));
        } else {
            check(&mut self.errors, &path);
        }
    }
}

fn host_path(errors: &mut FieldErrors, source: &HostPathVolumeSource, path: &Path) {
    let host_path = path.child("path");
    if !errors.required_text(&host_path, &source.path) {
        return;
    }
    if let Some(detail) = volume::no_back_steps(&source.path) {
        errors.push(FieldError::invalid(&host_path, source.path.as_str(), detail));
    }
    if let Some(type_) = &source.type_ {
        errors.one_of(&path.child("type"), type_, &HOST_PATH_TYPES);
    }
}

fn mode(errors: &mut FieldErrors, mode: Option<i32>, path: &Path) {
    if let Some(mode) = mode
        && !(0..=MODE_MAX).contains(&mode)
    {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(path, mode, detail));
    }
}

fn items(errors: &mut FieldErrors, items: Option<&[KeyToPath]>, path: &Path) {
    for (i, item) in items.into_iter().flatten().enumerate() {
        let path = path.child("items").index(i);
        errors.required_text(&path.child("key"), &item.key);
        let file = path.child("path");
        errors.required_text(&file, &item.path);
        errors.syntax(&file, &item.path, volume::file_path(&item.path));
        mode(errors, item.mode, &path.child("mode"));
    }
}

fn files(errors: &mut FieldErrors, files: Option<&[DownwardAPIVolumeFile]>, path: &Path) {
    for file in files.into_iter().flatten() {
        // COMPAT: upstream gives no index here.
        errors.required_text(&path.child("path"), &file.path);
        errors.syntax(&path.child("path"), &file.path, volume::file_path(&file.path));
        match (&file.field_ref, &file.resource_field_ref) {
            (Some(field), resource) => {
                let supported = container_source::VOLUME_FIELDS;
                errors.extend(container_source::field_ref(field, &supported, &path.child("fieldRef")));
                if resource.is_some() {
                    let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                    errors.push(FieldError::invalid(path, "resource", detail));
                }
            }
            (None, Some(resource)) => {
                let path = path.child("resourceFieldRef");
                errors.extend(container_source::volume_resource_ref(resource, &path));
            }
            (None, None) => {
                let detail = "one of fieldRef and resourceFieldRef is required";
                errors.push(FieldError::required(path, detail));
            }
        }
        mode(errors, file.mode, &path.child("mode"));
    }
}

fn projected(errors: &mut FieldErrors, projected: &ProjectedVolumeSource, path: &Path) {
    mode(errors, projected.default_mode, &path.child("defaultMode"));
    for (i, part) in projected.sources.iter().flatten().enumerate() {
        let path = path.child("sources").index(i);
        let mut one = OneOf { found: 0, errors: FieldErrors::new(), path: &path };
        if let Some(source) = &part.secret {
            one.of("secret", |errors, path| {
                errors.required_text(&path.child("name"), &source.name);
                items(errors, source.items.as_deref(), path);
            });
        }
        if let Some(source) = &part.config_map {
            one.of("configMap", |errors, path| {
                errors.required_text(&path.child("name"), &source.name);
                items(errors, source.items.as_deref(), path);
            });
        }
        if let Some(source) = &part.downward_api {
            one.of("downwardAPI", |errors, path| files(errors, source.items.as_deref(), path));
        }
        if let Some(source) = &part.service_account_token {
            one.of("serviceAccountToken", |errors, path| {
                let seconds = source.expiration_seconds.unwrap_or(TOKEN_SECONDS_MIN);
                let seconds_path = path.child("expirationSeconds");
                if seconds < TOKEN_SECONDS_MIN {
                    let detail = "may not specify a duration less than 10 minutes";
                    errors.push(FieldError::invalid(&seconds_path, seconds, detail));
                } else if seconds > TOKEN_SECONDS_MAX {
                    let detail = "may not specify a duration larger than 2^32 seconds";
                    errors.push(FieldError::invalid(&seconds_path, seconds, detail));
                }
                errors.required_text(&path.child("path"), &source.path);
            });
        }
        if part.cluster_trust_bundle.is_some() {
            one.of("clusterTrustBundle", |_, _| {});
        }
        if part.pod_certificate.is_some() {
            one.of("podCertificate", |_, _| {});
        }
        if one.found == 0 {
            one.errors.push(FieldError::required(&path, "must specify a volume type"));
        }
        errors.append(&mut one.errors);
    }
}
