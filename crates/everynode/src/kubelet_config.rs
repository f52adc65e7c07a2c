//! A kubelet's configuration file: what has a meaning here is taken, everything else is named in a warning.
//!
//! Upstream: kubelet.config.k8s.io/v1beta1, `--config`. A field that is not taken changes nothing, and is not an error:
//! the file that a machine's kubelet has used will do.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Taint;
use podmachine::image_gc::Policy;
use podmachine::pressure::{Limits, Written, limits};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::exit::Failure;

const KIND: &str = "KubeletConfiguration";
const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
/// A file that is larger is another one.
const BYTES_MAX: u64 = 1 << 20;

/// The fields that apply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KubeletConfig {
    pub static_pod_path: Option<PathBuf>,
    pub static_pod_url: Option<String>,
    /// As the flag has them: `name:value`.
    pub static_pod_url_header: Vec<String>,
    pub container_runtime_endpoint: Option<String>,
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: Option<String>,
    pub max_pods: Option<u32>,
    pub pod_cidr: Option<String>,
    pub register_with_taints: Vec<Taint>,
    pub eviction: Limits,
    pub image_gc: Policy,
}

impl KubeletConfig {
    pub fn read(path: &Path) -> Result<KubeletConfig> {
        let shown = || format!("read {}", path.display());
        let size = std::fs::metadata(path).with_context(shown)?.len();
        if size > BYTES_MAX {
            return Err(Failure::Usage(format!("{}: larger than {BYTES_MAX} bytes", path.display())).into());
        }
        let text = std::fs::read_to_string(path).with_context(shown)?;
        let (config, others) = KubeletConfig::parse(&text)
            .map_err(|fault| Failure::Usage(format!("{}: {fault}", path.display())))?;
        if !others.is_empty() {
            tracing::warn!(file = %path.display(), fields = others.join(", "), "these fields have no meaning here and are left out");
        }
        Ok(config)
    }

    /// What applies, and the names of the other fields.
    fn parse(text: &str) -> Result<(KubeletConfig, Vec<String>), String> {
        let file: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let Value::Object(mut fields) = file else { return Err("it is not a mapping".to_owned()) };
        let kind: String = take(&mut fields, "kind")?.unwrap_or_default();
        let version: String = take(&mut fields, "apiVersion")?.unwrap_or_default();
        if kind != KIND || version != API_VERSION {
            return Err(format!("it is {kind:?} of {version:?}, not {KIND} of {API_VERSION}"));
        }
        let headers: Option<std::collections::BTreeMap<String, Vec<String>>> =
            take(&mut fields, "staticPodURLHeader")?;
        let header = |(name, values): (String, Vec<String>)| {
            values.into_iter().map(move |value| format!("{name}:{value}"))
        };
        let config = KubeletConfig {
            static_pod_path: take_text(&mut fields, "staticPodPath")?.map(PathBuf::from),
            static_pod_url: take_text(&mut fields, "staticPodURL")?,
            static_pod_url_header: headers.into_iter().flatten().flat_map(header).collect(),
            container_runtime_endpoint: take_text(&mut fields, "containerRuntimeEndpoint")?,
            cluster_dns: take(&mut fields, "clusterDNS")?.unwrap_or_default(),
            cluster_domain: take_text(&mut fields, "clusterDomain")?,
            max_pods: take(&mut fields, "maxPods")?,
            pod_cidr: take_text(&mut fields, "podCIDR")?,
            register_with_taints: take(&mut fields, "registerWithTaints")?.unwrap_or_default(),
            eviction: take_eviction(&mut fields)?,
            image_gc: take_image_gc(&mut fields)?,
        };
        Ok((config, fields.into_iter().map(|(name, _)| name).collect()))
    }
}

fn take_eviction(fields: &mut Map<String, Value>) -> Result<Limits, String> {
    let written = Written {
        hard: take(fields, "evictionHard")?,
        soft: take(fields, "evictionSoft")?.unwrap_or_default(),
        soft_grace_period: take(fields, "evictionSoftGracePeriod")?.unwrap_or_default(),
        minimum_reclaim: take(fields, "evictionMinimumReclaim")?.unwrap_or_default(),
        max_pod_grace_period: take(fields, "evictionMaxPodGracePeriod")?,
        pressure_transition_period: take_text(fields, "evictionPressureTransitionPeriod")?,
    };
    Limits::parse(&written).map_err(|error| error.to_string())
}

