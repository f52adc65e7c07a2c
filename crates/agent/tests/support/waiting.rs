//! Waiting for what is to become true.

use std::future::Future;
use std::time::Duration;

pub const DEADLINE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What `look` finds, as soon as it does; a panic that says what never came after [`DEADLINE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let found = tokio::time::timeout(DEADLINE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("never: {what}"))
}
