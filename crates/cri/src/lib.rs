//! The container runtime over CRI v1: real client, stateful fake, one contract suite for both.
