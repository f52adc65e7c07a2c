//! How the parts become a process: which task gets which client, certificate and folder.
//!
//! Each component has its own identity even inside one process: it talks to the API server through a client
//! that is authorized as that component.

pub mod hold;
pub mod join;
pub mod network;
pub mod node;
pub mod server;
pub mod store;
