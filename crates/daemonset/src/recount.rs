//! The same answers from scratch: the oracle that the incremental view is held against.
//!
//! This is written after upstream's own loops (`manage`, `rollingUpdate`, `updateDaemonSetStatus`): group all Pods by Node, walk all
//! Nodes, count as you go. It shares what a Pod or a Node *is* ([`PodFacts`], [`verdict`]) with the view, and none of
//! its rows, sums and indexes. It is for tests and simulation: its cost is the whole cluster, each time.

use std::collections::{BTreeMap, BTreeSet};

use api::meta::Meta;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::facts::{Claim, Deletion, Ended, NodeName, Place, PodFacts};
use crate::plan::PODS_PER_PLAN_MAX;
use crate::row::Counts;
use crate::verdict::{Verdict, verdict};
use crate::victims::zone_of;
use crate::wanted::{Strategy, Wanted};

/// Everything there is to know, as lists.
#[derive(Debug)]
pub struct World<'a> {
    pub wanted: &'a Wanted,
    pub nodes: &'a [Node],
    pub pods: &'a [Pod],
    /// The hash that Pods of the current template carry.
    pub hash: &'a str,
    pub now: Timestamp,
    /// Nodes on which something was done that has not been seen yet.
    pub in_flight: &'a BTreeSet<NodeName>,
    /// Anything at all has not been seen yet.
    pub waiting: bool,
    /// Pods whose deletion was accepted, and Pods whose deletion got no answer, by uid, whatever `pods` still shows.
    pub accepted: &'a BTreeSet<String>,
    pub doubtful: &'a BTreeSet<String>,
    /// Until when failed Pods of a Node are left alone.
    pub backoff_until: &'a BTreeMap<NodeName, Timestamp>,
}

/// What the world adds up to, and what would be done next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recount {
    pub sums: Counts,
    /// Nodes that get a Pod.
    pub creates: Vec<String>,
    /// Nodes and the Pods that go from them.
    pub deletes: Vec<(String, String)>,
}

/// Counts and decides from scratch.
pub fn recount(world: &World<'_>) -> Recount {
    let facts = world.pods.iter().filter_map(|pod| PodFacts::of(pod, world.wanted));
    let facts: Vec<PodFacts> = facts.map(|pod| told(world, pod)).collect();
    let mut by_node: BTreeMap<&str, Vec<&PodFacts>> = BTreeMap::new();
    for pod in facts.iter().filter(|pod| pod.claim != Claim::Release) {
        if pod.is_deleting() && pod.ended != Ended::No {
            continue;
        }
        if let Some(node) = pod.place.node() {
            by_node.entry(node.as_str()).or_default().push(pod);
        }
    }
    for pods in by_node.values_mut() {
        pods.sort_by_key(|pod| (matches!(pod.place, Place::Pinned(_)), pod.created, pod.id.name.clone()));
    }
    let verdicts: BTreeMap<&str, Verdict> =
        world.nodes.iter().map(|node| (node.name(), verdict(world.wanted, node))).collect();
    let mut counted = Recount { sums: status(world, &by_node, &verdicts), ..Recount::default() };
    let roll = rolling_update(world, &by_node, &verdicts, &mut counted.sums);
    manage(world, &by_node, &verdicts, &mut counted);
    if counted.creates.is_empty() && counted.deletes.is_empty() && !world.waiting {
        (counted.creates, counted.deletes) = roll;
    }
    counted.creates.truncate(PODS_PER_PLAN_MAX);
    counted.deletes.truncate(PODS_PER_PLAN_MAX);
    counted
}

/// A Pod as it is seen, with what is known of its deletion besides.
fn told(world: &World<'_>, mut pod: PodFacts) -> PodFacts {
    if world.accepted.contains(&pod.id.uid) {
        pod.deletion = Deletion::Asked;
    } else if world.doubtful.contains(&pod.id.uid) && !pod.is_deleting() {
        pod.deletion = Deletion::Doubtful;
    }
    pod
}

