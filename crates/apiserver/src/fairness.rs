//! Who waits for whom: requests are sorted into levels with seats of their own, and share a level user by user.
//!
//! Decides the level of a request by who asks and for what, as upstream's suggested FlowSchemas do, and how many seats it
//! takes; [`seats`] hands them out. A level that is full makes its own users wait and nobody else: a greedy client
//! cannot hold up the nodes' leases.
//!
//! COMPAT(flowcontrol): levels are fixed and lend nothing; FlowSchemas and PriorityLevelConfigurations are not served.
//! Upstream: `apiserver/pkg/apis/flowcontrol/bootstrap/default.go`.

mod seats;

use std::sync::Arc;

use api::well_known::namespace::KUBE_SYSTEM;

use crate::access::User;
use crate::access::user::{CONTROLLERS_USER, MASTERS, NODES, SCHEDULER_USER, SERVICE_ACCOUNT_USER_PREFIX};
use crate::error::ApiError;
use crate::limits::{BODY_BYTES_MAX, SEAT_BODY_BYTES, SEAT_LISTED_OBJECTS, SEAT_WAIT_MAX, SEATS, WIDTH_MAX};
use crate::request::Target;
pub use seats::{Seat, Seats};

/// Upstream's priority levels, by upstream's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Administrators, and the server itself: nobody else's requests take their seats.
    Exempt,
    LeaderElection,
    /// A node's own object and lease: late ones make a node look dead.
    NodeHigh,
    /// Everything else that nodes ask for.
    System,
    WorkloadHigh,
    WorkloadLow,
    GlobalDefault,
}

impl Level {
    const ALL: [Level; 7] = [
        Level::Exempt,
        Level::LeaderElection,
        Level::NodeHigh,
        Level::System,
        Level::WorkloadHigh,
        Level::WorkloadLow,
        Level::GlobalDefault,
    ];

    /// Upstream's `nominalConcurrencyShares`; what is exempt has as many seats as all others.
    const fn shares(self) -> usize {
        match self {
            Level::Exempt => 240,
            Level::LeaderElection => 10,
            Level::NodeHigh => 40,
            Level::System => 30,
            Level::WorkloadHigh => 40,
            Level::WorkloadLow => 100,
            Level::GlobalDefault => 20,
        }
    }

    fn of(user: &User, target: &Target) -> Level {
        if user.is_in(MASTERS) {
            return Level::Exempt;
        }
        let account = user.name.strip_prefix(SERVICE_ACCOUNT_USER_PREFIX);
        let of_system = account.is_some_and(|account| account.split(':').next() == Some(KUBE_SYSTEM));
        let is_component = matches!(user.name.as_str(), CONTROLLERS_USER | SCHEDULER_USER);
        let is_lease = target.group == "coordination.k8s.io" && target.resource == "leases";
        let elects = is_lease && matches!(target.verb, "get" | "create" | "update");
        if elects && (account.is_some() || (is_component && target.namespace == KUBE_SYSTEM)) {
            return Level::LeaderElection;
        }
        if user.is_in(NODES) {
            let is_own = is_lease || (target.group.is_empty() && target.resource == "nodes");
            return if is_own { Level::NodeHigh } else { Level::System };
        }
        match account {
            _ if is_component || of_system => Level::WorkloadHigh,
            Some(_) => Level::WorkloadLow,
            None => Level::GlobalDefault,
        }
    }
}

/// The seats of every level.
pub struct Fairness {
    levels: [Arc<Seats>; Level::ALL.len()],
}

impl Fairness {
    pub fn new() -> Fairness {
        let shares: usize =
            Level::ALL.iter().filter(|level| **level != Level::Exempt).map(|level| level.shares()).sum();
        Fairness {
            levels: Level::ALL.map(|level| Seats::new(SEATS * level.shares() / shares, SEAT_WAIT_MAX)),
        }
    }

    /// Waits for the seats that a request takes; 429 where too many wait, or it waits too long. `listed` is the number
    /// of objects that it may have to answer with.
    pub async fn sit(
        &self,
        user: &User,
        target: &Target,
        body_bytes: Option<u64>,
        listed: usize,
    ) -> Result<Seat, ApiError> {
        let level = Level::of(user, target);
        // A body whose length is not told may be the largest.
        let bytes = body_bytes.map_or(BODY_BYTES_MAX, |bytes| bytes.min(BODY_BYTES_MAX as u64) as usize);
        let width = 1 + (bytes / SEAT_BODY_BYTES).max(listed / SEAT_LISTED_OBJECTS);
        let seat = self.levels[level as usize].sit(&user.name, width.min(WIDTH_MAX)).await;
        seat.map_err(|full| {
            tracing::debug!(%full, ?level, user = user.name, "a request was turned away");
            ApiError::too_many_requests("Too many requests, please try again later.", 1)
        })
    }

    /// For each level its name, the seats that are taken and the requests that wait.
    pub fn load(&self) -> impl Iterator<Item = (&'static str, usize, usize)> {
        Level::ALL.iter().zip(&self.levels).map(|(level, seats)| {
            let name = match level {
                Level::Exempt => "exempt",
                Level::LeaderElection => "leader-election",
                Level::NodeHigh => "node-high",
                Level::System => "system",
                Level::WorkloadHigh => "workload-high",
                Level::WorkloadLow => "workload-low",
                Level::GlobalDefault => "global-default",
            };
            let (taken, waiting) = seats.load();
            (name, taken, waiting)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_upstreams() {
        let account = |namespace: &str| {
            User::authenticated(
                format!("{SERVICE_ACCOUNT_USER_PREFIX}{namespace}:a"),
                ["system:serviceaccounts"],
            )
        };
        let target = |verb: &'static str, group: &str, resource: &str, namespace: &str| Target {
            verb,
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            ..Target::default()
        };
        let lease =
            |verb: &'static str, namespace: &str| target(verb, "coordination.k8s.io", "leases", namespace);
        let pods = || target("list", "", "pods", "default");
        for (user, target, want) in [
            (User::admin(), pods(), Level::Exempt),
            (User::apiserver(), pods(), Level::Exempt),
            (User::node("n1"), lease("update", "kube-node-lease"), Level::NodeHigh),
            (User::node("n1"), target("patch", "", "nodes", ""), Level::NodeHigh),
            (User::node("n1"), pods(), Level::System),
            (User::controllers(), lease("update", "kube-system"), Level::LeaderElection),
            (User::controllers(), lease("update", "default"), Level::WorkloadHigh),
            (User::controllers(), pods(), Level::WorkloadHigh),
            (User::scheduler(), pods(), Level::WorkloadHigh),
            (account("kube-system"), pods(), Level::WorkloadHigh),
            (account("kube-system-2"), pods(), Level::WorkloadLow),
            (account("monitoring"), pods(), Level::WorkloadLow),
            (account("monitoring"), lease("create", "monitoring"), Level::LeaderElection),
            (account("monitoring"), lease("list", "monitoring"), Level::WorkloadLow),
            (User::authenticated("jane", ["dev"]), lease("update", "default"), Level::GlobalDefault),
        ] {
            assert_eq!(Level::of(&user, &target), want, "{} {target:?}", user.name);
        }
    }
}
