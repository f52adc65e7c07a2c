//! Claims about the planner: golden plans, and properties against the from-scratch recount.

mod check;
mod explaining;
mod fleets;
mod freshness;
mod history;
mod manage;
mod property;
mod rollout;
mod strict;
mod surge;
mod template;
mod verdicts;
mod victims;
mod world;
