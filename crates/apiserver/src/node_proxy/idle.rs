//! When a stream has been silent for too long.
//!
//! The container runtimes end idle streams themselves after the same time; this is for nodes that are gone.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Silence after which a stream ends: upstream's `--streaming-connection-idle-timeout`, and containerd's.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(4 * 3_600);

/// How much has moved; only that it changes counts.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<AtomicU64>);

/// A connection whose reads and writes are noted.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    activity: Activity,
}

impl<S> Watched<S> {
    pub fn new(stream: S) -> (Watched<S>, Activity) {
        let activity = Activity::default();
        (Watched { stream, activity: activity.clone() }, activity)
    }

    fn note(&self) {
        self.activity.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Resolves once nothing has moved for `span`, at most twice as long after it stopped.
pub async fn passed(activity: &Activity, span: Duration) {
    loop {
        let before = activity.0.load(Ordering::Relaxed);
        tokio::time::sleep(span).await;
        if activity.0.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if read.is_ready() {
            self.note();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.note();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn stream_that_never_moves_is_given_up_and_one_that_moves_is_not() {
        let span = Duration::from_millis(20);
        let (mut stream, activity) = Watched::new(Vec::new());
        passed(&activity, span).await;
        // It moves within every look of the watcher, however late that is.
        let moves = async {
            for _ in 0..1_000 {
                stream.write_all(b"x").await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let first = tokio::select! {
            biased;
            () = moves => "moves",
            () = passed(&activity, Duration::from_secs(60)) => "given up",
        };
        assert_eq!(first, "moves");
    }
}
