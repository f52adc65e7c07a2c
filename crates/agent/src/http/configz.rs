//! `/configz`: what this agent goes by, under the names of a kubelet's configuration.
//!
//! Only what has a meaning here is named, with the value that holds.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::Served;
use crate::context::NodeContext;
use crate::source::SourceKind;
use crate::source::file::RELIST_SECONDS;
use crate::source::url::POLL_SECONDS;

pub async fn show(State(served): State<Served>) -> impl IntoResponse {
    axum::Json(config_of(&served.context))
}

fn config_of(context: &NodeContext) -> Value {
    let place = |kind| context.ledger.place_of(kind).unwrap_or_default();
    let pods_max = context.allocatable.get("pods").map(ToString::to_string).unwrap_or_default();
    let limits = &context.limits;
    let images = &context.image_policy;
    let thresholds = |soft: bool| -> BTreeMap<&str, String> {
        let of = limits.thresholds.iter().filter(|one| one.grace_seconds.is_some() == soft);
        of.map(|one| (one.signal.name(), one.amount.to_string())).collect()
    };
    json!({"kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "staticPodPath": place(SourceKind::File),
        "staticPodURL": place(SourceKind::Http),
        "fileCheckFrequency": format!("{RELIST_SECONDS}s"),
        "httpCheckFrequency": format!("{POLL_SECONDS}s"),
        "nodeStatusUpdateFrequency": "10s",
        "nodeStatusReportFrequency": "5m0s",
        "nodeLeaseDurationSeconds": 40,
        "maxPods": pods_max.parse::<u32>().unwrap_or_default(),
        "clusterDNS": context.resolver.cluster_dns,
        "clusterDomain": context.resolver.cluster_domain,
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 5,
        "cgroupDriver": "cgroupfs",
        "seccompDefault": false,
        "serializeImagePulls": false,
        "rotateCertificates": true,
        "evictionHard": thresholds(false),
        "evictionSoft": thresholds(true),
        "evictionMaxPodGracePeriod": limits.pod_grace_seconds_max.map_or(-1, i128::from),
        "evictionPressureTransitionPeriod": format!("{}s", limits.transition_seconds),
        "imageGCHighThresholdPercent": images.high_percent,
        "imageGCLowThresholdPercent": images.low_percent,
        "imageMinimumGCAge": format!("{}s", images.age_seconds_min),
        "imageMaximumGCAge": format!("{}s", images.age_seconds_max),
        "podLogsDir": context.log_root,
    }})
}
