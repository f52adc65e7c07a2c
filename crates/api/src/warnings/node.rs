//! What is legal in a Node or a RuntimeClass and has no use any more.
//!
//! Upstream: `pkg/registry/core/node/strategy.go`, `pkg/api/node/util.go`.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::node::v1::RuntimeClass;

use super::old_label;

/// Of a Node at every write of its spec.
pub fn of_node(node: &Node) -> Vec<String> {
    let mut found = Vec::new();
    let Some(spec) = &node.spec else { return found };
    if spec.config_source.is_some() {
        found.push("spec.configSource: the feature is removed".to_owned());
    }
    if spec.external_id.as_deref().is_some_and(|id| !id.is_empty()) {
        found.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
    }
    found
}

pub fn of_runtime_class(class: &RuntimeClass) -> Vec<String> {
    let selector = class.scheduling.as_ref().and_then(|scheduling| scheduling.node_selector.as_ref());
    let labels = selector.into_iter().flatten().filter_map(|(name, _)| old_label(name));
    labels.map(|text| format!("scheduling.nodeSelector: {text}")).collect()
}
