//! Field ownership: server-side apply, and the tracking of every other write in `metadata.managedFields`.
//!
//! What it decides: which manager owns which fields after a write, what an applied configuration makes of the live object,
//! and with whom it conflicts. How lists and maps are told apart is [`crate::keys`]'. What it does not know: HTTP, storage,
//! the clock (times are given as texts), defaulting.
//!
//! The parts, from the bottom: [`Element`] and [`Set`] are paths and sets of them; [`Tree`] is an object's shape, compared in
//! `compare`; `entries` is the field's wire form; [`track`] is for writes that are no apply, [`apply`] for those that are.
//!
//! Upstream: `apimachinery/pkg/util/managedfields`, `sigs.k8s.io/structured-merge-diff`.

mod apply;
mod compare;
mod conflict;
mod element;
mod entries;
mod field_set;
mod fields_v1;
mod last_applied;
mod merge;
mod removal;
mod reset;
mod set;
mod track;
mod tree;
mod types;

#[cfg(test)]
mod tests;

pub use apply::{Applied, CONTENT_TYPE, Contention, apply};
pub use compare::{NoIdentity, item_element};
pub use conflict::{Conflict, Conflicts};
pub use element::Element;
pub use entries::UPDATE_MANAGERS_MAX;
pub use removal::Convert;
pub use reset::Reset;
pub use set::Set;
pub use track::{Form, Given, Tracked, Writer, given, track};
pub use tree::Tree;
