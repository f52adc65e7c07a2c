//! Which Nodes an incoming Pod has to see before it is asked whether it fits.
//!
//! A Pod that may be on few Nodes sees these and those that share a topology domain with them, so that one of a DaemonSet's
//! Pods costs its Node and not the fleet. Others see every Node that has a say.

use std::collections::BTreeSet;

use api::meta::Meta;
use k8s_openapi::api::core::v1::Pod;
use placement::{Incoming, Sees};

use super::{Circumstances, Where};
use crate::snapshot::Snapshot;

/// Beyond this many Nodes, walking all of them costs no more than their domains do.
const FEW_NODES_MAX: usize = 8;

pub(super) fn around<'a>(
    pod: &'a Pod,
    place: &Where,
    snapshot: &mut Snapshot,
    circumstances: &'a Circumstances,
) -> Incoming<'a> {
    let asks = || Incoming::of(pod, &circumstances.namespaces);
    if let Where::Only(names) = place
        && names.len() <= FEW_NODES_MAX
    {
        let near = see_near(asks(), names, snapshot);
        if let Some(near) = near.filter(|near| !near.needs_all_nodes()) {
            return near;
        }
    }
    see_all(asks(), snapshot)
}

fn see_all<'a>(mut incoming: Incoming<'a>, snapshot: &Snapshot) -> Incoming<'a> {
    match incoming.sees() {
        Sees::Everybody => {
            for seen in snapshot.nodes() {
                incoming.see(seen.node, snapshot.residents(seen.node.name()));
            }
        }
        Sees::Repelling => {
            for seen in snapshot.speaking() {
                incoming.see(seen.node, snapshot.residents(seen.node.name()));
            }
        }
    }
    incoming
}

/// `None` where it is not known which Nodes share a domain.
fn see_near<'a>(
    mut incoming: Incoming<'a>,
    names: &BTreeSet<String>,
    snapshot: &mut Snapshot,
) -> Option<Incoming<'a>> {
    let own_keys: Vec<String> = incoming.topology_keys().map(str::to_owned).collect();
    let repelling_keys = snapshot.repelling_keys();
    for key in own_keys.iter().chain(&repelling_keys) {
        if !snapshot.keep_key(key) {
            return None;
        }
    }
    let mut near: BTreeSet<&str> = BTreeSet::new();
    for seen in names.iter().filter_map(|name| snapshot.node(name)) {
        near.insert(seen.node.name());
        for key in &own_keys {
            near.extend(snapshot.domain_of(key, seen.node));
        }
        for key in &repelling_keys {
            near.extend(snapshot.domain_of(key, seen.node).filter(|name| snapshot.speaks(name)));
        }
    }
    for seen in near.into_iter().filter_map(|name| snapshot.node(name)) {
        incoming.see(seen.node, snapshot.residents(seen.node.name()));
    }
    Some(incoming)
}
