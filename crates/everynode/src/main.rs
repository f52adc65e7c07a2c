//! One binary: flags, wiring, CLI commands.
fn main() {}
