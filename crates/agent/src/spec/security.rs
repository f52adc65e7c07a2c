//! Security contexts: the container's own word over the Pod's.

use cri::{ContainerSecurity, Namespaces, Profile, SeLinux};
use k8s_openapi::api::core::v1::{
    Container, Pod, PodSecurityContext, PodSpec, SELinuxOptions, SeccompProfile, SecurityContext,
};

/// Upstream's defaults for `procMount: Default`.
const MASKED_PATHS: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READONLY_PATHS: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The user that an image says it runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageUser {
    pub uid: Option<i64>,
    pub name: String,
}

pub fn is_privileged(container: &Container) -> bool {
    container.security_context.as_ref().and_then(|context| context.privileged) == Some(true)
}

/// The Pod's groups, and the volumes' group, which every process belongs to.
pub fn supplemental_groups(spec: &PodSpec) -> Vec<i64> {
    let Some(context) = &spec.security_context else { return Vec::new() };
    let mut groups = context.supplemental_groups.clone().unwrap_or_default();
    groups.extend(context.fs_group);
    groups
}

/// Text of a refusal when the Pod asks for a user that is not root, and would get root.
pub fn container_security(
    pod: &Pod,
    container: &Container,
    namespaces: Namespaces,
    image: &ImageUser,
) -> Result<ContainerSecurity, String> {
    let (no_pod, no_own) = (PodSecurityContext::default(), SecurityContext::default());
    let spec = pod.spec.as_ref();
    let of_pod = spec.and_then(|spec| spec.security_context.as_ref()).unwrap_or(&no_pod);
    let own = container.security_context.as_ref().unwrap_or(&no_own);
    let run_as_user = own.run_as_user.or(of_pod.run_as_user);
    if own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true) {
        refuse_root(pod, container, run_as_user, image)?;
    }
    let privileged = own.privileged == Some(true);
    let unmasked = privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |list: &[&str]| {
        if unmasked { Vec::new() } else { list.iter().map(|path| (*path).to_owned()).collect() }
    };
    let capabilities = own.capabilities.as_ref();
    let seccomp = own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
    Ok(ContainerSecurity {
        namespaces,
        privileged,
        read_only_rootfs: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        run_as_user: run_as_user.or(image.uid),
        run_as_group: own.run_as_group.or(of_pod.run_as_group),
        run_as_username: if run_as_user.is_none() && image.uid.is_none() {
            image.name.clone()
        } else {
            String::new()
        },
        supplemental_groups: spec.map(supplemental_groups).unwrap_or_default(),
        capabilities_add: capabilities.and_then(|both| both.add.clone()).unwrap_or_default(),
        capabilities_drop: capabilities.and_then(|both| both.drop.clone()).unwrap_or_default(),
        masked_paths: paths(MASKED_PATHS),
        readonly_paths: paths(READONLY_PATHS),
        selinux: own.se_linux_options.as_ref().or(of_pod.se_linux_options.as_ref()).map(selinux),
        // COMPAT(kubelet): without a profile a container runs unconfined, as seccompDefault is off upstream too.
        seccomp: if privileged { None } else { Some(seccomp.map_or(Profile::Unconfined, profile)) },
        apparmor: None,
    })
}

fn refuse_root(pod: &Pod, container: &Container, user: Option<i64>, image: &ImageUser) -> Result<(), String> {
    let place = || {
        let meta = &pod.metadata;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        format!(
            "(pod: \"{}_{}({})\", container: {})",
            text(&meta.name),
            text(&meta.namespace),
            text(&meta.uid),
            container.name
        )
    };
    match (user, image.uid) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {}", place())),
        (Some(_), _) => Ok(()),
        (None, Some(0)) => Err(format!("container has runAsNonRoot and image will run as root {}", place())),
        (None, Some(_)) => Ok(()),
        (None, None) if image.name.is_empty() => {
            Err(format!("container has runAsNonRoot and image will run as root {}", place()))
        }
        (None, None) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root {}",
            image.name,
            place()
        )),
    }
}

fn selinux(options: &SELinuxOptions) -> SeLinux {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    SeLinux {
        user: text(&options.user),
        role: text(&options.role),
        kind: text(&options.type_),
        level: text(&options.level),
    }
}

fn profile(profile: &SeccompProfile) -> Profile {
    match profile.type_.as_str() {
        "RuntimeDefault" => Profile::RuntimeDefault,
        "Localhost" => Profile::Localhost(format!(
            "/var/lib/kubelet/seccomp/{}",
            profile.localhost_profile.as_deref().unwrap_or_default()
        )),
        _ => Profile::Unconfined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security(
        pod: serde_json::Value,
        own: serde_json::Value,
        image: ImageUser,
    ) -> Result<ContainerSecurity, String> {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"securityContext": pod, "containers": [{"name": "c", "securityContext": own}]},
        }))
        .unwrap();
        container_security(&pod, &pod.spec.as_ref().unwrap().containers[0], Namespaces::default(), &image)
    }

    #[test]
    fn containers_word_goes_before_the_pods() {
        let made = security(
            serde_json::json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 7, "supplementalGroups": [5]}),
            serde_json::json!({"runAsUser": 3, "capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": false}),
            ImageUser::default(),
        )
        .unwrap();
        assert_eq!((made.run_as_user, made.run_as_group), (Some(3), Some(2)));
        assert_eq!(made.supplemental_groups, [5, 7]);
        assert_eq!(made.capabilities_drop, ["ALL"]);
        assert!(made.no_new_privileges);
        assert!(made.masked_paths.contains(&"/proc/kcore".to_owned()));
    }

    #[test]
    fn without_a_profile_a_container_runs_unconfined_and_with_one_by_it() {
        let profile = |pod: serde_json::Value| {
            security(pod, serde_json::json!({}), ImageUser::default()).unwrap().seccomp
        };
        assert!(matches!(profile(serde_json::json!({})), Some(Profile::Unconfined)));
        let default = serde_json::json!({"seccompProfile": {"type": "RuntimeDefault"}});
        assert!(matches!(profile(default), Some(Profile::RuntimeDefault)));
    }

    #[test]
    fn privileged_sees_everything() {
        let made =
            security(serde_json::json!({}), serde_json::json!({"privileged": true}), ImageUser::default());
        let made = made.unwrap();
        assert!(made.privileged && made.masked_paths.is_empty() && made.seccomp.is_none());
    }

    #[test]
    fn root_is_refused_to_whoever_must_not_be_root() {
        let must = || serde_json::json!({"runAsNonRoot": true});
        let named = ImageUser { uid: None, name: "www".to_owned() };
        let numbered = ImageUser { uid: Some(7), name: String::new() };
        assert!(security(must(), serde_json::json!({}), ImageUser::default()).is_err());
        assert!(
            security(must(), serde_json::json!({}), named.clone())
                .unwrap_err()
                .contains("non-numeric user (www)")
        );
        assert!(security(must(), serde_json::json!({"runAsUser": 0}), numbered.clone()).is_err());
        assert!(security(must(), serde_json::json!({"runAsUser": 9}), named.clone()).is_ok());
        assert!(security(must(), serde_json::json!({"runAsNonRoot": false}), ImageUser::default()).is_ok());
        assert_eq!(security(must(), serde_json::json!({}), numbered).unwrap().run_as_user, Some(7));
    }
}
