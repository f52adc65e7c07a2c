//! What an early answer leaves of a request's body: read away, within bounds, before the answer is sent.
//!
//! A refusal (401, 403, 405, 415 …) needs no body. Over HTTP/2 the stream of a request whose body was not read is reset
//! behind the answer, and curl before 8 and others then drop the answer with it; over HTTP/1 the connection is closed.
//! The body of most requests has arrived or is about to: reading it costs nothing, and the client sees its answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;

/// Bytes that are read away: the largest objects that people write by hand; who sends more waits for no answer meanwhile.
pub const BYTES_MAX: u64 = 256 * 1024;

/// Time for them to arrive: a round trip around the world and a lost packet. An answer that nobody slows down is not late.
const TIME_MAX: Duration = Duration::from_secs(1);

/// The body of one request, given back by whoever does not read it to its end.
pub struct Leftover<B>(Arc<Mutex<Option<B>>>);

/// The body as the request has it.
pub struct Lent<B: Body> {
    body: Option<B>,
    back: Arc<Mutex<Option<B>>>,
}

/// Not where there is nothing to read: no body, one that is too large, or one that the client sends only if it is asked to.
pub fn may_be(headers: &HeaderMap, body: &impl Body) -> bool {
    !body.is_end_stream() && body.size_hint().lower() <= BYTES_MAX && !headers.contains_key(header::EXPECT)
}

pub fn lend<B: Body>(body: B) -> (Lent<B>, Leftover<B>) {
    let back = Arc::new(Mutex::new(None));
    (Lent { body: Some(body), back: Arc::clone(&back) }, Leftover(back))
}

impl<B: Body<Data = Bytes> + Unpin> Leftover<B> {
    /// Reads what was given back.
    pub async fn read_away(self) {
        self.read_within(TIME_MAX).await;
    }

    async fn read_within(self, time_max: Duration) {
        let left = self.0.lock().take();
        let Some(mut body) = left else { return };
        let reading = async {
            let mut bytes = 0;
            while bytes <= BYTES_MAX
                && let Some(Ok(frame)) = body.frame().await
            {
                bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
        };
        // Who is slower is answered now, and cut off behind the answer.
        let _ = tokio::time::timeout(time_max, reading).await;
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Lent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            // It is read, or broken: either way nothing is left of it.
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body> Drop for Lent<B> {
    fn drop(&mut self) {
        let left = self.body.take().filter(|body| !body.is_end_stream());
        *self.back.lock() = left;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::StreamBody;

    use super::*;
    use crate::body;

    /// A body of these pieces, and how many of them were read.
    fn pieces(sizes: &'static [usize]) -> (body::Body, Arc<Mutex<usize>>) {
        let read = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&read);
        let frames = futures::stream::iter(sizes.iter().map(move |size| {
            *counted.lock() += 1;
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; *size])))
        }));
        (body::boxed(StreamBody::new(frames)), read)
    }

    #[tokio::test]
    async fn what_nobody_read_is_read_away_and_no_more_than_the_limit() {
        for (sizes, wanted) in [(&[1usize, 2, 3][..], 3), (&[200 * 1024, 200 * 1024, 1, 1], 2), (&[], 0)] {
            let (body, read) = pieces(sizes);
            let (lent, left) = lend(body);
            drop(lent);
            left.read_away().await;
            assert_eq!(*read.lock(), wanted, "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_was_read_or_begun_goes_on_where_it_stands() {
        let (body, read) = pieces(&[1, 2, 3]);
        let (mut lent, left) = lend(body);
        assert!(lent.frame().await.is_some());
        drop(lent);
        left.read_away().await;
        assert_eq!(*read.lock(), 3);
        let (body, _) = pieces(&[1, 2, 3]);
        let (lent, left) = lend(body);
        assert_eq!(lent.collect().await.unwrap().to_bytes().len(), 6);
        left.read_away().await;
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
        let (lent, left) = lend(body::boxed(StreamBody::new(never)));
        drop(lent);
        // Ends, where waiting for it would not.
        left.read_within(Duration::from_millis(1)).await;
    }

    #[test]
    fn nothing_is_left_where_nothing_is_to_be_read() {
        let mut waits = HeaderMap::new();
        waits.insert(header::EXPECT, http::HeaderValue::from_static("100-continue"));
        let none = HeaderMap::new();
        let large = vec![0; BYTES_MAX as usize + 1];
        for (headers, body) in [(&none, body::empty()), (&none, body::full(large)), (&waits, body::full("x"))]
        {
            assert!(!may_be(headers, &body));
        }
    }
}
