//! The same answers from scratch: the oracle that the incremental view is held against.
//!
//! This is written after upstream's own loops (`manage`, `rollingUpdate`, `updateDaemonSetStatus`): group all Pods by Node, walk all
//! Nodes, count as you go. It shares what a Pod or a Node *is* ([`PodFacts`], [`verdict`]) with the view, and none of
//! its rows, sums and indexes. It is for tests and simulation: its cost is the whole cluster, each time.

use std::collections::{BTreeMap, BTreeSet};

use api::meta::Meta;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::facts::{Claim, Ended, NodeName, Place, PodFacts};
use crate::plan::PODS_PER_PLAN_MAX;
use crate::row::Counts;
use crate::verdict::{Verdict, verdict};
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
    let facts: Vec<PodFacts> = world.pods.iter().filter_map(|pod| PodFacts::of(pod, world.wanted)).collect();
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
    let (mut create_if, mut delete_if) = (Vec::new(), Vec::new());
    let mut used = 0;
    if world.wanted.strategy == Strategy::OnDelete {
        return (creates, deletes);
    }
    let surges = matches!(world.wanted.strategy, Strategy::Surge(_));
    for (node, _) in verdicts.iter().filter(|(_, verdict)| **verdict == Verdict::Run) {
        let pods = by_node.get(node).map(Vec::as_slice).unwrap_or_default();
        let held = world.in_flight.contains(*node) || pods.iter().any(|pod| pod.claim == Claim::Adopt);
        let (new, old): (Vec<&PodFacts>, Vec<&PodFacts>) = pods
            .iter()
            .filter(|pod| !pod.is_deleting())
            .partition(|pod| pod.is_updated(world.hash, world.wanted.template_generation));
        if new.len() > 1 || old.len() > 1 {
            used += 1;
            continue;
        }
        let step = |pod: &PodFacts| ((*node).to_owned(), pod.id.name.clone());
        let (mut create, mut delete, mut create_in_budget, mut delete_in_budget) = (None, None, None, None);
        match (new.first(), old.first(), surges) {
            (None, None, false) | (Some(_), Some(_), false) => used += 1,
            (Some(new), None, false) => used += u32::from(!available(world, new)),
            (None, Some(old), false) if available(world, old) => delete_in_budget = Some(step(old)),
            (None, Some(old), false) => {
                used += 1;
                delete = Some(step(old));
            }
            (_, None, true) => {}
            (None, Some(old), true) if available(world, old) => create_in_budget = Some((*node).to_owned()),
            (None, Some(_), true) => create = Some((*node).to_owned()),
            (Some(new), Some(old), true) if available(world, new) => delete = Some(step(old)),
            (Some(_), Some(_), true) => used += 1,
        }
        if !held {
            creates.extend(create);
            deletes.extend(delete);
            create_if.extend(create_in_budget);
            delete_if.extend(delete_in_budget);
        }
    }
    sums.budget_used = used;
    let free = world.wanted.strategy.budget(sums.desired).saturating_sub(used) as usize;
    deletes.extend(delete_if.into_iter().take(free));
    creates.extend(create_if.into_iter().take(free));
    (creates, deletes)
}

fn available(world: &World<'_>, pod: &PodFacts) -> bool {
    pod.is_available(world.now, world.wanted.min_ready_seconds)
}
