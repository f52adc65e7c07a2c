//! A number of seats, shared between flows: whoever finds none waits in the queue of their flow, and the flows take turns.
//!
//! A flow never holds more than three quarters of the seats, so one that never gives them back leaves room for the others.
//! It knows no users and no requests.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::limits::{FLOW_QUEUE_MAX, LEVEL_QUEUE_MAX};

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("too many requests wait")]
    Queue,
    #[error("no seat became free in time")]
    Late,
}

pub struct Seats {
    seats: usize,
    /// What one flow holds at most.
    flow_max: usize,
    /// How long a request waits at most.
    wait_max: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: usize,
    waiting: usize,
    /// Flows that hold seats or wait for some.
    flows: HashMap<Arc<str>, Flow>,
    /// Flows that wait, whose turn is next first.
    turns: VecDeque<Arc<str>>,
}

#[derive(Default)]
struct Flow {
    held: usize,
    queue: VecDeque<Waiter>,
}

struct Waiter {
    width: usize,
    grant: oneshot::Sender<Seat>,
}

/// Some seats of a flow; free again when dropped.
pub struct Seat {
    seats: Arc<Seats>,
    flow: Arc<str>,
    width: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let grants = {
            let mut state = self.seats.state.lock();
            state.taken -= self.width;
            if let Some(flow) = state.flows.get_mut(&self.flow) {
                flow.held -= self.width;
                if flow.held == 0 && flow.queue.is_empty() {
                    state.flows.remove(&self.flow);
                }
            }
            self.seats.next(&mut state)
        };
        hand_out(grants);
    }
}

/// Outside of the lock: a seat that nobody takes any more is given back on the way.
fn hand_out(grants: Vec<(oneshot::Sender<Seat>, Seat)>) {
    for (grant, seat) in grants {
        drop(grant.send(seat));
    }
}

impl Seats {
    pub fn new(seats: usize, wait_max: Duration) -> Arc<Seats> {
        let flow_max = (seats - seats / 4).max(1);
        Arc::new(Seats { seats: seats.max(1), flow_max, wait_max, state: Mutex::default() })
    }

    /// Seats taken, and requests that wait.
    pub fn load(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.taken, state.waiting)
    }

    /// Waits for `width` seats.
    pub async fn sit(self: &Arc<Self>, flow: &str, width: usize) -> Result<Seat, Full> {
        let width = width.clamp(1, self.flow_max);
        let (granted, grants) = {
            let mut state = self.state.lock();
            let state = &mut *state;
            let known = state.flows.get_key_value(flow).map(|(name, _)| Arc::clone(name));
            let name = known.unwrap_or_else(|| Arc::from(flow));
            let own = state.flows.entry(Arc::clone(&name)).or_default();
            let is_free = state.turns.is_empty()
                && own.held + width <= self.flow_max
                && state.taken + width <= self.seats;
            if is_free {
                own.held += width;
                state.taken += width;
                return Ok(Seat { seats: Arc::clone(self), flow: name, width });
            }
            let granted = state.queue(&name, width)?;
            (granted, self.next(state))
        };
        hand_out(grants);
        match tokio::time::timeout(self.wait_max, granted).await {
            Ok(Ok(seat)) => Ok(seat),
            Ok(Err(_)) | Err(_) => Err(Full::Late),
        }
    }

    /// Grants what can be granted now.
    fn next(self: &Arc<Self>, state: &mut State) -> Vec<(oneshot::Sender<Seat>, Seat)> {
        let mut grants = Vec::new();
        let mut passed_over = 0;
        while passed_over < state.turns.len() {
            let Some(name) = state.turns.pop_front() else { break };
            let Some(flow) = state.flows.get_mut(&name) else { continue };
            while flow.queue.front().is_some_and(|waiter| waiter.grant.is_closed()) {
                flow.queue.pop_front();
                state.waiting -= 1;
            }
            let Some(width) = flow.queue.front().map(|waiter| waiter.width) else {
                if flow.held == 0 {
                    state.flows.remove(&name);
                }
                continue;
            };
            if flow.held + width > self.flow_max {
                state.turns.push_back(name);
                passed_over += 1;
                continue;
            }
            if state.taken + width > self.seats {
                // It stays the next: seats gather until there are enough.
                state.turns.push_front(name);
                break;
            }
            let Some(waiter) = flow.queue.pop_front() else { continue };
            flow.held += width;
            state.taken += width;
            state.waiting -= 1;
            grants.push((waiter.grant, Seat { seats: Arc::clone(self), flow: Arc::clone(&name), width }));
            if !flow.queue.is_empty() {
                state.turns.push_back(name);
            }
            passed_over = 0;
        }
        grants
    }
}

