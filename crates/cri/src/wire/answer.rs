//! What the runtime answers, in our types. Missing parts become empty, never a panic.

use jiff::Timestamp;

use crate::generated::runtime_v1 as v1;
use crate::types::*;

/// CRI's times are nanoseconds since 1970; zero, and Go's zero time, mean "never".
pub fn time(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds > 0).then(|| Timestamp::from_nanosecond(nanoseconds.into()).ok()).flatten()
}

pub fn runtime_status(response: v1::StatusResponse) -> RuntimeStatus {
    let conditions = response.status.unwrap_or_default().conditions;
    let readiness = |kind: &str| match conditions.iter().find(|condition| condition.r#type == kind) {
        Some(condition) if condition.status => Readiness::Ready,
        Some(condition) => {
            Readiness::NotReady { reason: condition.reason.clone(), message: condition.message.clone() }
        }
        None => Readiness::NotReady {
            reason: "ConditionMissing".to_owned(),
            message: format!("the runtime does not report {kind}"),
        },
    };
    RuntimeStatus { runtime: readiness("RuntimeReady"), network: readiness("NetworkReady") }
}

fn sandbox_state(state: v1::PodSandboxState) -> SandboxState {
    match state {
        v1::PodSandboxState::SandboxReady => SandboxState::Ready,
        v1::PodSandboxState::SandboxNotready => SandboxState::NotReady,
    }
}

pub fn sandbox(item: v1::PodSandbox) -> Sandbox {
    let state = sandbox_state(item.state());
    let metadata = item.metadata.unwrap_or_default();
    Sandbox {
        id: SandboxId(item.id),
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        attempt: metadata.attempt,
        state,
        created_at: time(item.created_at),
        labels: item.labels,
        annotations: item.annotations,
    }
}

pub fn sandbox_status(status: v1::PodSandboxStatus) -> SandboxStatus {
    let state = sandbox_state(status.state());
    let mut ips = Vec::new();
    if let Some(network) = status.network {
        ips.push(network.ip);
        ips.extend(network.additional_ips.into_iter().map(|ip| ip.ip));
        ips.retain(|ip| !ip.is_empty());
    }
    let options = status.linux.and_then(|linux| linux.namespaces).and_then(|spaces| spaces.options);
    let network = match options.map(|options| options.network()) {
        Some(v1::NamespaceMode::Node) => NamespaceMode::Node,
        Some(v1::NamespaceMode::Pod | v1::NamespaceMode::Container | v1::NamespaceMode::Target) | None => {
            NamespaceMode::Pod
        }
    };
    let metadata = status.metadata.unwrap_or_default();
    SandboxStatus {
        sandbox: Sandbox {
            id: SandboxId(status.id),
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            attempt: metadata.attempt,
            state,
            created_at: time(status.created_at),
            labels: status.labels,
            annotations: status.annotations,
        },
        ips,
        network,
    }
}

/// The network namespace's path out of containerd's verbose sandbox information.
pub fn netns(info: &str) -> Option<String> {
    let info: serde_json::Value = serde_json::from_str(info).ok()?;
    let spaces = info.pointer("/runtimeSpec/linux/namespaces")?.as_array()?;
    let network = spaces.iter().find(|space| space["type"] == "network")?;
    Some(network["path"].as_str()?.to_owned())
}

fn container_state(state: v1::ContainerState) -> ContainerState {
    match state {
        v1::ContainerState::ContainerCreated => ContainerState::Created,
        v1::ContainerState::ContainerRunning => ContainerState::Running,
        v1::ContainerState::ContainerExited => ContainerState::Exited,
        v1::ContainerState::ContainerUnknown => ContainerState::Unknown,
    }
}

pub fn container(item: v1::Container) -> Container {
    let state = container_state(item.state());
    let metadata = item.metadata.unwrap_or_default();
    Container {
        id: ContainerId(item.id),
        sandbox: SandboxId(item.pod_sandbox_id),
        name: metadata.name,
        attempt: metadata.attempt,
        image: item.image.map(|image| image.image).unwrap_or_default(),
        image_ref: item.image_ref,
        state,
        created_at: time(item.created_at),
        labels: item.labels,
        annotations: item.annotations,
    }
}

