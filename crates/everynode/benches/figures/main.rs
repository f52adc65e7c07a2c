//! `make bench`: figures of the real binary beside their floors, in one run.
//!
//! The machines are noisy, so a figure stands beside what the machine can do at best at the same time, and the
//! ratio is what counts. Needs root, containerd and the images of `cargo xtask images`.

mod api;
mod fleet;
mod footprint;
mod instance;
mod start;
mod wire;

use anyhow::Result;

/// Stored objects at which the cost of an operation is compared with that at 1,000.
const OBJECTS: usize = 100_000;

fn main() -> Result<()> {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let asked = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    println!("{}", instance::machine());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        if asked("start") {
            start::run().await?;
        }
        if asked("api") {
            api::run(OBJECTS).await?;
        }
        if asked("fleet") {
            fleet::run().await?;
        }
        if asked("footprint") {
            footprint::run().await?;
        }
        Ok(())
    })
}

/// The middle value.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
