//! The API server through its one door, over the in-memory store: no sockets.

mod objects;
mod world;
