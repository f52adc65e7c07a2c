//! Hollow nodes on the fake runtime, seeded worlds, faults, invariants.
