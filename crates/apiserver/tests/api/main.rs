//! The API server through its one door, over the in-memory store: no sockets.

mod access;
mod accounts;
mod apply;
mod daemon_sets;
mod deletion;
mod differences;
mod dry_runs;
mod eviction;
mod fairness;
mod forms;
mod kinds;
mod legacy;
mod lists;
mod network;
mod objects;
mod pods;
mod refusals;
mod selectors;
mod services;
mod store_trouble;
mod streams;
mod tokens;
mod watches;
mod world;