fn take_image_gc(fields: &mut Map<String, Value>) -> Result<Policy, String> {
    let high = take(fields, "imageGCHighThresholdPercent")?;
    let low = take(fields, "imageGCLowThresholdPercent")?;
    let mut policy = Policy::default().with_percents(high, low).map_err(|error| error.to_string())?;
    let mut age = |name: &str| -> Result<Option<u64>, String> {
        let text = take_text(fields, name)?;
        text.map(|text| limits::seconds(name, &text).map_err(|error| error.to_string())).transpose()
    };
    policy.age_seconds_min = age("imageMinimumGCAge")?.unwrap_or(policy.age_seconds_min);
    policy.age_seconds_max = age("imageMaximumGCAge")?.unwrap_or(policy.age_seconds_max);
    Ok(policy)
}

fn take<T: DeserializeOwned>(fields: &mut Map<String, Value>, name: &str) -> Result<Option<T>, String> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value).map(Some).map_err(|error| format!("{name}: {error}")),
    }
}

/// An empty text is upstream's way of leaving a field out.
fn take_text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    Ok(take::<String>(fields, name)?.filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_apply_are_taken_and_the_others_named() {
        let text = "\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: /etc/kubernetes/manifests
staticPodURLHeader: {a: [one, two]}
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
maxPods: 42
containerRuntimeEndpoint: ''
registerWithTaints: [{key: dedicated, value: gpu, effect: NoSchedule}]
evictionHard: {memory.available: 200Mi}
evictionSoft: {nodefs.available: 20%}
evictionSoftGracePeriod: {nodefs.available: 1m30s}
imageGCHighThresholdPercent: 70
imageGCLowThresholdPercent: 60
imageMinimumGCAge: 1m
cgroupDriver: systemd
authentication: {anonymous: {enabled: false}}
";
        let (config, others) = KubeletConfig::parse(text).unwrap();
        assert_eq!(config.static_pod_path.as_deref(), Some(Path::new("/etc/kubernetes/manifests")));
        assert_eq!(config.static_pod_url_header, ["a:one", "a:two"]);
        assert_eq!((config.max_pods, config.container_runtime_endpoint), (Some(42), None));
        assert_eq!(config.register_with_taints[0].effect, "NoSchedule");
        assert_eq!(config.cluster_dns, ["10.96.0.10".parse::<IpAddr>().unwrap()]);
        let thresholds: Vec<(&str, String, Option<u64>)> = config
            .eviction
            .thresholds
            .iter()
            .map(|one| (one.signal.name(), one.amount.to_string(), one.grace_seconds))
            .collect();
        let expected = [
            ("memory.available", "200Mi".to_owned(), None),
            ("nodefs.available", "20%".to_owned(), Some(90)),
        ];
        assert_eq!(thresholds, expected);
        let images = Policy { high_percent: 70, low_percent: 60, age_seconds_min: 60, age_seconds_max: 0 };
        assert_eq!(config.image_gc, images);
        assert_eq!(others, ["authentication", "cgroupDriver"]);
    }

    #[test]
    fn another_kind_and_wrong_types_are_refused_by_name() {
        let error = |text: &str| KubeletConfig::parse(text).unwrap_err();
        assert!(error("kind: Pod\napiVersion: v1").contains("not KubeletConfiguration"));
        let typed = format!("kind: {KIND}\napiVersion: {API_VERSION}\nmaxPods: many\n");
        assert!(error(&typed).starts_with("maxPods: "), "{}", error(&typed));
        let short = format!("kind: {KIND}\napiVersion: {API_VERSION}\nevictionHard: {{disk: 1Gi}}\n");
        assert!(error(&short).starts_with("unsupported eviction signal disk"), "{}", error(&short));
        assert!(error("[]").contains("not a mapping"));
    }
}
