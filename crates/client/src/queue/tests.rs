//! Claims about the queue.

use super::*;
use process::clock::manual::ManualClock;
use proptest::prelude::*;

fn queue() -> (WorkQueue<u8>, ManualClock) {
    let clock = ManualClock::at_new_year();
    (WorkQueue::new(Arc::new(clock.clone())), clock)
}

#[tokio::test]
async fn an_item_added_twice_comes_once() {
    let (queue, _) = queue();
    assert_eq!((queue.add(1), queue.add(1), queue.add(2)), (Added::Queued, Added::Merged, Added::Queued));
    assert_eq!((queue.next().await, queue.next().await, queue.len()), (1, 2, 0));
}

#[tokio::test]
async fn an_item_added_during_its_work_comes_back_after_it() {
    let (queue, _) = queue();
    queue.add(1);
    assert_eq!(queue.next().await, 1);
    assert_eq!((queue.add(1), queue.len()), (Added::Merged, 0));
    queue.done(&1);
    assert_eq!(queue.next().await, 1);
}

#[tokio::test]
async fn delayed_items_come_in_time_order_and_the_earlier_time_holds() {
    let (queue, clock) = queue();
    queue.add_after(1, Duration::from_secs(9));
    queue.add_after(2, Duration::from_secs(3));
    queue.add_after(1, Duration::from_secs(5));
    queue.add_after(1, Duration::from_secs(7));
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { (queue.next().await, queue.next().await) }
    });
    clock.sleepers_reach(1).await;
    clock.advance(Duration::from_secs(5));
    assert_eq!(waiting.await.unwrap(), (2, 1));
}

#[tokio::test]
async fn a_failing_item_backs_off_alone_and_a_success_forgets() {
    let (queue, clock) = queue();
    for expected_ms in [5, 10, 20] {
        queue.add_failed(1);
        clock.advance(Duration::from_millis(expected_ms - 1));
        queue.shared.items.lock().bring_forward(clock.now());
        assert_eq!(queue.len(), 0, "{expected_ms}");
        clock.advance(Duration::from_millis(1));
        assert_eq!(queue.next().await, 1);
        queue.done(&1);
    }
    assert_eq!((queue.failures(&1), queue.failures(&2)), (3, 0));
    queue.forget(&1);
    assert_eq!(queue.failures(&1), 0);
}

#[tokio::test]
async fn work_stops_at_shutdown_and_retries_failures_before() {
    let clock = process::SystemClock::shared();
    let queue =
        WorkQueue::with_retry(clock, Backoff::new(Duration::from_millis(1), Duration::from_millis(2)));
    queue.add("pod");
    let shutdown = Shutdown::new();
    let mut tries = 0;
    queue
        .work(&shutdown, |_| {
            tries += 1;
            if tries == 3 {
                shutdown.trigger();
            }
            std::future::ready(if tries < 3 { Outcome::Failed } else { Outcome::Done })
        })
        .await;
    assert_eq!(tries, 3);
}

proptest! {
    /// Against a set as the model: no two workers hold an item, nothing added is lost, nothing comes unasked.
    #[test]
    fn every_addition_is_followed_by_exactly_one_later_look(script in proptest::collection::vec((0_u8..4, 0_u8..5), 1..200)) {
        let (queue, clock) = queue();
        let mut wanted = BTreeSet::new();
        let mut held = BTreeSet::new();
        for (what, item) in script {
            match what {
                0 => { queue.add(item); wanted.insert(item); }
                1 => { queue.add_after(item, Duration::from_secs(u64::from(item) + 1)); wanted.insert(item); }
                2 => {
                    let mut items = queue.shared.items.lock();
                    items.bring_forward(clock.now());
                    if let Some(taken) = items.take() {
                        prop_assert!(wanted.remove(&taken), "{taken} was not asked for");
                        prop_assert!(held.insert(taken), "{taken} is held twice");
                    }
                }
                _ => { if let Some(done) = held.pop_first() { queue.done(&done); } }
            }
        }
        while let Some(done) = held.pop_first() { queue.done(&done); }
        clock.advance(Duration::from_secs(60));
        let mut items = queue.shared.items.lock();
        items.bring_forward(clock.now());
        while let Some(taken) = items.take() {
            prop_assert!(wanted.remove(&taken));
            items.done(&taken);
        }
        prop_assert!(wanted.is_empty(), "lost {wanted:?}");
        prop_assert!(items.by_due.is_empty() && items.due.is_empty() && items.dirty.is_empty());
    }
}
