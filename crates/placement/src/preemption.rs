//! Whose leaving would let a Pod in, and on which Node that costs least.
//!
//! On one Node: all Pods of lower priority are thought away; if the Pod then fits, as many as possible are taken back, those
//! first whose leaving a disruption budget forbids, and among them the more important ones first ([`victims`]). Of several
//! Nodes the one is chosen that breaks the fewest budgets and loses the least important Pods ([`choose`]). Budgets are
//! respected where possible, no further. Nobody is removed here.
//!
//! Upstream: the DefaultPreemption plugin's SelectVictimsOnNode and pickOneNodeForPreemption. DIFFERS(scheduler): what is
//! equal to the end is told apart by name.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use api::label::Selector;
use api::meta::Meta;
use api::well_known::pod_condition;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::incoming::Incoming;
use crate::load::NodeLoad;
use crate::resident::Resident;
use crate::unfit::{Preemption, Unfit};

/// Reason of the DisruptionTarget condition that a victim gets before it is deleted.
pub const BY_SCHEDULER: &str = "PreemptionByScheduler";

/// The disruption budgets of the cluster.
#[derive(Debug, Clone, Default)]
pub struct Budgets(Vec<Budget>);

#[derive(Debug, Clone)]
struct Budget {
    namespace: String,
    pods: Selector,
    allowed: i32,
    /// Already on their way out, and counted.
    disrupted: BTreeSet<String>,
}

/// Who has to leave a Node, the most important first.
#[derive(Debug, Clone)]
pub struct Victims<'a> {
    pub pods: Vec<&'a Pod>,
    /// How many of them a disruption budget would keep.
    pub violations: usize,
}

/// Why nobody's leaving would help on a Node that seemed worth a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stuck {
    /// There is no Pod of lower priority.
    NoVictims,
    /// It would not fit even without them.
    StillUnfit(Vec<Unfit>),
}

impl Budgets {
    pub fn of<'a>(budgets: impl IntoIterator<Item = &'a PodDisruptionBudget>) -> Self {
        let of = |budget: &PodDisruptionBudget| {
            let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            let pods = Selector::from_optional(selector).ok().filter(|pods| !pods.is_everything())?;
            let status = budget.status.as_ref();
            Some(Budget {
                namespace: budget.namespace().to_owned(),
                pods,
                allowed: status.map(|status| status.disruptions_allowed).unwrap_or_default(),
                disrupted: status
                    .and_then(|status| status.disrupted_pods.as_ref())
                    .map(|pods| pods.keys().cloned().collect())
                    .unwrap_or_default(),
            })
        };
        Budgets(budgets.into_iter().filter_map(of).collect())
    }

    /// Those that their budgets let go, and those that they keep. Each is counted as if the ones before it went too.
    fn part<'a>(&self, pods: Vec<Resident<'a>>) -> (Vec<Resident<'a>>, Vec<Resident<'a>>) {
        let mut left: Vec<i32> = self.0.iter().map(|budget| budget.allowed).collect();
        pods.into_iter().partition(|resident| {
            let mut may_go = true;
            for (budget, left) in self.0.iter().zip(&mut left) {
                if budget.counts(resident.pod) {
                    *left = left.saturating_sub(1);
                    may_go &= *left >= 0;
                }
            }
            may_go
        })
    }
}

impl Budget {
    fn counts(&self, pod: &Pod) -> bool {
        !pod.labels().is_empty()
            && self.namespace == pod.namespace()
            && self.pods.matches(pod.labels())
            && !self.disrupted.contains(pod.name())
    }
}

/// Could somebody's leaving help on a Node that gave these reasons?
pub fn may_help(reasons: &[Unfit]) -> bool {
    !reasons.is_empty() && reasons.iter().all(|reason| reason.preemption() == Preemption::MayHelp)
}

/// A Pod that the scheduler has sent away and that is not gone yet.
pub fn is_leaving_by_preemption(pod: &Pod) -> bool {
    let condition = api::pod::condition(pod, pod_condition::DISRUPTION_TARGET);
    pod.is_deleting()
        && condition.is_some_and(|c| c.status == "True" && c.reason.as_deref() == Some(BY_SCHEDULER))
}

