//! Deterministic simulation: the real API server, scheduler and DaemonSet controller in one process, in virtual time, with seeded
//! faults.
//!
//! A seed decides everything that goes wrong: requests that are refused, that get no answer though they took effect, that
//! take long; watches that lag, end, or have lost their place; controllers, schedulers and servers that crash; Pods that
//! fail; Nodes that get taints; edits in the middle of a rollout. [`checks`] looks at every write that the API took. Then
//! the faults end, and the fleet has to come to the one right end and to rest.
//!
//! `make sim SEED=…` repeats one seed and prints what happened. What is not decided by the seed: uids, and with them Pod names.

mod checks;
mod election;
mod faults;
mod fleet;

use faults::Lie;

/// Seeds of each of the four tests below, which run side by side; `SIM_SEEDS` asks for more.
const SEEDS: u64 = 30;
/// Seeds that failed once.
const FAILED_ONCE: &[u64] = &[];

fn run(seed: u64, lie: Lie) -> Result<(), String> {
    // One thread: tasks take turns in the same order each time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(fleet::run(seed, lie));
    runtime.shutdown_background();
    outcome
}

fn run_all(seeds: impl IntoIterator<Item = u64>) {
    let only: Option<u64> = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
    let seeds: Vec<u64> = only.map_or_else(|| seeds.into_iter().collect(), |seed| vec![seed]);
    if only.is_some() {
        // What the controller does and why, beside what the checks have seen; the second time it is there already.
        let _ = process::logging::init(process::logging::Format::Human, "controllers=info");
    }
    for seed in seeds {
        if let Err(broken) = run(seed, Lie::None) {
            panic!("{broken}\n`make sim SEED={seed}` repeats this");
        }
    }
}

fn seeds_of_each() -> u64 {
    std::env::var("SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

#[test]
fn nothing_breaks_and_all_comes_to_rest_in_the_first_quarter_of_the_seeds() {
    run_all(FAILED_ONCE.iter().copied());
    run_all(0..seeds_of_each());
}

#[test]
fn nothing_breaks_and_all_comes_to_rest_in_the_second_quarter_of_the_seeds() {
    run_all(seeds_of_each()..2 * seeds_of_each());
}

#[test]
fn nothing_breaks_and_all_comes_to_rest_in_the_third_quarter_of_the_seeds() {
    run_all(2 * seeds_of_each()..3 * seeds_of_each());
}

#[test]
fn nothing_breaks_and_all_comes_to_rest_in_the_last_quarter_of_the_seeds() {
    run_all(3 * seeds_of_each()..4 * seeds_of_each());
}

/// A test of the tests. The controller is told lies that take one check from it: the budget, a rule about taints. Each is
/// noticed. (The planner's own sequences show the same of its memory of deletes.)
#[test]
fn a_controller_without_its_budget_or_taint_check_is_caught() {
    for lie in [Lie::NoBudget, Lie::NoTaints] {
        let caught = (0..SEEDS).find_map(|seed| run(seed, lie).err());
        assert!(caught.is_some(), "{lie:?} is not noticed");
    }
}

/// No Pod is made twice: that is looked at on every write, here as above.
#[test]
fn a_leader_killed_in_the_middle_of_a_rollout_is_succeeded_as_soon_as_its_lease_has_run_out() {
    // 15 s after the other last saw it renewed; it looks every 2 s and a bit, and has to list before it acts.
    let patience = std::time::Duration::from_secs(15 + 3 + 3 + 1);

    for seed in 0..8 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let idle = runtime.block_on(election::leader_dies(seed));
        runtime.shutdown_background();
        let idle = idle.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        assert!(idle <= patience, "seed {seed}: nobody acted for {idle:?}");
    }
}
