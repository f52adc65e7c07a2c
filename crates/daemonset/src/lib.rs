//! The heart: (DaemonSet, nodes, pods, revisions, now) -> plan and status.
//!
//! A [`View`] per DaemonSet takes events in, keeps one row per Node and the sums over them, and hands out [`Plan`]s: the
//! next bounded batch of steps, each with its reason. It decides and never does; who carries a plan out tells the
//! view what came of each step ([`View::acted`]).
//!
//! It does not know of watches, queues or writes, and asks no clock: `now` is an argument. The same events give the
//! same plan, byte for byte. Upstream: `pkg/controller/daemon`, with the update rule of 1.31 and later.

pub mod explanation;
pub mod facts;
pub mod history;
pub mod pending;
pub mod plan;
pub mod recount;
pub mod row;
pub mod template;
pub mod verdict;
pub mod victims;
pub mod view;
pub mod wanted;

pub use explanation::{Action, Cause, Explanation, Line, NodeExplanation, Wants};
pub use facts::{NodeName, PodFacts, PodId};
pub use plan::{CreateReason, DeleteReason, EventType, Note, Plan, Step};
pub use verdict::{Unwanted, Verdict, verdict};
pub use view::{Effect, Event, Outcome, Surroundings, View};
pub use wanted::{Life, Strategy, Wanted, WantedError};
