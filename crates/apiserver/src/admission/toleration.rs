//! DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or out of reach, unless it says otherwise.

use api::well_known::taint;
use k8s_openapi::api::core::v1::{Pod, Toleration};

/// Upstream's `--default-not-ready-toleration-seconds`.
const TOLERATION_SECONDS: i64 = 300;

pub fn admit(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    for key in [taint::NOT_READY, taint::UNREACHABLE] {
        let tolerated = spec.tolerations.iter().flatten().any(|toleration| {
            let same_key = toleration.key.as_deref().unwrap_or_default();
            let effect = toleration.effect.as_deref().unwrap_or_default();
            (same_key == key || same_key.is_empty()) && (effect == taint::NO_EXECUTE || effect.is_empty())
        });
        if !tolerated {
            spec.tolerations.get_or_insert_default().push(Toleration {
                key: Some(key.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some(taint::NO_EXECUTE.to_owned()),
                toleration_seconds: Some(TOLERATION_SECONDS),
                ..Toleration::default()
            });
        }
    }
}