type ByNode<'a> = BTreeMap<&'a str, Vec<&'a PodFacts>>;

fn status(world: &World<'_>, by_node: &ByNode<'_>, verdicts: &BTreeMap<&str, Verdict>) -> Counts {
    let mut sums = Counts::default();
    for (node, verdict) in verdicts {
        let pods = by_node.get(node).map(Vec::as_slice).unwrap_or_default();
        if *verdict != Verdict::Run {
            sums.misscheduled += u32::from(!pods.is_empty());
            continue;
        }
        sums.desired += 1;
        let Some(first) = pods.first() else { continue };
        sums.current += 1;
        if first.is_ready() {
            sums.ready += 1;
            if available(world, first) {
                sums.available += 1;
            }
        }
        if first.is_updated(world.hash, world.wanted.template_generation) {
            sums.updated += 1;
        }
    }
    sums
}

fn manage(
    world: &World<'_>,
    by_node: &ByNode<'_>,
    verdicts: &BTreeMap<&str, Verdict>,
    counted: &mut Recount,
) {
    let mut names: BTreeSet<&str> = verdicts.keys().copied().collect();
    names.extend(by_node.keys());
    for name in names {
        let pods = by_node.get(name).map(Vec::as_slice).unwrap_or_default();
        let held = pods.iter().any(|pod| pod.claim == Claim::Adopt);
        if held || world.in_flight.contains(name) {
            continue;
        }
        let mut delete = |pod: &PodFacts| counted.deletes.push((name.to_owned(), pod.id.name.clone()));
        let standing = pods.iter().filter(|pod| !pod.is_deleting());
        let should_run = match verdicts.get(name) {
            None => {
                standing.filter(|pod| matches!(pod.place, Place::Pinned(_))).for_each(|pod| delete(pod));
                continue;
            }
            Some(Verdict::Leave(_)) => {
                standing.for_each(|pod| delete(pod));
                continue;
            }
            Some(Verdict::KeepOnly(_)) => false,
            Some(Verdict::Run) => true,
        };
        if pods.is_empty() {
            if should_run {
                counted.creates.push(name.to_owned());
            }
            continue;
        }
        let mut running = Vec::new();
        let mut ended = false;
        let mut failed_may_go = world.backoff_until.get(name).is_none_or(|until| world.now >= *until);
        for pod in standing {
            ended |= pod.ended != Ended::No;
            match pod.ended {
                Ended::Failed if failed_may_go => {
                    delete(pod);
                    failed_may_go = false;
                }
                Ended::Failed => {}
                Ended::Succeeded => delete(pod),
                Ended::No => running.push(*pod),
            }
        }
        match world.wanted.strategy {
            Strategy::OnDelete | Strategy::Unavailable(_) => {
                running.iter().skip(1).for_each(|pod| delete(pod))
            }
            Strategy::Surge(_) => {
                for pod in surge_leavers(world, &running) {
                    delete(pod);
                }
                if running.is_empty() && !ended && should_run {
                    counted.creates.push(name.to_owned());
                }
            }
        }
    }
}

