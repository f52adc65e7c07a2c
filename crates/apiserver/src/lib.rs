//! The Kubernetes API over the store.
//!
//! A request is authenticated, authorized, decoded once, defaulted, admitted, validated and stored; what is stored is
//! bytes, and reads splice those bytes. This crate knows every kind and no agent: nodes are reached over their HTTP API.
//! Invariants: only [`error`] builds an HTTP Status; every write is visible to reads and watches before it is answered.

pub mod accept;
pub mod access;
mod admission;
mod allotment;
mod answer;
mod authenticate;
pub mod body;
mod bootstrap;
mod call;
mod compress;
mod decode;
pub mod discovery;
pub mod error;
mod expiry;
mod fairness;
mod impersonate;
mod keep_alive;
mod kinds;
mod leftover;
mod legacy;
pub mod limits;
pub mod node_proxy;
mod object;
pub mod openapi;
mod options;
mod own_service;
mod paths;
mod pipeline;
pub mod pki;
mod policy;
mod pretty;
mod protobuf;
mod request;
mod route;
mod selectable;
pub mod serve;
pub mod server;
mod spdy;
pub mod table;
mod websocket;
mod window;

pub use allotment::{BadRange, ServiceRange};
pub use body::Body;
pub use error::ApiError;
pub use server::{Config, Server, StartError};
