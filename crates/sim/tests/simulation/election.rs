//! Two sets of controllers and one Lease: the leader is killed in the middle of a rollout, and the other goes on.

use std::time::Duration;

use process::Clock;

use crate::faults::Lie;
use crate::fleet::Fleet;

const TICK: Duration = Duration::from_millis(250);
/// More ticks than anything here takes.
const TICKS_MAX: u32 = 2_000;

/// How long nobody acted; or what went wrong.
pub async fn leader_dies(seed: u64) -> Result<Duration, String> {
    let mut fleet = Fleet::start(seed, Lie::None, &[Some("a"), Some("b")]).await;
    fleet.create(false).await;
    until(&fleet, async |fleet| fleet.is_at_rest().await.is_ok()).await?;
    fleet.edit(2).await;
    let some = usize::try_from(seed % 4).unwrap_or_default() + 1;
    until(&fleet, async |fleet| fleet.updated().await >= some).await?;
    let leader = fleet.leader().await.ok_or("nobody leads")?;
    let dead = fleet.controllers.iter().find(|process| process.identity.as_deref() == Some(&*leader));
    dead.ok_or("a stranger leads")?.kill();
    let (killed, writes) = (fleet.net.clock.now(), fleet.net.checks.lock().writes);
    until(&fleet, async |fleet| fleet.net.checks.lock().writes > writes).await?;
    let idle = fleet.net.clock.now().duration_since(killed);
    if fleet.leader().await.as_ref() == Some(&leader) {
        return Err(format!("{leader} is dead and leads"));
    }
    until(&fleet, async |fleet| fleet.is_at_rest().await.is_ok()).await?;
    fleet.stays_at_rest(seed).await?;
    Duration::try_from(idle).map_err(|error| error.to_string())
}

async fn until(fleet: &Fleet, holds: impl AsyncFn(&Fleet) -> bool) -> Result<(), String> {
    for _ in 0..TICKS_MAX {
        if holds(fleet).await {
            return Ok(());
        }
        fleet.nodes_do_their_part().await;
        fleet.pass(TICK).await;
        fleet.unbroken(0)?;
    }
    Err("it takes for ever".to_owned())
}
