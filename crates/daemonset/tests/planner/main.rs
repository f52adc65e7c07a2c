//! Claims about the planner: golden plans, and properties against the from-scratch recount.

mod history;
mod manage;
mod property;
mod rollout;
mod surge;
mod template;
mod verdicts;
mod world;
