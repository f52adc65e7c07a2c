//! Security contexts of Pods and containers.

use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec, SeccompProfile, SecurityContext};

use super::Complaints;
use crate::field::{FieldError, FieldErrors, Path, shown_value};

const ID_MAX: i64 = i32::MAX as i64;
const PROFILE_TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

pub(super) fn container(context: &SecurityContext, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (field, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)] {
        if let Some(id) = id {
            errors.range(&path.child(field), id, 0, ID_MAX);
        }
    }
    if let Some(mount) = &context.proc_mount {
        errors.one_of(&path.child("procMount"), mount, &["Default", "Unmasked"]);
    }
    if let Some(profile) = &context.seccomp_profile {
        errors.extend(seccomp(profile, &path.child("seccompProfile")));
    }
    if let Some(profile) = &context.app_armor_profile {
        let localhost = profile.localhost_profile.as_deref();
        errors.extend(self::profile(&profile.type_, localhost, &path.child("appArmorProfile")));
    }
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(FieldError::invalid(path, shown_value(context), detail));
        }
        let added = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        if added.into_iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            let detail =
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(FieldError::invalid(path, shown_value(context), detail));
        }
    }
    errors
}

pub(super) fn pod(context: &PodSecurityContext, spec: &PodSpec, spec_path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let path = spec_path.child("securityContext");
    let ids = [
        ("fsGroup", context.fs_group),
        ("runAsUser", context.run_as_user),
        ("runAsGroup", context.run_as_group),
    ];
    for (field, id) in ids {
        if let Some(id) = id {
            errors.range(&path.child(field), id, 0, ID_MAX);
        }
    }
    for (i, id) in context.supplemental_groups.iter().flatten().enumerate() {
        errors.range(&path.child("supplementalGroups").index(i), *id, 0, ID_MAX);
    }
    if let Some(policy) = &context.fs_group_change_policy {
        errors.one_of(&path.child("fsGroupChangePolicy"), policy, &["OnRootMismatch", "Always"]);
    }
    if let Some(policy) = &context.supplemental_groups_policy {
        errors.one_of(&path.child("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    }
    if let Some(profile) = &context.seccomp_profile {
        errors.extend(seccomp(profile, &path.child("seccompProfile")));
    }
    if let Some(profile) = &context.app_armor_profile {
        let localhost = profile.localhost_profile.as_deref();
        errors.extend(self::profile(&profile.type_, localhost, &path.child("appArmorProfile")));
    }
    let sysctls = context.sysctls.as_deref().unwrap_or_default();
    for (i, sysctl) in sysctls.iter().enumerate() {
        let path = path.child("sysctls").index(i).child("name");
        if sysctl.name.is_empty() {
            errors.push(FieldError::required(&path, ""));
        } else if !is_sysctl(&sysctl.name) {
            let detail = "must have at most 253 characters and match regex \
                          ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(FieldError::invalid(&path, sysctl.name.as_str(), detail));
        } else if sysctls[..i].iter().any(|other| other.name == sysctl.name) {
            errors.push(FieldError::duplicate(&path, sysctl.name.as_str()));
        }
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(&path.child("shareProcessNamespace"), true, detail));
    }
    errors
}

fn seccomp(profile: &SeccompProfile, path: &Path) -> FieldErrors {
    self::profile(&profile.type_, profile.localhost_profile.as_deref(), path)
}

fn profile(type_: &str, localhost: Option<&str>, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let type_path = path.child("type");
    if !errors.required_text(&type_path, type_) {
        return errors;
    }
    errors.one_of(&type_path, type_, &PROFILE_TYPES);
    let profile_path = path.child("localhostProfile");
    match (type_, localhost) {
        ("Localhost", None | Some("")) => {
            errors.push(FieldError::required(&profile_path, "must be set when type is Localhost"));
        }
        ("Localhost", Some(file)) => {
            let complaints = super::volume::descending_path(file);
            errors.syntax(&profile_path, file, complaints);
        }
        (_, Some(file)) => {
            let detail = "can only be set when type is Localhost";
            errors.push(FieldError::invalid(&profile_path, file, detail));
        }
        (_, None) => {}
    }
    errors
}

fn is_sysctl(name: &str) -> bool {
    const NAME_BYTES_MAX: usize = 253;
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= NAME_BYTES_MAX
        && name.split(['.', '/']).all(|part| {
            let bytes = part.as_bytes();
            let ends = bytes.first().copied().is_some_and(alnum) && bytes.last().copied().is_some_and(alnum);
            ends && bytes.iter().all(|b| alnum(*b) || matches!(b, b'-' | b'_'))
        })
}
