//! May this Pod be on this Node, and if not, why not.
