//! The agent's brain: (desired Pod, observed containers, probes, now) -> actions and PodStatus.
//!
//! One [`Machine`] per Pod uid. The agent's worker loops:
//!
//! ```text
//! let mark = machine.mark();              // before it looks
//! let observed = look(mark).await;        // runtime, images, volumes
//! let step = machine.step(&desired, &observed, now);
//! for job in step.jobs { spawn(job) }     // each ends in machine.finished(job.id, outcome, now)
//! post(step.events); report(step.status); sleep_until(step.wake_at or an outcome or a change)
//! ```
//!
//! Pure: no async, no clock, no I/O. What it does not know: how an action is done, what a volume is, CRI.
//!
//! Invariants: never two live instances of one container; no container is killed or started without a reason
//! that is in the step; the phase never goes backwards; a machine that knows nothing (agent restarted) and sees
//! what runs continues without a restart. A look that began before an own action ended starts nothing.

pub mod action;
pub mod admission;
mod backoff;
pub mod desired;
mod hooks;
mod image;
pub mod image_gc;
mod killing;
pub mod labels;
pub mod machine;
mod memory;
pub mod observed;
mod outcome;
mod pod;
pub mod pressure;
mod probing;
mod starting;
mod state;
mod status;
mod turn;
mod view;

pub use action::{
    Action, Event, EventType, Failure, Job, JobId, KillReason, Outcome, ProbeKind, ProbeTarget,
    StartContainer, Step,
};
pub use desired::{Admission, Desired, Host, Intent, PodSource, TerminationCause};
pub use image::{ImageVerdict, PulledImages, verdict as image_verdict};
pub use machine::{Machine, Mark};
pub use observed::{
    ContainerState, ImageState, Observed, ObservedContainer, ObservedSandbox, SandboxState, VolumeState,
};
pub use pod::{container_hash, ephemeral_containers};
pub use state::State;
