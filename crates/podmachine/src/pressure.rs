//! Node pressure: when the node is short of something, what it says of itself, and which Pod goes.
//!
//! Upstream: pkg/kubelet/eviction. The agent measures ([`Readings`]) and carries out; here is decided, in this order:
//! which thresholds act ([`Watch`]), what can be had without a Pod's end ([`reclaim`]), and which one Pod goes
//! ([`ranking::victim`]).
//! It does not know: how anything is measured, the emptyDir limits of single Pods.

pub mod limits;
pub mod ranking;
pub mod reclaim;
mod watch;

use std::collections::BTreeMap;
use std::fmt;

use api::quantity::Quantity;
use api::well_known::node_condition;

pub use limits::{Limits, LimitsError, Written};
pub use ranking::{Candidate, Usage, Victim, victim};
pub use watch::{Met, Watch};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    MemoryAvailable,
    NodefsAvailable,
    NodefsInodesFree,
    ImagefsAvailable,
    ImagefsInodesFree,
    PidAvailable,
}

/// What a Pod has too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Memory,
    EphemeralStorage,
    Inodes,
    Pids,
}

/// What a node says of itself. In the order of their names, as upstream lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    DiskPressure,
    MemoryPressure,
    PidPressure,
}

/// How much of a signal is left, and of how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    pub available: Quantity,
    pub capacity: Quantity,
}

/// One look at the node. A signal that could not be measured is not in it, and acts on nothing.
pub type Readings = BTreeMap<Signal, Reading>;

impl Signal {
    pub const ALL: [Signal; 6] = [
        Signal::MemoryAvailable,
        Signal::NodefsAvailable,
        Signal::NodefsInodesFree,
        Signal::ImagefsAvailable,
        Signal::ImagefsInodesFree,
        Signal::PidAvailable,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Signal::MemoryAvailable => "memory.available",
            Signal::NodefsAvailable => "nodefs.available",
            Signal::NodefsInodesFree => "nodefs.inodesFree",
            Signal::ImagefsAvailable => "imagefs.available",
            Signal::ImagefsInodesFree => "imagefs.inodesFree",
            Signal::PidAvailable => "pid.available",
        }
    }

    pub fn named(name: &str) -> Option<Signal> {
        Signal::ALL.into_iter().find(|signal| signal.name() == name)
    }

    pub fn resource(self) -> Resource {
        match self {
            Signal::MemoryAvailable => Resource::Memory,
            Signal::NodefsAvailable | Signal::ImagefsAvailable => Resource::EphemeralStorage,
            Signal::NodefsInodesFree | Signal::ImagefsInodesFree => Resource::Inodes,
            Signal::PidAvailable => Resource::Pids,
        }
    }

    pub fn condition(self) -> Condition {
        match self {
            Signal::MemoryAvailable => Condition::MemoryPressure,
            Signal::NodefsAvailable
            | Signal::NodefsInodesFree
            | Signal::ImagefsAvailable
            | Signal::ImagefsInodesFree => Condition::DiskPressure,
            Signal::PidAvailable => Condition::PidPressure,
        }
    }
}

impl Resource {
    pub fn name(self) -> &'static str {
        match self {
            Resource::Memory => "memory",
            Resource::EphemeralStorage => "ephemeral-storage",
            Resource::Inodes => "inodes",
            Resource::Pids => "pids",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Condition::DiskPressure => node_condition::DISK_PRESSURE,
            Condition::MemoryPressure => node_condition::MEMORY_PRESSURE,
            Condition::PidPressure => node_condition::PID_PRESSURE,
        })
    }
}

#[cfg(test)]
mod tests;
