//! One Pod's decision, from the picture alone. Pure.
//!
//! A Pod that names its Nodes (every term of its required affinity does, as a DaemonSet's Pods) is tried on those
//! only; others on all. Its promised Node comes first. Among those that fit the best score wins, and the first name among
//! equals. Where none fits, it is looked for Pods whose leaving would help ([`preemption`]).

mod look;
mod preemption;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::label::{Labels, Requirement, Requires, Selector};
use api::meta::Meta;
use client::ObjectKey;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use placement::{
    Budgets, Candidate, Failure, Incoming, LookedAt, NamespaceLabels, Narrowed, PreemptionTried, Unfit,
    Waiting, required_node_names,
};

use crate::snapshot::{Seen, Snapshot};
use preemption::Outcome;

/// What has a say beside Nodes and Pods.
#[derive(Default)]
pub struct Circumstances {
    pub namespaces: NamespaceLabels,
    pub budgets: Budgets,
    /// Selectors of the Services of each namespace, by name.
    pub services: BTreeMap<String, BTreeMap<String, Labels>>,
}

/// What to do with a Pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    Bind {
        node: String,
    },
    /// It fits nowhere.
    Wait {
        failure: Failure,
        until: Until,
        promise: Promise,
    },
    /// It fits nowhere yet: these Pods make room for it on this Node.
    Preempt {
        node: String,
        victims: Vec<Arc<Pod>>,
        failure: Failure,
        until: Until,
    },
}

/// What becomes of a place that was promised to a Pod before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    Kept,
    /// It would not fit there any more.
    Withdrawn,
}

/// Which changes may make a Pod fit that did not.
#[derive(Debug, Clone, PartialEq)]
pub struct Until {
    pub nodes: Where,
    pub waiting: Waiting,
}

/// Nodes that matter to a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    Anywhere,
    Only(BTreeSet<String>),
}

/// A Node that refused the Pod, with its reasons.
struct Refused {
    node: String,
    reasons: Vec<Unfit>,
}

pub fn decide(pod: &Pod, snapshot: &mut Snapshot, circumstances: &Circumstances) -> Decision {
    let no_spec = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&no_spec);
    let place = match required_node_names(spec) {
        Narrowed::AllNodes => Where::Anywhere,
        Narrowed::Only(names) => Where::Only(names),
        Narrowed::Conflict => return conflict(pod, snapshot, circumstances),
    };
    let mut incoming = look::around(pod, &place, snapshot, circumstances);
    let snapshot = &*snapshot;
    if let Some(node) = promised_node_that_fits(&mut incoming, &place, snapshot) {
        return Decision::Bind { node };
    }
    let mut fitting = Vec::new();
    let mut refused = Vec::new();
    let mut ask = |seen: Seen<'_>, fitting: &mut Vec<String>| {
        let promised = snapshot.promises.on(seen.node.name(), pod);
        match incoming.fits_beside(seen.node, seen.load, &promised) {
            Ok(()) => fitting.push(seen.node.name().to_owned()),
            Err(reasons) => refused.push(Refused { node: seen.node.name().to_owned(), reasons }),
        }
    };
    match &place {
        Where::Anywhere => snapshot.nodes().for_each(|seen| ask(seen, &mut fitting)),
        Where::Only(names) => {
            names.iter().filter_map(|name| snapshot.node(name)).for_each(|seen| ask(seen, &mut fitting));
        }
    }
    match fitting.as_slice() {
        [] => nowhere(incoming, place, refused, snapshot, circumstances),
        [only] => Decision::Bind { node: only.clone() },
        several => Decision::Bind { node: best_of(&incoming, several, snapshot, circumstances) },
    }
}

fn promised_node_that_fits(
    incoming: &mut Incoming<'_>,
    place: &Where,
    snapshot: &Snapshot,
) -> Option<String> {
    let name = snapshot.promises.node_of(&ObjectKey::of(&incoming.pod.metadata))?;
    if matches!(place, Where::Only(names) if !names.contains(name)) {
        return None;
    }
    let seen = snapshot.node(name)?;
    let promised = snapshot.promises.on(name, incoming.pod);
    incoming.fits_beside(seen.node, seen.load, &promised).ok()?;
    Some(name.to_owned())
}