fn surge_leavers<'a>(world: &World<'_>, running: &[&'a PodFacts]) -> Vec<&'a PodFacts> {
    let mut leavers = Vec::new();
    let (mut oldest_new, mut oldest_old): (Option<&PodFacts>, Option<&PodFacts>) = (None, None);
    if running.len() <= 1 {
        return leavers;
    }
    for pod in running {
        let slot = if pod.hash == world.hash { &mut oldest_new } else { &mut oldest_old };
        match slot {
            None => *slot = Some(*pod),
            Some(_) => leavers.push(*pod),
        }
    }
    if let (Some(new), Some(_)) = (oldest_new, oldest_old) {
        let old = running.iter().find(|pod| pod.hash != world.hash);
        let goes = old.filter(|old| !old.is_ready() || available(world, new));
        leavers.extend(goes);
    }
    leavers
}

fn rolling_update(
    world: &World<'_>,
    by_node: &ByNode<'_>,
    verdicts: &BTreeMap<&str, Verdict>,
    sums: &mut Counts,
) -> (Vec<String>, Vec<(String, String)>) {
    let (mut creates, mut deletes) = (Vec::new(), Vec::new());
    // Candidates by Node: the zone, and the Pod to delete or nothing where one is created.
    let mut candidates: BTreeMap<&str, (&str, Option<&PodFacts>)> = BTreeMap::new();
    // By zone: how many Nodes use the budget, of how many.
    let mut zones: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut used = 0;
    if world.wanted.strategy == Strategy::OnDelete {
        return (creates, deletes);
    }
    let surges = matches!(world.wanted.strategy, Strategy::Surge(_));
    for node in world.nodes.iter().filter(|node| verdicts.get(node.name()) == Some(&Verdict::Run)) {
        let (name, zone) = (node.name(), zones.entry(zone_of(node)).or_default());
        zone.1 += 1;
        let pods = by_node.get(name).map(Vec::as_slice).unwrap_or_default();
        let held = world.in_flight.contains(name) || pods.iter().any(|pod| pod.claim == Claim::Adopt);
        let (new, old): (Vec<&PodFacts>, Vec<&PodFacts>) = pods
            .iter()
            .filter(|pod| !pod.is_deleting())
            .partition(|pod| pod.is_updated(world.hash, world.wanted.template_generation));
        let (mut create, mut delete, mut candidate, mut uses) = (None, None, None, false);
        match (new.as_slice(), old.as_slice(), surges) {
            ([_, _, ..], _, _) | (_, [_, _, ..], _) => uses = true,
            ([], [], false) | ([_], [_], false) => uses = true,
            ([new], [], false) => uses = !available(world, new),
            ([], [old], false) if available(world, old) => candidate = Some(Some(*old)),
            ([], [old], false) => (uses, delete) = (true, Some(*old)),
            (_, [], true) => {}
            ([], [old], true) if available(world, old) => candidate = Some(None),
            ([], [_], true) => create = Some(name.to_owned()),
            ([new], [old], true) if available(world, new) => delete = Some(*old),
            ([_], [_], true) => uses = true,
        }
        used += u32::from(uses);
        zone.0 += u32::from(uses);
        if !held {
            creates.extend(create);
            deletes.extend(delete.map(|pod| (name.to_owned(), pod.id.name.clone())));
            candidates.extend(candidate.map(|pod| (name, (zone_of(node), pod))));
        }
    }
    sums.budget_used = used;
    if used > world.wanted.strategy.budget(sums.desired) {
        // A Pod whose deletion got no answer may be alive.
        let doubtful: BTreeSet<&str> = by_node
            .values()
            .flatten()
            .filter(|pod| pod.deletion == Deletion::Doubtful)
            .map(|pod| pod.id.name.as_str())
            .collect();
        if !surges {
            deletes.retain(|(_, pod)| !doubtful.contains(pod.as_str()));
        }
    }
    for _ in used..world.wanted.strategy.budget(sums.desired) {
        // One after the other, each time from the zone that would then have lost the least.
        let share = |zone: &str| {
            let (lost, of) = zones.get(zone).copied().unwrap_or_default();
            (u64::from(lost) + 1) * SHARES / u64::from(of.max(1))
        };
        let next = candidates.iter().map(|(node, (zone, _))| (share(zone), *zone, *node)).min();
        let Some((_, zone, node)) = next else { break };
        zones.entry(zone).or_default().0 += 1;
        match candidates.remove(node) {
            Some((_, Some(pod))) => deletes.push((node.to_owned(), pod.id.name.clone())),
            Some((_, None)) => creates.push(node.to_owned()),
            None => break,
        }
    }
    (creates, deletes)
}

/// Shares of a zone are compared as multiples of one part in so many: exact for zones of up to 16 Nodes, as tests have them.
const SHARES: u64 = 720_720;

fn available(world: &World<'_>, pod: &PodFacts) -> bool {
    pod.is_available(world.now, world.wanted.min_ready_seconds)
}