pub fn container_status(status: v1::ContainerStatus) -> ContainerStatus {
    let state = container_state(status.state());
    let metadata = status.metadata.unwrap_or_default();
    ContainerStatus {
        id: ContainerId(status.id),
        name: metadata.name,
        attempt: metadata.attempt,
        state,
        created_at: time(status.created_at),
        started_at: time(status.started_at),
        finished_at: time(status.finished_at),
        exit_code: status.exit_code,
        reason: status.reason,
        message: status.message,
        image: status.image.map(|image| image.image).unwrap_or_default(),
        image_ref: status.image_ref,
        log_path: status.log_path,
        labels: status.labels,
        annotations: status.annotations,
        resources: status.resources.and_then(|resources| resources.linux).map(resources),
    }
}

fn resources(linux: v1::LinuxContainerResources) -> Resources {
    Resources {
        cpu_shares: linux.cpu_shares,
        cpu_quota_us: linux.cpu_quota,
        cpu_period_us: linux.cpu_period,
        memory_limit_bytes: linux.memory_limit_in_bytes,
        memory_swap_limit_bytes: linux.memory_swap_limit_in_bytes,
        oom_score_adj: linux.oom_score_adj,
        cpuset_cpus: linux.cpuset_cpus,
        cpuset_mems: linux.cpuset_mems,
        hugepages: linux.hugepage_limits.into_iter().map(|limit| (limit.page_size, limit.limit)).collect(),
        unified: linux.unified,
    }
}

pub fn container_stats(stats: v1::ContainerStats) -> ContainerStats {
    let number = |value: Option<v1::UInt64Value>| value.map(|value| value.value);
    let attributes = stats.attributes.unwrap_or_default();
    let cpu = stats.cpu.unwrap_or_default();
    let memory = stats.memory.unwrap_or_default();
    let layer = stats.writable_layer.unwrap_or_default();
    ContainerStats {
        id: Some(ContainerId(attributes.id)),
        name: attributes.metadata.unwrap_or_default().name,
        labels: attributes.labels,
        at: time(cpu.timestamp),
        cpu_core_nanoseconds: number(cpu.usage_core_nano_seconds),
        memory_working_set_bytes: number(memory.working_set_bytes),
        memory_usage_bytes: number(memory.usage_bytes),
        memory_rss_bytes: number(memory.rss_bytes),
        memory_available_bytes: number(memory.available_bytes),
        page_faults: number(memory.page_faults),
        major_page_faults: number(memory.major_page_faults),
        writable_layer_bytes: number(layer.used_bytes),
        writable_layer_inodes: number(layer.inodes_used),
    }
}

pub fn image(image: v1::Image) -> Image {
    Image {
        id: image.id,
        repo_tags: image.repo_tags,
        repo_digests: image.repo_digests,
        size_bytes: image.size,
        uid: image.uid.map(|uid| uid.value),
        username: image.username,
        pinned: image.pinned,
    }
}

pub fn filesystem(usage: v1::FilesystemUsage) -> FilesystemUsage {
    FilesystemUsage {
        mountpoint: usage.fs_id.unwrap_or_default().mountpoint,
        used_bytes: usage.used_bytes.unwrap_or_default().value,
        inodes_used: usage.inodes_used.unwrap_or_default().value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_the_runtime_never_set_is_none() {
        assert_eq!(time(0), None);
        assert_eq!(time(-6_795_364_578_871_345_152), None, "Go's zero time in nanoseconds");
        assert_eq!(time(1_500_000_000), Some(Timestamp::new(1, 500_000_000).unwrap()));
    }

    #[test]
    fn netns_is_found_in_containerds_verbose_information() {
        let info = r#"{"runtimeSpec":{"linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/run/netns/x"}]}}}"#;
        assert_eq!(netns(info).as_deref(), Some("/run/netns/x"));
        assert_eq!(netns("not json"), None);
        assert_eq!(netns("{}"), None);
    }
}
