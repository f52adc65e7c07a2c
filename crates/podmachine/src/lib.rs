//! The agent's brain: (desired Pod, observed containers, probes, now) -> actions and PodStatus.
