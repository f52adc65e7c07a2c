//! A whole cluster in one process: API server on the memory store, controllers, scheduler and hollow nodes, each
//! through its own client and as its own user.

mod election;
mod fleet;
mod node_lifecycle;
mod scheduling;
mod services;
mod world;
