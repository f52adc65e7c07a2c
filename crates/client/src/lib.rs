//! What controllers and agent need from a Kubernetes API: caches, freshness, preconditioned writes, leases, events.
