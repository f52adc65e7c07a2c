//! How fast Nodes are given up. Pure; the time is an argument.
//!
//! One Node in [`GIVE_UP_SECONDS_EACH`]; fewer in a large outage, none in a small cluster's; and when no Node at all is
//! ready, it is more likely that we are cut off than they: then nobody is given up, and who was is taken back.
//! Upstream: nodelifecycle's zone states with --node-eviction-rate 0.1, --secondary-node-eviction-rate 0.01,
//! --large-cluster-size-threshold 50 and --unhealthy-zone-threshold 0.55.
//! DIFFERS(zones): all Nodes count as one zone.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::taints::Readiness;

pub const GIVE_UP_SECONDS_EACH: i64 = 10;
pub const GIVE_UP_SECONDS_EACH_IN_OUTAGE: i64 = 100;
pub const LARGE_CLUSTER_NODES: usize = 50;
pub const OUTAGE_PERCENT: usize = 55;
/// An outage is of more than two Nodes, as upstream.
const OUTAGE_NODES_MIN: usize = 3;

/// Whether a Node that is not ready may get the NoExecute taint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    Yes,
    /// Others first, or this is an outage.
    NotYet,
    /// Nobody is, and who was is taken back.
    No,
}

#[derive(Debug, Default)]
pub struct Outage {
    not_ready: BTreeSet<String>,
    given_up: BTreeSet<String>,
    last: Option<Timestamp>,
}

impl Outage {
    pub fn note(&mut self, node: &str, readiness: Readiness) {
        match readiness {
            Readiness::Ready => {
                self.not_ready.remove(node);
                self.given_up.remove(node);
            }
            Readiness::NotReady | Readiness::Unreachable => {
                self.not_ready.insert(node.to_owned());
            }
        }
    }

    pub fn forget(&mut self, node: &str) {
        self.not_ready.remove(node);
        self.given_up.remove(node);
    }

    /// Asks for one Node; a `Yes` is counted against the rate.
    pub fn may_give_up(&mut self, node: &str, nodes_total: usize, now: Timestamp) -> GiveUp {
        if !self.not_ready.contains(node) {
            return GiveUp::No;
        }
        let down = self.not_ready.len();
        if down >= nodes_total {
            self.given_up.clear();
            return GiveUp::No;
        }
        if self.given_up.contains(node) {
            return GiveUp::Yes;
        }
        let outage = down >= OUTAGE_NODES_MIN && down * 100 >= nodes_total * OUTAGE_PERCENT;
        let seconds_each = match (outage, nodes_total > LARGE_CLUSTER_NODES) {
            (false, _) => GIVE_UP_SECONDS_EACH,
            (true, true) => GIVE_UP_SECONDS_EACH_IN_OUTAGE,
            (true, false) => return GiveUp::NotYet,
        };
        let due = self.last.is_none_or(|last| now.duration_since(last).as_secs() >= seconds_each);
        if !due {
            return GiveUp::NotYet;
        }
        self.last = Some(now);
        self.given_up.insert(node.to_owned());
        GiveUp::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn down(names: &[&str]) -> Outage {
        let mut outage = Outage::default();
        names.iter().for_each(|name| outage.note(name, Readiness::Unreachable));
        outage
    }

    #[test]
    fn one_node_every_ten_seconds() {
        let mut outage = down(&["a", "b"]);
        assert_eq!(outage.may_give_up("a", 10, at(0)), GiveUp::Yes);
        assert_eq!(outage.may_give_up("b", 10, at(9)), GiveUp::NotYet);
        assert_eq!(outage.may_give_up("b", 10, at(10)), GiveUp::Yes);
        assert_eq!(outage.may_give_up("a", 10, at(11)), GiveUp::Yes, "once given up, no matter of rate");
    }

    #[test]
    fn when_every_node_is_down_nobody_is_given_up_and_all_are_taken_back() {
        let mut outage = down(&["a"]);
        assert_eq!(outage.may_give_up("a", 1, at(0)), GiveUp::No);
        let mut outage = down(&["a", "b"]);
        assert_eq!(outage.may_give_up("a", 3, at(0)), GiveUp::Yes);
        outage.note("c", Readiness::NotReady);
        assert_eq!(outage.may_give_up("a", 3, at(5)), GiveUp::No);
    }

    #[test]
    fn in_a_small_clusters_outage_nobody_is_given_up_and_in_a_large_ones_slowly() {
        let mut outage = down(&["a", "b", "c"]);
        assert_eq!(outage.may_give_up("a", 5, at(0)), GiveUp::NotYet);
        let names: Vec<String> = (0..60).map(|i| format!("n{i}")).collect();
        let mut outage = down(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(outage.may_give_up("n0", 100, at(0)), GiveUp::Yes);
        assert_eq!(outage.may_give_up("n1", 100, at(99)), GiveUp::NotYet);
        assert_eq!(outage.may_give_up("n1", 100, at(100)), GiveUp::Yes);
    }

    #[test]
    fn a_node_that_is_ready_again_starts_afresh() {
        let mut outage = down(&["a"]);
        assert_eq!(outage.may_give_up("a", 10, at(0)), GiveUp::Yes);
        outage.note("a", Readiness::Ready);
        assert_eq!(outage.may_give_up("a", 10, at(1)), GiveUp::No);
        outage.note("a", Readiness::NotReady);
        assert_eq!(outage.may_give_up("a", 10, at(2)), GiveUp::NotYet);
    }
}
