//! An API that the test itself answers, call by call: each request comes out of a channel with a handle to answer it.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::StreamBody;
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

type Chunks = stream::BoxStream<'static, Result<http_body::Frame<Bytes>, Infallible>>;
type Answer = Response<StreamBody<Chunks>>;

/// Longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct ScriptedApi {
    calls: mpsc::UnboundedReceiver<Call>,
}

pub struct Call {
    pub request: Request<Body>,
    answer: oneshot::Sender<Answer>,
}

/// The far end of a watch; dropping it ends the stream.
pub struct Stream(mpsc::UnboundedSender<String>);

pub fn scripted() -> (Client, ScriptedApi) {
    let (sender, calls) = mpsc::unbounded_channel();
    let service = tower::service_fn(move |request: Request<Body>| {
        let sender = sender.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            sender.send(Call { request, answer }).map_err(|_| "the test is over")?;
            answered.await.map_err(|_| "connection reset")
        }
    });
    (Client::new(service, "default"), ScriptedApi { calls })
}

impl ScriptedApi {
    /// The next request that arrives.
    pub async fn call(&mut self) -> Call {
        let call = tokio::time::timeout(PATIENCE, self.calls.recv()).await;
        call.expect("no request came in time").expect("the client is gone")
    }
}

impl Call {
    pub fn uri(&self) -> String {
        self.request.uri().to_string()
    }

    pub async fn body(&mut self) -> Value {
        let body = std::mem::replace(self.request.body_mut(), Body::empty());
        serde_json::from_slice(&body.collect_bytes().await.expect("body")).expect("JSON body")
    }

    pub fn json(self, code: u16, body: &Value) {
        let chunk = Ok(http_body::Frame::data(Bytes::from(body.to_string())));
        self.respond(code, stream::iter([chunk]).boxed());
    }

    pub fn failure(self, code: u16, reason: &str) {
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": reason, "reason": reason, "code": code,
        });
        self.json(code, &status);
    }

    /// Answers with a stream of lines that the test writes.
    pub fn stream(self) -> Stream {
        let (sender, receiver) = mpsc::unbounded_channel::<String>();
        let chunks = stream::unfold(receiver, |mut receiver| async move {
            let line = receiver.recv().await?;
            Some((Ok(http_body::Frame::data(Bytes::from(line))), receiver))
        });
        self.respond(200, chunks.boxed());
        Stream(sender)
    }

    fn respond(self, code: u16, chunks: Chunks) {
        let answer = Response::builder().status(code).body(StreamBody::new(chunks)).expect("response");
        // The client may have given up on this request.
        let _ = self.answer.send(answer);
    }
}

impl Stream {
    pub fn event(&self, type_: &str, object: &Value) {
        let line = format!("{}\n", serde_json::json!({"type": type_, "object": object}));
        self.0.send(line).expect("the watch is gone");
    }
}
