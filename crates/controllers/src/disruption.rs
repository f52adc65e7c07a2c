//! The status of PodDisruptionBudgets: how many Pods each counts, how many are healthy, how many may go.
//!
//! A budget is counted again when it changes, when a Pod of it changes in what counts ([`Member`]), and when an
//! eviction that was let go is not confirmed in time. What cannot be counted allows nothing and says why. The numbers are
//! [`count`]'s, which is pure. Marks of disruptions that did not come are taken back ([`stale`]). Upstream: the
//! disruption controller.

mod count;
mod stale;

use std::sync::Arc;

use api::disruption;
use api::label::Selector;
use api::meta::Meta;
use client::cache::Change;
use client::events::Severity;
use client::queue::Outcome;
use client::write::{self, Class, WriteError};
use client::{Cache, ObjectKey, Recorder, WorkQueue};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use parking_lot::Mutex;

use crate::Context;
use crate::selected::Selected;
use count::{Count, Member, count};

/// What the controller works with.
struct Counting {
    context: Context,
    budgets: Cache<PodDisruptionBudget>,
    members: Mutex<Selected<Member>>,
    queue: WorkQueue<ObjectKey>,
    /// Pods that are marked for a disruption.
    marked: WorkQueue<ObjectKey>,
    recorder: Recorder,
}

pub async fn run(context: Context) {
    let scope = context.scope();
    let context = scope.context().clone();
    let budgets = Cache::<PodDisruptionBudget>::builder(Api::all(context.client.clone()))
        .clock(context.clock.clone())
        .start(&context.tasks);
    let shutdown = context.shutdown().clone();
    tokio::select! {
        // Nothing has been begun before the caches are there.
        () = shutdown.cancelled() => return,
        () = async { context.pods.synced().await; budgets.synced().await; } => {}
    }
    let counting = Counting {
        recorder: context.recorder("controllermanager"),
        queue: WorkQueue::new(context.clock.clone()),
        marked: WorkQueue::new(context.clock.clone()),
        members: Mutex::default(),
        budgets,
        context,
    };
    tokio::select! {
        // `work` returns at shutdown, after the item in hand; the feed holds nothing.
        _ = async {
            tokio::join!(
                counting.queue.work(&shutdown, |key| counting.reconcile(key)),
                counting.marked.work(&shutdown, |key| stale::look(&counting.context, key)),
            )
        } => {}
        () = counting.feed() => {}
    }
}

impl Counting {
    async fn feed(&self) {
        let mut budgets = self.budgets.subscribe();
        let mut pods = self.context.pods.subscribe();
        loop {
            tokio::select! {
                // Changes that are not taken stay in their inbox. Budgets first: a Pod is for those that are known.
                biased;
                change = budgets.next() => self.budget_changed(&change),
                change = pods.next() => {
                    if change.after.as_deref().is_some_and(stale::is_marked) {
                        self.marked.add(change.key.clone());
                    }
                    let row = |pod: &Pod| Some(Member::of(pod));
                    let touched = self.members.lock().pod(&change.key, change.after.as_deref(), row);
                    for budget in touched {
                        self.queue.add(budget);
                    }
                }
            }
        }
    }

    fn budget_changed(&self, change: &Change<PodDisruptionBudget>) {
        let mut members = self.members.lock();
        match &change.after {
            None => members.forget(&change.key),
            Some(budget) => {
                let selector = selector(budget);
                if !members.has(&change.key, &selector) {
                    let pods = self.context.pods.in_namespace(&change.key.namespace);
                    members.select(&change.key, selector, &pods, |pod| Some(Member::of(pod)));
                }
            }
        }
        self.queue.add(change.key.clone());
    }

    async fn reconcile(&self, key: ObjectKey) -> Outcome {
        let Some(budget) = self.budgets.get(&key) else { return Outcome::Done };
        let Some(members) = self.members.lock().rows(&key) else { return Outcome::Done };
        let now = self.context.clock.now();
        let counted = count(&budget, &members, now);
        let old = budget.status.clone().unwrap_or_default();
        let status = match &counted {
            Ok(Count { status, .. }) => status.clone(),
            Err(error) => {
                let mut status = old.clone();
                disruption::tell_failure(&mut status, &error.to_string(), now);
                status
            }
        };
        if status != old {
            match self.write(&budget, status).await {
                Ok(()) => {}
                Err(error) => return after_failure(&key, &error),
            }
            self.tell(&budget, &members, &counted);
        }
        match counted.ok().and_then(|count| count.look_again) {
            Some(after) => Outcome::Again(after),
            None => Outcome::Done,
        }
    }

    async fn write(
        &self,
        budget: &PodDisruptionBudget,
        status: k8s_openapi::api::policy::v1::PodDisruptionBudgetStatus,
    ) -> Result<(), WriteError> {
        tracing::info!(
            budget = %ObjectKey::of(&budget.metadata),
            allowed = status.disruptions_allowed,
            healthy = status.current_healthy,
            desired = status.desired_healthy,
            "disruption budget counted"
        );
        let api: Api<PodDisruptionBudget> = Api::namespaced(self.context.client.clone(), budget.namespace());
        let written = PodDisruptionBudget { status: Some(status), ..budget.clone() };
        write::replace_status(&api, &written).await.map(drop)
    }

    /// Upstream's events, once a change instead of once a look.
    fn tell(
        &self,
        budget: &Arc<PodDisruptionBudget>,
        members: &[(String, Member)],
        counted: &Result<Count, count::Uncountable>,
    ) {
        let say = |severity, reason: &str, message: &str| {
            self.recorder.about(budget.as_ref(), severity, reason, message);
        };
        if members.is_empty() {
            say(Severity::Normal, "NoPods", "No matching pods found");
        }
        match counted {
            Err(error) => say(
                Severity::Warning,
                "CalculateExpectedPodCountFailed",
                &format!("Failed to calculate the number of expected pods: {error}"),
            ),
            Ok(count) => {
                if count.has_unmanaged {
                    say(
                        Severity::Warning,
                        "UnmanagedPods",
                        "Pods selected by this PodDisruptionBudget were found to be unmanaged. As a result, the status \
                         of the PDB cannot be calculated correctly, which may result in undefined behavior. To account \
                         for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.",
                    );
                }
                for pod in &count.overdue {
                    tracing::warn!(pod, budget = %ObjectKey::of(&budget.metadata), "an evicted pod was not deleted");
                }
            }
        }
    }
}

/// Absent, as invalid: nothing. Empty: every Pod of the namespace.
fn selector(budget: &PodDisruptionBudget) -> Selector {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    Selector::from_optional(selector).unwrap_or(Selector::Nothing)
}

fn after_failure(key: &ObjectKey, error: &WriteError) -> Outcome {
    match error.class() {
        Class::Missing | Class::NamespaceTerminating => Outcome::Done,
        Class::Retry(after) => Outcome::FailedFor(*after),
        // An eviction took from it meanwhile, or the spec changed.
        Class::Stale | Class::Exists => Outcome::Failed,
        Class::Fatal(_) => {
            tracing::warn!(budget = %key, error = %error.cause(), "{error}");
            Outcome::Failed
        }
    }
}
