//! The way to the API server, on which things go wrong.
//!
//! Each component has a [`Wire`]. While faults are on, the dice decide for each request: how long it takes, whether it is refused
//! before it arrives, whether its answer is lost after it took effect, how slow its watch is and when that ends. A wire that
//! is cut stands for a crashed process: nothing of it reaches the server any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use apiserver::access::User;
use apiserver::{Body, Server};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use parking_lot::Mutex;
use process::Clock;
use process::clock::manual::ManualClock;
use tower::{BoxError, ServiceExt};

use crate::checks::{Checks, Write};

/// In so many of a hundred requests each fault.
const REFUSED_OF_100: u64 = 5;
const ANSWER_LOST_OF_100: u64 = 5;
const SLOW_OF_100: u64 = 20;

/// What the controller is told that is not so: each takes one of its checks away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    None,
    /// Every budget reads as 100 %.
    NoBudget,
    /// NoExecute taints read as PreferNoSchedule.
    NoTaints,
}

/// splitmix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What all wires share.
pub struct Net {
    pub server: Mutex<Server>,
    pub clock: ManualClock,
    pub dice: Mutex<Dice>,
    pub faulty: AtomicBool,
    /// Requests and watch frames so far: whoever waits until nothing moves looks at this.
    pub moves: std::sync::atomic::AtomicU64,
    pub checks: Mutex<Checks>,
    pub lie: Lie,
}

impl Net {
    pub fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    fn chance(&self, of_100: u64) -> bool {
        self.faulty.load(Ordering::Relaxed) && self.dice.lock().roll(100) < of_100
    }

    fn roll(&self, sides: u64) -> u64 {
        self.dice.lock().roll(sides)
    }
}

/// One process's way to the server.
pub struct Wire {
    net: Arc<Net>,
    user: User,
    cut: AtomicBool,
    /// Its requests are looked at, and it is lied to.
    is_controller: bool,
}

impl Wire {
    pub fn new(net: &Arc<Net>, user: User, is_controller: bool) -> Arc<Wire> {
        Arc::new(Wire { net: Arc::clone(net), user, cut: AtomicBool::new(false), is_controller })
    }

    /// The process is dead.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub fn client(self: &Arc<Self>) -> kube::Client {
        let wire = Arc::clone(self);
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let wire = Arc::clone(&wire);
            // A task of its own, so that the checks see a write before anybody can have acted on it: the runtime comes back to
            // the hand that edits, which is its root, only once in many turns.
            let sent = tokio::spawn(async move { wire.send(request).await });
            async move { sent.await? }
        });
        kube::Client::new(service, "default")
    }

    fn check_alive(&self) -> Result<(), BoxError> {
        if self.cut.load(Ordering::SeqCst) { Err("this process is dead".into()) } else { Ok(()) }
    }

    async fn send(&self, request: Request<kube::client::Body>) -> Result<Response<Body>, BoxError> {
        let net = &self.net;
        net.moved();
        self.check_alive()?;
        if net.chance(SLOW_OF_100) {
            let ms = [20, 200, 1_500][usize::try_from(net.roll(3))?];
            net.clock.sleep(Duration::from_millis(ms)).await;
            self.check_alive()?;
        }
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let writes = request.method() != Method::GET;
        if net.chance(REFUSED_OF_100) {
            return match net.roll(4) {
                0 => Err("connection refused".into()),
                1 => Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
                2 => Ok(refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests")),
                _ => Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")),
            };
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let service = net.server.lock().service_for(self.user.clone());
        let response = service.oneshot(request).await.map_err(BoxError::from)?;
        net.moved();
        if watches && response.status().is_success() {
            return Ok(self.watch(response));
        }
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map_err(|_| "the body does not end")?.to_bytes();
        if writes && parts.status.is_success() {
            let write =
                Write { by_controller: self.is_controller, method: &method, path: &path, body: &bytes };
            net.checks.lock().took(&write, net.clock.now());
        }
        self.check_alive()?;
        if writes && net.chance(ANSWER_LOST_OF_100) {
            return match net.roll(2) {
                0 => Err("connection reset by peer".into()),
                _ => Ok(refusal(StatusCode::GATEWAY_TIMEOUT, "Timeout")),
            };
        }
        Ok(Response::from_parts(parts, whole(self.told(bytes))))
    }

    /// What the controller is told instead, if it is lied to.
    fn told(&self, bytes: bytes::Bytes) -> bytes::Bytes {
        if !self.is_controller {
            return bytes;
        }
        let replaced = |from: &str, to: &str| match std::str::from_utf8(&bytes) {
            Ok(text) => bytes::Bytes::from(text.replace(from, to)),
            Err(_) => bytes.clone(),
        };
        match self.net.lie {
            Lie::None => bytes,
            Lie::NoBudget => replaced("\"maxUnavailable\":1", "\"maxUnavailable\":\"100%\""),
            Lie::NoTaints => replaced("\"effect\":\"NoExecute\"", "\"effect\":\"PreferNoSchedule\""),
        }
    }

    /// A watch whose events come late, and that ends after some.
    fn watch(&self, response: Response<Body>) -> Response<Body> {
        let faulty = self.net.faulty.load(Ordering::Relaxed);
        let frames = if faulty { 1 + self.net.roll(30) } else { u64::MAX };
        let (parts, body) = response.into_parts();
        let seen = (body, frames, Arc::clone(&self.net));
        let lie = Wire {
            net: Arc::clone(&self.net),
            user: self.user.clone(),
            cut: AtomicBool::new(false),
            is_controller: self.is_controller,
        };
        let late = futures::stream::unfold((seen, lie), |((mut body, frames, net), lie)| async move {
            if frames == 0 {
                return None;
            }
            let frame = body.frame().await?;
            net.moved();
            if net.chance(SLOW_OF_100) {
                let ms = [50, 500, 3_000][usize::try_from(net.roll(3)).unwrap_or_default()];
                net.clock.sleep(Duration::from_millis(ms)).await;
                net.moved();
            }
            let frame = frame.map(|frame| frame.map_data(|data| lie.told(data)));
            Some((frame, ((body, frames.saturating_sub(1), net), lie)))
        });
        Response::from_parts(parts, StreamBody::new(late).boxed_unsync())
    }
}

fn whole(bytes: bytes::Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A Status such as a server in trouble sends.
fn refusal(code: StatusCode, reason: &str) -> Response<Body> {
    let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "as the dice wanted", "reason": reason, "code": code.as_u16()});
    let body = whole(bytes::Bytes::from(status.to_string()));
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}