fn best_of(
    incoming: &Incoming<'_>,
    fitting: &[String],
    snapshot: &Snapshot,
    circumstances: &Circumstances,
) -> String {
    let candidates: Vec<Candidate<'_>> = fitting
        .iter()
        .filter_map(|name| snapshot.node(name))
        .map(|seen| Candidate { node: seen.node, load: seen.load })
        .collect();
    let mut preferences =
        placement::Preferences::of(incoming, &candidates, group(incoming.pod, circumstances));
    match preferences.weighs(incoming) {
        placement::Weighs::Speaking => {
            for seen in snapshot.speaking() {
                preferences.see(incoming, seen.node, snapshot.residents(seen.node.name()));
            }
        }
        placement::Weighs::Everybody => {
            for seen in snapshot.nodes() {
                preferences.see(incoming, seen.node, snapshot.residents(seen.node.name()));
            }
        }
    }
    let best = placement::best(incoming, &candidates, &preferences, snapshot.images());
    best.map(|candidate| candidate.node.name().to_owned()).unwrap_or_default()
}

/// How the Services of a Pod select it, all of them together: Pods of a Service are spread even if they do not ask for it.
fn group(pod: &Pod, circumstances: &Circumstances) -> Option<Selector> {
    let services = circumstances.services.get(pod.namespace())?;
    let selects = |selector: &&Labels| {
        !selector.is_empty() && selector.iter().all(|(key, value)| pod.label(key) == Some(value))
    };
    let labels: BTreeMap<&String, &String> = services.values().filter(selects).flatten().collect();
    let requirement = |(key, value): (&String, &String)| Requirement {
        key: key.clone(),
        requires: Requires::Equals(value.clone()),
    };
    (!labels.is_empty()).then(|| Selector::All(labels.into_iter().map(requirement).collect()))
}

fn conflict(pod: &Pod, snapshot: &Snapshot, circumstances: &Circumstances) -> Decision {
    let failure = Failure {
        nodes_total: snapshot.nodes_total(),
        looked_at: LookedAt::TermsConflict,
        preemption: match preemption::is_out_of_the_question(pod, snapshot, &[]) {
            Some(why) => why,
            None => PreemptionTried::InVain(Vec::new()),
        },
    };
    let incoming = Incoming::of(pod, &circumstances.namespaces);
    // No Node can match: only a change of the Pod itself helps.
    let nodes = Where::Only(BTreeSet::new());
    let until = Until { nodes, waiting: Waiting::after(&incoming, []) };
    Decision::Wait { failure, until, promise: Promise::Withdrawn }
}

fn nowhere(
    mut incoming: Incoming<'_>,
    place: Where,
    refused: Vec<Refused>,
    snapshot: &Snapshot,
    circumstances: &Circumstances,
) -> Decision {
    let outcome = preemption::look_for_victims(&mut incoming, &refused, snapshot, &circumstances.budgets);
    let reasons = refused.iter().flat_map(|refused| &refused.reasons);
    let until = Until { nodes: place, waiting: Waiting::after(&incoming, reasons) };
    let failure = |preemption| Failure {
        nodes_total: snapshot.nodes_total(),
        looked_at: LookedAt::Nodes(refused.into_iter().map(|refused| refused.reasons).collect()),
        preemption,
    };
    match outcome {
        Outcome::Room { node, victims } => {
            Decision::Preempt { node, victims, failure: failure(PreemptionTried::Promised), until }
        }
        Outcome::OutOfTheQuestion(why) => {
            Decision::Wait { failure: failure(why), until, promise: Promise::Kept }
        }
        Outcome::InVain(stuck) => Decision::Wait {
            failure: failure(PreemptionTried::InVain(stuck)),
            until,
            promise: Promise::Withdrawn,
        },
    }
}

#[cfg(test)]
mod tests;