/// Who has to leave this Node for the Pod to fit, beside those that were promised their place there. What `incoming` has
/// counted is as before when this returns.
pub fn victims<'a>(
    incoming: &mut Incoming<'_>,
    node: &Node,
    load: &NodeLoad,
    there: &[Resident<'a>],
    promised: &[Resident<'_>],
    budgets: &Budgets,
) -> Result<Victims<'a>, Stuck> {
    let priority = api::pod::priority(incoming.pod);
    let mut weaker: Vec<Resident<'a>> =
        there.iter().copied().filter(|resident| api::pod::priority(resident.pod) < priority).collect();
    if weaker.is_empty() {
        return Err(Stuck::NoVictims);
    }
    weaker.sort_by(|a, b| importance(b.pod).cmp(&importance(a.pod)));
    let mut trial = Trial { incoming, node, load: load.clone(), promised };
    weaker.iter().for_each(|resident| trial.take_out(*resident));
    let without_all = trial.fits();
    let mut victims: Vec<Resident<'a>> = Vec::new();
    let mut violations = 0;
    if without_all.is_ok() {
        let (may_go, kept) = budgets.part(weaker.clone());
        for (resident, violates) in kept.into_iter().map(|r| (r, 1)).chain(may_go.into_iter().map(|r| (r, 0)))
        {
            trial.put_back(resident);
            if trial.fits().is_err() {
                trial.take_out(resident);
                victims.push(resident);
                violations += violates;
            }
        }
        victims.iter().for_each(|resident| trial.put_back(*resident));
    } else {
        weaker.iter().for_each(|resident| trial.put_back(*resident));
    }
    without_all.map_err(Stuck::StillUnfit)?;
    if victims.is_empty() {
        return Err(Stuck::NoVictims);
    }
    let mut pods: Vec<&'a Pod> = victims.iter().map(|resident| resident.pod).collect();
    pods.sort_by(|a, b| importance(b).cmp(&importance(a)));
    Ok(Victims { pods, violations })
}

/// Which of these Nodes' offers costs least: the index. Their order decides among equals.
pub fn choose(offers: &[Victims<'_>]) -> Option<usize> {
    let cost = |victims: &Victims<'_>| {
        let highest = victims.pods.iter().map(|pod| api::pod::priority(pod)).max().unwrap_or(i32::MIN);
        // Each Pod counts, also one of priority zero or below.
        let sum: i64 = victims.pods.iter().map(|pod| i64::from(api::pod::priority(pod)) + (1 << 31)).sum();
        let of_the_highest = victims.pods.iter().filter(|pod| api::pod::priority(pod) == highest);
        let earliest_start = of_the_highest.map(|pod| started(pod)).min();
        (victims.violations, highest, sum, victims.pods.len(), Reverse(earliest_start))
    };
    (0..offers.len()).min_by_key(|index| cost(&offers[*index]))
}

/// A Node with some of its Pods thought away.
struct Trial<'t, 'p, 'r> {
    incoming: &'t mut Incoming<'p>,
    node: &'t Node,
    load: NodeLoad,
    promised: &'t [Resident<'r>],
}

impl Trial<'_, '_, '_> {
    fn take_out(&mut self, resident: Resident<'_>) {
        self.load.remove(resident.demand);
        self.incoming.remove(self.node, resident);
    }

    fn put_back(&mut self, resident: Resident<'_>) {
        self.load.add(resident.demand);
        self.incoming.add(self.node, resident);
    }

    fn fits(&mut self) -> Result<(), Vec<Unfit>> {
        self.incoming.fits_beside(self.node, &self.load, self.promised)
    }
}

/// Higher priority first, then whoever has run for longer; names decide among equals.
fn importance(pod: &Pod) -> (i32, Reverse<Started>, Reverse<(&str, &str)>) {
    (api::pod::priority(pod), Reverse(started(pod)), Reverse((pod.namespace(), pod.name())))
}

/// When a Pod was started; one that was not yet is the youngest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Started {
    At(Timestamp),
    NotYet,
}

fn started(pod: &Pod) -> Started {
    let time = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    time.map_or(Started::NotYet, |time| Started::At(time.0))
}
