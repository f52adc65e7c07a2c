//! Several sets of controllers, of which one acts.

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use crate::world::{PATIENCE, World};

#[tokio::test(flavor = "multi_thread")]
async fn the_second_set_of_controllers_acts_as_soon_as_the_first_has_stopped() {
    let world = World::without_controllers().await;
    let leases: Api<Lease> = world.api("kube-system");
    let holder = || async {
        let lease = leases.get_opt("controllers").await.expect("get");
        lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
    };
    let first = world.candidate("first");
    world
        .eventually("the first leads", || async {
            let holder = holder().await;
            (holder == "first").then_some(()).ok_or(holder)
        })
        .await;
    let second = world.candidate("second");
    let nodes = world.nodes("hollow", 2, process::SystemClock::shared());
    world.schedulable(2).await;
    world.create_daemon_set("default", "agent").await;
    world.all_ready("default", "agent", 2).await;
    assert_eq!(holder().await, "first");

    let late = first.shutdown(PATIENCE).await;
    assert!(late.is_empty(), "late to stop: {late:?}");
    assert_ne!(holder().await, "first", "the lease is given back");
    world.create_daemon_set("default", "another").await;
    world.all_ready("default", "another", 2).await;
    assert_eq!(holder().await, "second");
    drop((second, nodes));
    world.end().await;
}
