//! Requests and limits → what the kernel takes. Figures as upstream (pkg/kubelet/cm).

use api::pod::QosClass;
use api::quantity::Quantity;
use cri::Resources;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

const SHARES_PER_CPU: i64 = 1024;
const SHARES_MIN: i64 = 2;
const SHARES_MAX: i64 = 262_144;
const QUOTA_PERIOD_US: i64 = 100_000;
const QUOTA_MIN_US: i64 = 1_000;

/// `oom_score_adj` of a Pod that must not be killed for memory.
const OOM_GUARANTEED: i64 = -997;
const OOM_BEST_EFFORT: i64 = 1000;

pub fn shares(milli_cpu: i64) -> i64 {
    (milli_cpu * SHARES_PER_CPU / 1000).clamp(SHARES_MIN, SHARES_MAX)
}

pub fn quota_us(milli_cpu: i64) -> i64 {
    if milli_cpu <= 0 { 0 } else { (milli_cpu * QUOTA_PERIOD_US / 1000).max(QUOTA_MIN_US) }
}

/// A container's resources. `node_memory_bytes` scales the OOM score of a burstable Pod.
pub fn container_resources(pod: &Pod, container: &Container, node_memory_bytes: i64) -> Resources {
    let amount = |limits: bool, name: &str| {
        let resources = container.resources.as_ref()?;
        let list = if limits { resources.limits.as_ref() } else { resources.requests.as_ref() };
        Quantity::parse(&list?.get(name)?.0).ok().filter(|quantity| !quantity.is_zero())
    };
    let cpu_limit = amount(true, "cpu").map(Quantity::millis);
    // COMPAT(kubelet): a limit without a request is the request as well.
    let cpu_request = amount(false, "cpu").map(Quantity::millis).or(cpu_limit).unwrap_or(0);
    let memory_limit = amount(true, "memory").map_or(0, Quantity::bytes);
    let memory_request = amount(false, "memory").map_or(memory_limit, Quantity::bytes);
    Resources {
        cpu_shares: shares(cpu_request),
        cpu_quota_us: cpu_limit.map_or(0, quota_us),
        cpu_period_us: if cpu_limit.is_some() { QUOTA_PERIOD_US } else { 0 },
        memory_limit_bytes: memory_limit,
        oom_score_adj: oom_score_adj(pod, memory_request, node_memory_bytes),
        ..Resources::default()
    }
}

fn oom_score_adj(pod: &Pod, memory_request_bytes: i64, node_memory_bytes: i64) -> i64 {
    if api::pod::is_critical(pod) {
        return OOM_GUARANTEED;
    }
    let default = PodSpec::default();
    match api::pod::qos_class(pod.spec.as_ref().unwrap_or(&default)) {
        QosClass::Guaranteed => OOM_GUARANTEED,
        QosClass::BestEffort => OOM_BEST_EFFORT,
        QosClass::Burstable if node_memory_bytes <= 0 => OOM_BEST_EFFORT - 1,
        QosClass::Burstable => {
            let part = i128::from(memory_request_bytes) * 1000 / i128::from(node_memory_bytes);
            (1000 - i64::try_from(part).unwrap_or(1000)).clamp(1000 + OOM_GUARANTEED, OOM_BEST_EFFORT - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(resources: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}}))
        .unwrap()
    }

    fn made(resources: serde_json::Value) -> Resources {
        let pod = pod(resources);
        container_resources(&pod, &pod.spec.as_ref().unwrap().containers[0], 8 << 30)
    }

    #[test]
    fn requests_become_shares_and_limits_quota() {
        let both = made(
            serde_json::json!({"requests": {"cpu": "250m"}, "limits": {"cpu": "1500m", "memory": "64Mi"}}),
        );
        assert_eq!((both.cpu_shares, both.cpu_quota_us, both.cpu_period_us), (256, 150_000, 100_000));
        assert_eq!(both.memory_limit_bytes, 64 << 20);
        let limit_alone = made(serde_json::json!({"limits": {"cpu": "500m"}}));
        assert_eq!(limit_alone.cpu_shares, 512);
        let tiny = made(serde_json::json!({"requests": {"cpu": "1m"}, "limits": {"cpu": "1m"}}));
        assert_eq!((tiny.cpu_shares, tiny.cpu_quota_us), (2, 1_000));
    }

    #[test]
    fn oom_score_follows_the_quality_of_service() {
        assert_eq!(made(serde_json::json!({})).oom_score_adj, 1000);
        let equal = serde_json::json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(made(serde_json::json!({"requests": equal, "limits": equal})).oom_score_adj, -997);
        assert_eq!(made(serde_json::json!({"requests": {"memory": "4Gi"}})).oom_score_adj, 500);
        assert_eq!(made(serde_json::json!({"requests": {"memory": "1Ki"}})).oom_score_adj, 999);
    }
}
