//! Claims about the planner: golden plans, and properties against the from-scratch recount.

mod freshness;
mod history;
mod manage;
mod property;
mod rollout;
mod surge;
mod template;
mod verdicts;
mod world;
