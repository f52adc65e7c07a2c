//! Defaults of a volume: no source means an empty directory; modes of projected files; host path without a check.

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, Volume};

use super::container::{field_ref, pull_policy, resource_ref};
use super::{canonical, or_text};

/// 0644: readable by all, writable by the owner.
const FILE_MODE: i32 = 0o644;
const TOKEN_SECONDS: i64 = 3600;

pub(super) fn volume(volume: &mut Volume) {
    let nameless = Volume { name: volume.name.clone(), ..Volume::default() };
    if *volume == nameless {
        volume.empty_dir = Some(Default::default());
    }
    if let Some(source) = &mut volume.empty_dir
        && let Some(limit) = &mut source.size_limit
    {
        canonical(limit);
    }
    if let Some(source) = &mut volume.host_path {
        source.type_.get_or_insert_default();
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(FILE_MODE);
        files(source.items.as_mut());
    }
    if let Some(source) = &mut volume.projected {
        source.default_mode.get_or_insert(FILE_MODE);
        for part in source.sources.iter_mut().flatten() {
            if let Some(token) = &mut part.service_account_token {
                token.expiration_seconds.get_or_insert(TOKEN_SECONDS);
            }
            if let Some(downward) = &mut part.downward_api {
                files(downward.items.as_mut());
            }
        }
    }
    if let Some(source) = &mut volume.image {
        let policy = pull_policy(source.reference.as_deref().unwrap_or_default());
        or_text(&mut source.pull_policy, policy);
    }
    if let Some(source) = &mut volume.iscsi {
        or_text(&mut source.iscsi_interface, "default");
    }
    if let Some(template) = volume.ephemeral.as_mut().and_then(|source| source.volume_claim_template.as_mut())
    {
        or_text(&mut template.spec.volume_mode, "Filesystem");
    }
}

fn files(items: Option<&mut Vec<DownwardAPIVolumeFile>>) {
    for file in items.into_iter().flatten() {
        if let Some(field) = &mut file.field_ref {
            field_ref(field);
        }
        if let Some(resource) = &mut file.resource_field_ref {
            resource_ref(resource);
        }
    }
}
