//! What a PodDisruptionBudget lets go: the verdict on one eviction, and the condition by which a budget tells how it stands.
//!
//! Knows the Pod and its one budget; who finds the budget, counts Pods or writes the status is elsewhere. Upstream:
//! `pkg/registry/core/pod/storage/eviction.go`, `k8s.io/component-helpers/apps/poddisruptionbudget`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::meta::Meta;
use crate::pod::{is_ready, is_terminal, phase};
use crate::well_known::pod_phase;

/// Type of the condition.
pub const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";
/// Its reason while the budget could not be counted.
pub const SYNC_FAILED: &str = "SyncFailed";
const SUFFICIENT_PODS: &str = "SufficientPods";
const INSUFFICIENT_PODS: &str = "InsufficientPods";

/// Evictions that may wait for their confirmation in one budget: upstream's MaxDisruptedPodSize.
pub const DISRUPTED_PODS_MAX: usize = 2_000;

/// What a budget says to the eviction of one of its Pods.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The Pod is not healthy and takes nothing from the budget, as long as it stays as it was looked at.
    Uncounted,
    /// It takes one: this is the budget afterwards.
    Taken(Box<PodDisruptionBudget>),
    Refused(Refusal),
}

/// Why a budget does not let a Pod go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("The disruption budget {budget} is still being processed by the server.")]
    Unprocessed { budget: String },
    #[error("The disruption budget {budget} needs {needed} healthy pods and has {healthy} currently")]
    Insufficient { budget: String, needed: i32, healthy: i32 },
    #[error(
        "The disruption budget {budget} does not allow evicting pods currently because it failed sync: {why}"
    )]
    Uncounted { budget: String, why: String },
    #[error("pdb disruptions allowed is negative")]
    Negative { budget: String },
    #[error("DisruptedPods map too big - too many evictions not confirmed by PDB controller")]
    TooManyUnconfirmed { budget: String },
}

/// No budget is asked for a Pod that serves nobody: not yet running, ended, or on its way out.
pub fn needs_no_budget(pod: &Pod) -> bool {
    is_terminal(pod) || phase(pod) == pod_phase::PENDING || pod.is_deleting()
}

/// The one budget's word on evicting this Pod.
pub fn verdict(budget: &PodDisruptionBudget, pod: &Pod, now: Timestamp) -> Verdict {
    let status = budget.status.clone().unwrap_or_default();
    if !is_ready(pod) {
        let policy = budget.spec.as_ref().and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
        let enough = status.current_healthy >= status.desired_healthy && status.desired_healthy > 0;
        if policy == Some("AlwaysAllow") || enough {
            return Verdict::Uncounted;
        }
    }
    match taken(budget, status, pod.name(), now) {
        Ok(after) => Verdict::Taken(Box::new(after)),
        Err(refusal) => Verdict::Refused(refusal),
    }
}

fn taken(
    budget: &PodDisruptionBudget,
    mut status: PodDisruptionBudgetStatus,
    pod: &str,
    now: Timestamp,
) -> Result<PodDisruptionBudget, Refusal> {
    let name = || budget.name().to_owned();
    if status.observed_generation.unwrap_or(0) < budget.generation() {
        return Err(Refusal::Unprocessed { budget: name() });
    }
    if status.disruptions_allowed < 0 {
        return Err(Refusal::Negative { budget: name() });
    }
    if status.disrupted_pods.as_ref().is_some_and(|pods| pods.len() > DISRUPTED_PODS_MAX) {
        return Err(Refusal::TooManyUnconfirmed { budget: name() });
    }
    if status.disruptions_allowed == 0 {
        let failed =
            condition(&status).filter(|known| known.status == "False" && known.reason == SYNC_FAILED);
        return Err(match failed {
            Some(failed) => Refusal::Uncounted { budget: name(), why: failed.message.clone() },
            None => Refusal::Insufficient {
                budget: name(),
                needed: status.desired_healthy,
                healthy: status.current_healthy,
            },
        });
    }
    status.disruptions_allowed -= 1;
    if status.disruptions_allowed == 0 {
        tell(&mut status, now);
    }
    status.disrupted_pods.get_or_insert_default().insert(pod.to_owned(), Time(whole(now)));
    Ok(PodDisruptionBudget { status: Some(status), ..budget.clone() })
}

/// The condition of a budget, if it was told yet.
pub fn condition(status: &PodDisruptionBudgetStatus) -> Option<&Condition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == DISRUPTION_ALLOWED)
}

/// Sets the condition by what is allowed.
pub fn tell(status: &mut PodDisruptionBudgetStatus, now: Timestamp) {
    let (word, reason) = told(status);
    set(status, word, reason, String::new(), now);
}

/// Whether the condition says what is allowed, of this generation.
pub fn is_told(status: &PodDisruptionBudgetStatus, generation: i64) -> bool {
    let (word, reason) = told(status);
    status.observed_generation == Some(generation)
        && condition(status).is_some_and(|known| known.status == word && known.reason == reason)
}

/// Sets the condition of a budget that could not be counted; nothing is allowed.
pub fn tell_failure(status: &mut PodDisruptionBudgetStatus, why: &str, now: Timestamp) {
    status.disruptions_allowed = 0;
    set(status, "False", SYNC_FAILED, why.to_owned(), now);
}

fn told(status: &PodDisruptionBudgetStatus) -> (&'static str, &'static str) {
    if status.disruptions_allowed > 0 { ("True", SUFFICIENT_PODS) } else { ("False", INSUFFICIENT_PODS) }
}

fn set(status: &mut PodDisruptionBudgetStatus, word: &str, reason: &str, message: String, now: Timestamp) {
    let generation = status.observed_generation;
    let conditions = status.conditions.get_or_insert_default();
    let known = conditions.iter().position(|known| known.type_ == DISRUPTION_ALLOWED);
    let since = known.map(|at| &conditions[at]).filter(|known| known.status == word);
    let since = since.map_or_else(|| Time(whole(now)), |known| known.last_transition_time.clone());
    let condition = Condition {
        type_: DISRUPTION_ALLOWED.to_owned(),
        status: word.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: since,
    };
    match known {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

/// Times in status have whole seconds.
fn whole(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests;
