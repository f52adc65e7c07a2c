//! The heart: (DaemonSet, nodes, pods, revisions, now) -> plan and status.
