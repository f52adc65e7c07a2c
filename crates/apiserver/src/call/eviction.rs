//! Eviction: a deletion that asks the Pod's disruption budget first.
//!
//! The one budget that selects the Pod is decremented, the Pod is told by its condition that it is evicted, then it is
//! deleted as it would be by hand. What the budget says is `api::disruption`'s. Upstream:
//! `pkg/registry/core/pod/storage/eviction.go`.

use std::sync::Arc;

use api::disruption::{self, Refusal, Verdict};
use api::label::Selector;
use api::well_known::pod_condition;
use bytes::Bytes;
use http::{Response, StatusCode};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use store::Expect;

use api::meta::Meta;

use super::{Committed, Stored};
use crate::body::Body;
use crate::decode::{Payload, decode};
use crate::error::{self, ApiError};
use crate::kinds;
use crate::limits::CONFLICT_TRIES_MAX;
use crate::object::Object;
use crate::options::{Deletion, Persistence, WriteOptions};
use crate::pipeline::{stored, typed};

/// Retry-After of an eviction that may be possible in a moment: upstream's.
const LATER_SECONDS: i32 = 10;

/// How an eviction that no budget holds goes on.
enum Leave {
    AsAsked,
    /// Only while the Pod is as the budget was asked for it; otherwise the budget of this name is asked again.
    Unchanged {
        budget: String,
    },
}

impl Stored<'_> {
    pub(super) async fn evict(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        let options = WriteOptions::parse(&self.call.query, "CreateOptions")?;
        let mut payload = Payload::read(&self.call.headers, body, "Eviction")?;
        // COMPAT(policy/v1beta1): clients of before 1.22 send it in this version; there is only one shape.
        if payload.type_meta("Eviction")?.api_version.as_deref() == Some("policy/v1beta1") {
            let mut value = payload.into_value("Eviction")?;
            value["apiVersion"] = "policy/v1".into();
            payload = Payload::Value(value);
        }
        let described = super::subresource::body_kind("policy", "Eviction");
        payload.expect_kind(&described)?;
        let eviction: Eviction =
            decode(&payload, &described, options.field_validation, &mut |text| self.call.warn(text))?;
        let name = self.call.target.name.as_str();
        if eviction.metadata.name.as_deref() != Some(name) {
            return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
        }
        let mut deletion =
            Deletion::parse(&self.call.query, Some(eviction.delete_options.unwrap_or_default()))?;
        if options.persistence == Persistence::DryRun {
            deletion.persistence = Persistence::DryRun;
        }
        deletion.resource_version = deletion.resource_version.filter(|version| !version.is_empty());
        self.evict_as(name, &deletion).await?;
        self.json_answer(StatusCode::CREATED, &error::created())
    }

    async fn evict_as(&self, name: &str, deletion: &Deletion) -> Result<(), ApiError> {
        let mut refusal = None;
        for _ in 0..CONFLICT_TRIES_MAX {
            let current = self.current(name).await?;
            self.restrict(name, &current)?;
            let pod: Pod = typed(&current)?;
            if !disruption::needs_no_budget(&pod) {
                return self.evict_within_budget(name, &current, &pod, deletion).await;
            }
            // One that is only beginning must not have become one that serves.
            let exact = if api::pod::is_terminal(&pod) || pod.is_deleting() {
                deletion.clone()
            } else {
                exactly(deletion, &current)
            };
            match self.condemn(name, exact).await {
                Err(conflict) if is_conflict(&conflict) && deletion.resource_version.is_none() => {
                    refusal = Some(conflict);
                }
                done => return done,
            }
        }
        Err(refusal.unwrap_or_else(|| ApiError::modified(self.call.resource, name)))
    }

    async fn evict_within_budget(
        &self,
        name: &str,
        current: &Object,
        pod: &Pod,
        deletion: &Deletion,
    ) -> Result<(), ApiError> {
        match self.ask_budget(pod, deletion.persistence).await? {
            Leave::AsAsked => self.condemn(name, deletion.clone()).await,
            Leave::Unchanged { budget } => match self.condemn(name, exactly(deletion, current)).await {
                Err(conflict) if is_conflict(&conflict) && deletion.resource_version.is_none() => {
                    Err(refused(Refusal::Unprocessed { budget }))
                }
                done => done,
            },
        }
    }

    /// Asks the one budget that selects the Pod, and takes from it.
    async fn ask_budget(&self, pod: &Pod, persistence: Persistence) -> Result<Leave, ApiError> {
        let Some(budgets) = self.budgets() else { return Ok(Leave::AsAsked) };
        let mut selecting = Vec::new();
        for object in budgets.window.list(&format!("{}/", pod.namespace()), |_| true).objects {
            let budget: PodDisruptionBudget = typed(&object)?;
            let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            // One with an invalid selector selects nothing.
            if Selector::from_optional(selector).is_ok_and(|selector| selector.matches(pod.labels())) {
                selecting.push((object, budget));
            }
        }
        let (mut object, mut budget) = match selecting.len() {
            0 => return Ok(Leave::AsAsked),
            1 => selecting.remove(0),
            _ => {
                return Err(ApiError::unclassified(
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ));
            }
        };
        let name = budget.name().to_owned();
        for _ in 0..CONFLICT_TRIES_MAX {
            let after = match disruption::verdict(&budget, pod, self.call.now()) {
                Verdict::Uncounted => return Ok(Leave::Unchanged { budget: name }),
                Verdict::Refused(refusal) => return Err(refused(refusal)),
                Verdict::Taken(after) => *after,
            };
            if persistence == Persistence::DryRun {
                return Ok(Leave::AsAsked);
            }
            let put = budgets
                .put_plain(
                    &name,
                    stored(after, object.managed(), self.call.now())?,
                    Expect::At(object.revision),
                )
                .await?;
            if let Committed::Done(_) = put {
                return Ok(Leave::AsAsked);
            }
            object = budgets.current(&name).await?;
            budget = typed(&object)?;
        }
        let why = format!("couldn't update PodDisruptionBudget {name:?} due to conflicts");
        Err(ApiError::timeout_for(&why, LATER_SECONDS))
    }

    /// The budgets of the namespace, as this call reads and writes them.
    fn budgets(&self) -> Option<Stored<'_>> {
        let resource = api::scheme::find("policy", "v1", "poddisruptionbudgets")?;
        Some(Stored {
            call: self.call,
            resource,
            strategy: kinds::strategy(resource)?,
            window: self.call.server.windows.window(resource.plural)?,
            shape: self.shape,
        })
    }

    /// Says on the Pod why it goes, and deletes it.
    async fn condemn(&self, name: &str, mut deletion: Deletion) -> Result<(), ApiError> {
        if deletion.persistence == Persistence::Stored {
            let told = self.tell_eviction(name, &deletion).await?;
            // The version that was asked for is now the one that was just written.
            deletion.resource_version = deletion.resource_version.map(|_| told.revision_text());
        }
        self.delete_one(name, &deletion).await.map(drop)
    }

    async fn tell_eviction(&self, name: &str, deletion: &Deletion) -> Result<Arc<Object>, ApiError> {
        for _ in 0..CONFLICT_TRIES_MAX {
            let current = self.current(name).await?;
            let uid = current.header.uid();
            if let Some(asked) = deletion.uid.as_deref().filter(|asked| !asked.is_empty() && *asked != uid) {
                return Err(self.precondition("UID", asked, uid, "deleted and then recreated"));
            }
            let version = current.revision_text();
            if let Some(asked) = deletion.resource_version.as_deref().filter(|asked| *asked != version) {
                return Err(self.precondition("ResourceVersion", asked, &version, "modified"));
            }
            let mut pod: Pod = typed(&current)?;
            if !condemned(&mut pod, Time(self.call.now())) {
                return Ok(current);
            }
            if let Committed::Done(object) = self
                .put(name, stored(pod, current.managed(), self.call.now())?, Expect::At(current.revision))
                .await?
            {
                return Ok(object);
            }
        }
        Err(ApiError::modified(self.call.resource, name))
    }

    fn precondition(&self, what: &str, asked: &str, found: &str, perhaps: &str) -> ApiError {
        let why = format!(
            "the {what} in the precondition ({asked}) does not match the {what} in record ({found}). The object might \
             have been {perhaps}"
        );
        ApiError::conflict_of(self.resource, "Pod", &self.call.target.name, why)
    }
}