impl State {
    /// A place in the queue of a flow.
    fn queue(&mut self, name: &Arc<str>, width: usize) -> Result<oneshot::Receiver<Seat>, Full> {
        let Some(flow) = self.flows.get_mut(name) else { return Err(Full::Queue) };
        if flow.queue.len() >= FLOW_QUEUE_MAX || self.waiting >= LEVEL_QUEUE_MAX {
            let before = flow.queue.len();
            flow.queue.retain(|waiter| !waiter.grant.is_closed());
            self.waiting -= before - flow.queue.len();
        }
        if flow.queue.len() >= FLOW_QUEUE_MAX || self.waiting >= LEVEL_QUEUE_MAX {
            if flow.held == 0 && flow.queue.is_empty() {
                self.flows.remove(name);
            }
            return Err(Full::Queue);
        }
        let (grant, granted) = oneshot::channel();
        if flow.queue.is_empty() && !self.turns.contains(name) {
            self.turns.push_back(Arc::clone(name));
        }
        flow.queue.push_back(Waiter { width, grant });
        self.waiting += 1;
        Ok(granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_flow_that_gives_nothing_back_leaves_a_quarter_to_the_others() {
        let seats = Seats::new(8, LONG);
        let mut greedy = Vec::new();
        while let Some(seat) = seats.sit("greedy", 1).now_or_never() {
            greedy.push(seat.unwrap());
        }
        assert_eq!(greedy.len(), 6);
        let node = seats.sit("node", 1).now_or_never();
        assert!(node.is_some_and(|seat| seat.is_ok()));
    }

    #[tokio::test]
    async fn flows_take_turns_however_long_one_queue_is() {
        let seats = Seats::new(1, LONG);
        let first = seats.sit("greedy", 1).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for (flow, count) in [("greedy", 20), ("node", 1)] {
            for _ in 0..count {
                let (seats, order) = (Arc::clone(&seats), Arc::clone(&order));
                waiting.spawn(async move {
                    let seat = seats.sit(flow, 1).await.unwrap();
                    order.lock().push(flow);
                    drop(seat);
                });
            }
        }
        while seats.load().1 < 21 {
            tokio::task::yield_now().await;
        }
        drop(first);
        waiting.join_all().await;
        let place = order.lock().iter().position(|flow| *flow == "node");
        assert!(place.is_some_and(|place| place <= 1), "{order:?}");
        assert_eq!(seats.load(), (0, 0));
        assert!(seats.state.lock().flows.is_empty());
    }

    #[tokio::test]
    async fn a_wide_request_gets_its_seats_though_narrow_ones_keep_coming() {
        let seats = Seats::new(4, LONG);
        let one = seats.sit("a", 1).await.unwrap();
        let two = seats.sit("b", 1).await.unwrap();
        let mut wide = std::pin::pin!(seats.sit("c", 3));
        assert!(wide.as_mut().now_or_never().is_none());
        let mut narrow = std::pin::pin!(seats.sit("d", 2));
        assert!(narrow.as_mut().now_or_never().is_none(), "it came later");
        drop(one);
        let wide = wide.now_or_never().unwrap().unwrap();
        drop(two);
        assert!(narrow.as_mut().now_or_never().is_none());
        drop(wide);
        assert!(narrow.now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn the_queue_of_a_flow_ends_and_those_who_left_do_not_count() {
        let seats = Seats::new(1, LONG);
        let held = seats.sit("a", 1).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..FLOW_QUEUE_MAX {
            let mut sitting = Box::pin(seats.sit("a", 1));
            assert!(sitting.as_mut().now_or_never().is_none());
            waiting.push(sitting);
        }
        assert_eq!(seats.sit("a", 1).now_or_never().unwrap().err(), Some(Full::Queue));
        waiting.truncate(1);
        assert!(seats.sit("a", 1).now_or_never().is_none(), "there is room again");
        drop(held);
        assert!(waiting.remove(0).now_or_never().unwrap().is_ok());
        assert_eq!(seats.load(), (0, 0));
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told_so() {
        let seats = Seats::new(1, Duration::ZERO);
        let _held = seats.sit("a", 1).await.unwrap();
        assert_eq!(seats.sit("b", 1).await.err(), Some(Full::Late));
    }
}
