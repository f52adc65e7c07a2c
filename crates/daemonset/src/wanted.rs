//! A DaemonSet as the planner reads it: parsed once per edit, legal from then on.
//!
//! What a wire object may leave open is decided here: defaults of the update strategy, a budget that is exactly one of
//! unavailable and surge, limits that are never negative. Upstream: `pkg/controller/daemon/util`.

use std::sync::Arc;

use api::int_or_percent::{IntOrPercent, Rounding};
use api::label::{Selector, SelectorError};
use api::meta::Meta;
use api::well_known::daemon_set as names;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus, DaemonSetUpdateStrategy};
use k8s_openapi::api::core::v1::{PodTemplateSpec, Toleration};

use crate::template;

/// Revisions kept when the DaemonSet does not say.
const REVISION_HISTORY_LIMIT_DEFAULT: i32 = 10;

/// What a DaemonSet asks for.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub generation: i64,
    pub selector: Selector,
    pub template: Arc<PodTemplateSpec>,
    /// The template's tolerations with those that every daemon Pod gets.
    pub tolerations: Vec<Toleration>,
    pub strategy: Strategy,
    pub min_ready_seconds: i32,
    pub old_revisions_max: usize,
    /// From the annotation that carries it through apps/v1; `None` if it does not parse.
    pub template_generation: Option<i64>,
    pub status: DaemonSetStatus,
    pub life: Life,
    /// The object itself, for owner references and for writing the status.
    pub object: Arc<DaemonSet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Alive,
    /// Its deletion has been asked for: the controller lets go of everything.
    Deleting,
}

/// How Pods of an older template are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Only when someone deletes them.
    OnDelete,
    /// Delete, then create, with so many Nodes unavailable at a time.
    Unavailable(IntOrPercent),
    /// Create beside the old Pod, on so many Nodes at a time; the old one goes when the new one is available.
    Surge(IntOrPercent),
}

/// A DaemonSet that cannot be planned for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WantedError {
    #[error("daemonset {namespace}/{name} has no spec")]
    NoSpec { namespace: String, name: String },
    #[error("selector of daemonset {namespace}/{name}")]
    Selector { namespace: String, name: String, source: SelectorError },
}

impl Wanted {
    pub fn parse(object: Arc<DaemonSet>) -> Result<Self, WantedError> {
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        let Some(spec) = object.spec.as_ref() else {
            return Err(WantedError::NoSpec { namespace, name });
        };
        let selector = match Selector::from_label_selector(&spec.selector) {
            Ok(selector) => selector,
            Err(source) => return Err(WantedError::Selector { namespace, name, source }),
        };
        let limit = spec.revision_history_limit.unwrap_or(REVISION_HISTORY_LIMIT_DEFAULT);
        let no_spec = Default::default();
        let pod_spec = spec.template.spec.as_ref().unwrap_or(&no_spec);
        Ok(Wanted {
            uid: object.uid().to_owned(),
            generation: object.generation(),
            selector,
            template: Arc::new(spec.template.clone()),
            tolerations: template::tolerations(pod_spec),
            strategy: Strategy::parse(spec.update_strategy.as_ref()),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or_default().max(0),
            old_revisions_max: usize::try_from(limit).unwrap_or_default(),
            template_generation: object
                .annotation(names::TEMPLATE_GENERATION_ANNOTATION)
                .and_then(|text| text.parse().ok()),
            status: object.status.clone().unwrap_or_default(),
            life: if object.is_deleting() { Life::Deleting } else { Life::Alive },
            namespace,
            name,
            object,
        })
    }

    pub fn observed_generation(&self) -> i64 {
        self.status.observed_generation.unwrap_or_default()
    }
}

impl Strategy {
    /// A budget that does not parse is treated as one Node: the API refuses it, so it can only be a foreign server's.
    fn parse(strategy: Option<&DaemonSetUpdateStrategy>) -> Self {
        let Some(strategy) = strategy else { return Strategy::Unavailable(IntOrPercent::Int(1)) };
        if strategy.type_.as_deref() == Some(names::ON_DELETE) {
            return Strategy::OnDelete;
        }
        let rolling = strategy.rolling_update.as_ref();
        let read = |value: Option<&_>, absent| {
            value.map_or(absent, |v| IntOrPercent::try_from(v).unwrap_or(IntOrPercent::Int(1)))
        };
        let surge = read(rolling.and_then(|r| r.max_surge.as_ref()), IntOrPercent::Int(0));
        if surge.scaled(1, Rounding::Up) > 0 {
            return Strategy::Surge(surge);
        }
        Strategy::Unavailable(read(rolling.and_then(|r| r.max_unavailable.as_ref()), IntOrPercent::Int(1)))
    }

    /// How many Nodes may be unavailable (or surging) at a time, of so many that should run a Pod. Rounded up.
    pub fn budget(self, desired: u32) -> u32 {
        let scaled = |share: IntOrPercent| {
            u32::try_from(share.scaled(i64::from(desired), Rounding::Up).max(0)).unwrap_or(u32::MAX)
        };
        match self {
            Strategy::OnDelete => 0,
            // Both budgets zero would never move: upstream then takes one Node.
            Strategy::Unavailable(share) if desired > 0 => scaled(share).max(1),
            Strategy::Unavailable(share) | Strategy::Surge(share) => scaled(share),
        }
    }
}
