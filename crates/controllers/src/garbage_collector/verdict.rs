//! What becomes of one object, given what the API says of it and of its owners. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PropagationPolicy;

use super::graph::{Standing, Uid};

/// What the API says of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerState {
    /// It is there, with this uid.
    There,
    /// It is there, deleted in the foreground, and waits for its dependents.
    AwaitingDependents,
    /// There is none with this uid where the reference looks for it.
    Gone,
}

/// What the graph says of an object's own dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependents {
    None,
    Some,
    /// Some of them wait for their own dependents: perhaps for each other.
    SomeAwaiting,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Keep,
    /// It waits for its blocking dependents: see whether any is left.
    CheckDependents,
    /// It has an owner that lives: take these others out of its references.
    StripOwners(Vec<Uid>),
    /// It goes. `Unblock::Yes`: first it stops holding up its owners, to break a possible cycle.
    Delete {
        propagation: PropagationPolicy,
        unblock: Unblock,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unblock {
    No,
    Yes,
}

/// How an object that has lost its owners is deleted: as its own finalizers ask.
pub fn propagation_of(finalizers: &[String]) -> PropagationPolicy {
    use api::well_known::finalizer::{FOREGROUND, ORPHAN};
    let holds = |wanted: &str| finalizers.iter().any(|held| held == wanted);
    if holds(ORPHAN) {
        PropagationPolicy::Orphan
    } else if holds(FOREGROUND) {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    }
}

pub fn judge(
    standing: Standing,
    owners: &[(OwnerReference, OwnerState)],
    finalizers: &[String],
    dependents: Dependents,
) -> Verdict {
    match standing {
        Standing::AwaitingDependents => return Verdict::CheckDependents,
        Standing::Deleting | Standing::Orphaning => return Verdict::Keep,
        Standing::Living => {}
    }
    let any = |wanted| owners.iter().any(|(_, state)| *state == wanted);
    if owners.is_empty() {
        return Verdict::Keep;
    }
    if any(OwnerState::There) {
        let others: Vec<Uid> = owners
            .iter()
            .filter(|(_, state)| *state != OwnerState::There)
            .map(|(owner, _)| owner.uid.clone())
            .collect();
        return if others.is_empty() { Verdict::Keep } else { Verdict::StripOwners(others) };
    }
    if any(OwnerState::AwaitingDependents) && dependents != Dependents::None {
        // The owner waits for all that is below it: this object must wait for its own in turn.
        let unblock = match dependents {
            Dependents::SomeAwaiting => Unblock::Yes,
            Dependents::None | Dependents::Some => Unblock::No,
        };
        return Verdict::Delete { propagation: PropagationPolicy::Foreground, unblock };
    }
    Verdict::Delete { propagation: propagation_of(finalizers), unblock: Unblock::No }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OwnerState::{AwaitingDependents, Gone, There};

    fn owners(states: &[OwnerState]) -> Vec<(OwnerReference, OwnerState)> {
        let reference = |i: usize| OwnerReference { uid: format!("owner-{i}"), ..OwnerReference::default() };
        states.iter().enumerate().map(|(i, state)| (reference(i), *state)).collect()
    }

    fn check(states: &[OwnerState], finalizers: &[&str], dependents: Dependents) -> Verdict {
        let finalizers: Vec<String> = finalizers.iter().map(|&finalizer| finalizer.into()).collect();
        judge(Standing::Living, &owners(states), &finalizers, dependents)
    }

    fn delete(propagation: PropagationPolicy, unblock: Unblock) -> Verdict {
        Verdict::Delete { propagation, unblock }
    }

    #[test]
    fn one_living_owner_keeps_an_object_and_the_others_are_stripped() {
        assert_eq!(check(&[], &[], Dependents::None), Verdict::Keep);
        assert_eq!(check(&[There], &[], Dependents::Some), Verdict::Keep);
        let strip = Verdict::StripOwners(vec!["owner-0".into(), "owner-2".into()]);
        assert_eq!(check(&[Gone, There, AwaitingDependents], &[], Dependents::None), strip);
    }

    #[test]
    fn an_object_whose_owners_are_all_gone_goes_as_its_finalizers_ask() {
        use PropagationPolicy::{Background, Foreground, Orphan};
        assert_eq!(check(&[Gone, Gone], &[], Dependents::Some), delete(Background, Unblock::No));
        assert_eq!(
            check(&[Gone], &["foregroundDeletion"], Dependents::None),
            delete(Foreground, Unblock::No)
        );
        assert_eq!(check(&[Gone], &["orphan"], Dependents::None), delete(Orphan, Unblock::No));
    }

    #[test]
    fn below_an_owner_that_waits_deletion_goes_on_in_the_foreground_and_cycles_are_broken() {
        use PropagationPolicy::{Background, Foreground};
        let waiting = [AwaitingDependents, Gone];
        assert_eq!(check(&waiting, &[], Dependents::None), delete(Background, Unblock::No));
        assert_eq!(check(&waiting, &[], Dependents::Some), delete(Foreground, Unblock::No));
        assert_eq!(check(&waiting, &[], Dependents::SomeAwaiting), delete(Foreground, Unblock::Yes));
    }

    #[test]
    fn what_is_on_its_way_out_is_left_to_itself_or_checked_for_dependents() {
        let gone = owners(&[Gone]);
        for standing in [Standing::Deleting, Standing::Orphaning] {
            assert_eq!(judge(standing, &gone, &[], Dependents::Some), Verdict::Keep);
        }
        let waiting = judge(Standing::AwaitingDependents, &gone, &[], Dependents::None);
        assert_eq!(waiting, Verdict::CheckDependents);
    }
}
