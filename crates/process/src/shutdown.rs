//! The one signal that tells every task of a process to stop.
//!
//! It only tells: whoever waits for the tasks to have stopped asks [`Tasks`](crate::Tasks).
//! Once triggered it stays triggered.

use tokio_util::sync::CancellationToken;

/// Cloned into every task; a task waits for [`cancelled`](Shutdown::cancelled) beside its work.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// Tells everyone who holds this signal or a child of it.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Resolves once triggered, at once if it has been. Dropping the future loses nothing.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// A signal that follows this one and can also be triggered alone, for a part that stops earlier.
    pub fn child(&self) -> Shutdown {
        Shutdown(self.0.child_token())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn child_follows_its_parent_and_not_the_other_way_round() {
        let parent = Shutdown::new();
        let early = parent.child();
        let late = parent.child();
        early.trigger();
        assert!(early.is_cancelled());
        assert!(!parent.is_cancelled() && !late.is_cancelled());
        parent.trigger();
        late.cancelled().await;
    }
}
