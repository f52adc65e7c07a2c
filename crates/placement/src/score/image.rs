//! Nodes that have a Pod's images already: larger ones count more, and those that few Nodes have count less, so that Pods do
//! not crowd where an image happens to be. Upstream: the ImageLocality plugin.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, PodSpec};

use super::SCORE_MAX;

const MIB: i64 = 1024 * 1024;
/// Smaller sums score nothing.
const BYTES_MIN: i64 = 23 * MIB;
/// Sums above this for each container score no more.
const BYTES_MAX_PER_CONTAINER: i64 = 1000 * MIB;

/// On how many Nodes each image is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageSpread {
    nodes_by_image: BTreeMap<String, i64>,
    nodes: i64,
}

impl ImageSpread {
    /// A Node came.
    pub fn add(&mut self, node: &Node) {
        self.nodes += 1;
        for (name, _) in images(node) {
            *self.nodes_by_image.entry(name.to_owned()).or_default() += 1;
        }
    }

    /// The reverse, with the Node as it was added.
    pub fn remove(&mut self, node: &Node) {
        self.nodes -= 1;
        for (name, _) in images(node) {
            if let Some(count) = self.nodes_by_image.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.nodes_by_image.remove(name);
                }
            }
        }
    }

    pub(super) fn score(&self, spec: &PodSpec, node: &Node) -> i64 {
        if self.nodes_by_image.is_empty() {
            return 0;
        }
        let containers = api::pod::all_containers(spec);
        let wanted: Vec<String> =
            containers.clone().filter_map(|c| c.image.as_deref()).map(with_tag).collect();
        let worth = |name: &String| {
            let (_, bytes) = images(node).find(|(has, _)| has == name)?;
            let here = self.nodes_by_image.get(name).copied().unwrap_or_default();
            Some(bytes.saturating_mul(here) / self.nodes.max(1))
        };
        let sum: i64 = wanted.iter().filter_map(worth).sum();
        let most = BYTES_MAX_PER_CONTAINER * i64::try_from(containers.count().max(1)).unwrap_or(1);
        (sum.clamp(BYTES_MIN, most) - BYTES_MIN) * SCORE_MAX / (most - BYTES_MIN)
    }
}

fn images(node: &Node) -> impl Iterator<Item = (&str, i64)> {
    let images = node.status.as_ref().and_then(|status| status.images.as_deref()).unwrap_or_default();
    images.iter().flat_map(|image| {
        let bytes = image.size_bytes.unwrap_or_default();
        image.names.iter().flatten().map(move |name| (name.as_str(), bytes))
    })
}

/// A name without a tag means the latest.
fn with_tag(name: &str) -> String {
    let has_tag = name.rfind(':') > name.rfind('/');
    if has_tag { name.to_owned() } else { format!("{name}:latest") }
}
