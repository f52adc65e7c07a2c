//! Whose Pod is replaced next, where the budget does not reach all: the written order of victims.
//!
//! Unavailable Pods go first; they cost nobody anything, and are not chosen here. Of the available ones, the next comes from the
//! zone that has lost the smallest share of its Pods so far, the choice itself counted in; a tie goes by the zone's name, and
//! within a zone by the Node's. So an update spreads over the zones, and no zone goes dark before the others have given
//! as much. Nodes without a zone label are one zone.
//!
//! DIFFERS(DS-victims): upstream takes them in the order of a Go map, another one each time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use api::meta::Meta;
use api::well_known::node_label;
use k8s_openapi::api::core::v1::Node;

use crate::facts::NodeName;

/// A zone's name; empty for Nodes that have none.
pub type Zone = Arc<str>;

/// The zone that a Node is in, by its label or the one that it had before 1.17.
pub fn zone_of(node: &Node) -> &str {
    node.label(node_label::ZONE).or_else(|| node.label(node_label::LEGACY_ZONE)).unwrap_or_default()
}

/// One zone of one DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZoneRows {
    /// Nodes that should run a Pod.
    pub desired: u32,
    /// Nodes that use up the update budget.
    pub budget_used: u32,
    /// Nodes whose Pod is replaced when the budget allows.
    pub candidates: BTreeSet<NodeName>,
}

/// What a zone would have lost with one more: as fractions compare, then by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loss<'a> {
    lost: u32,
    of: u32,
    zone: &'a str,
}

impl Ord for Loss<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let (mine, theirs) =
            (u64::from(self.lost) * u64::from(other.of), u64::from(other.lost) * u64::from(self.of));
        mine.cmp(&theirs).then_with(|| self.zone.cmp(other.zone))
    }
}

impl PartialOrd for Loss<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The next Nodes to give up their Pod, at most so many, in order.
pub fn choose(zones: &BTreeMap<Zone, ZoneRows>, count: usize) -> Vec<&NodeName> {
    let mut candidates = BTreeMap::new();
    let mut next = BinaryHeap::new();
    for (zone, rows) in zones.iter().filter(|(_, rows)| !rows.candidates.is_empty()) {
        next.push(Reverse(Loss { lost: rows.budget_used + 1, of: rows.desired, zone }));
        candidates.insert(&**zone, rows.candidates.iter());
    }
    let mut chosen = Vec::new();
    while chosen.len() < count
        && let Some(Reverse(loss)) = next.pop()
    {
        let Some(node) = candidates.get_mut(loss.zone).and_then(Iterator::next) else { continue };
        chosen.push(node);
        next.push(Reverse(Loss { lost: loss.lost + 1, ..loss }));
    }
    chosen
}