fn exactly(deletion: &Deletion, current: &Object) -> Deletion {
    let asked = deletion.resource_version.clone();
    Deletion { resource_version: asked.or_else(|| Some(current.revision_text())), ..deletion.clone() }
}

fn is_conflict(error: &ApiError) -> bool {
    error.code() == StatusCode::CONFLICT
}

fn refused(refusal: Refusal) -> ApiError {
    let cause = refusal.to_string();
    match refusal {
        Refusal::Unprocessed { .. } => ApiError::disruption_budget(cause, LATER_SECONDS),
        Refusal::Insufficient { .. } | Refusal::Uncounted { .. } => ApiError::disruption_budget(cause, 0),
        Refusal::Negative { budget } | Refusal::TooManyUnconfirmed { budget } => {
            ApiError::unauthorized_for("policy", "poddisruptionbudget", &budget, cause)
        }
    }
}

/// Whether the Pod's condition had to be changed to say that it is evicted.
fn condemned(pod: &mut Pod, now: Time) -> bool {
    let generation = pod.metadata.generation;
    let status = pod.status.get_or_insert_default();
    let tracked = status.observed_generation.is_some();
    let conditions = status.conditions.get_or_insert_default();
    let at = conditions.iter().position(|known| known.type_ == pod_condition::DISRUPTION_TARGET);
    let before = at.map(|at| conditions[at].clone());
    let since = before.as_ref().filter(|known| known.status == "True");
    let since = since.and_then(|known| known.last_transition_time.clone()).unwrap_or(now);
    let condition = PodCondition {
        type_: pod_condition::DISRUPTION_TARGET.to_owned(),
        status: "True".to_owned(),
        reason: Some("EvictionByEvictionAPI".to_owned()),
        message: Some("Eviction API: evicting".to_owned()),
        last_transition_time: Some(since),
        observed_generation: generation.filter(|_| tracked),
        ..PodCondition::default()
    };
    if before.as_ref() == Some(&condition) {
        return false;
    }
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
    true
}
