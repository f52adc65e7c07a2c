//! The cluster's members: connections, calls with their deadlines, and what a failed call says.
//!
//! Calls go to one member until it fails, then to the next. A read is asked again until its deadline. A write is sent
//! again only when it is certain that it was not carried out; after any other failure nobody here knows, and the
//! caller is told so ([`Failed::Unknown`]): an answer may have been lost behind a commit.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, ConnectError, Status};
use tonic_prost::ProstCodec;

use super::address::{Address, Member};
use super::dial::{self, Tls};
use crate::BackendError;

/// One try of a read, so that a member that hangs does not use up the deadline.
const READ_TRY_DEADLINE: Duration = Duration::from_secs(3);
/// How long calls may take, with all their tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    pub read: Duration,
    pub write: Duration,
}

impl Default for Deadlines {
    /// A cluster that loses its leader has a new one within a few seconds; etcd itself gives up a write after five
    /// seconds and two elections.
    fn default() -> Deadlines {
        Deadlines { read: Duration::from_secs(10), write: Duration::from_secs(10) }
    }
}

/// Wait before the second try; it doubles up to [`RETRY_DELAY_MAX`].
const RETRY_DELAY: Duration = Duration::from_millis(20);
const RETRY_DELAY_MAX: Duration = Duration::from_millis(500);

/// A connection on which nothing comes back for the sum of these two is given up.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest answer: a page of entries, or what a watch that was behind is told at once.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// etcd refuses to answer as long as the member that is asked knows no leader.
const REQUIRE_LEADER: (&str, &str) = ("hasleader", "true");

pub struct Members {
    endpoints: Vec<(Endpoint, Member)>,
    channels: Vec<Channel>,
    tls: Option<Tls>,
    pub deadlines: Deadlines,
    /// Grows with each failure; the member in turn is this one modulo their number.
    turn: AtomicUsize,
}

/// Why a write was not acknowledged.
#[derive(Debug)]
pub enum Failed {
    /// It has not happened and will not.
    NotDone(BackendError),
    Unknown(BackendError),
}

/// What a failed call says of what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Not carried out; another member, or the same one later, may do it.
    NotDone,
    /// Not carried out, and asking again will not help.
    Refused,
    /// Perhaps carried out.
    Unknown,
}

impl Members {
    pub fn new(address: &Address, tls: Option<Tls>, deadlines: Deadlines) -> Result<Members, BackendError> {
        let endpoints = address
            .members
            .iter()
            .map(|member| Ok((endpoint(member, address.tls)?, member.clone())))
            .collect::<Result<Vec<_>, _>>()?;
        let channels = endpoints
            .iter()
            .map(|(endpoint, member)| {
                endpoint.connect_with_connector_lazy(dial::Dialer::new(member, tls.clone()))
            })
            .collect();
        Ok(Members { endpoints, channels, tls, deadlines, turn: AtomicUsize::new(0) })
    }

    /// Asks until there is an answer, or an error that no member will change, or the deadline.
    pub async fn read<Q, A>(&self, path: &'static str, request: Q) -> Result<A, BackendError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let deadline = Instant::now() + self.deadlines.read;
        let mut delay = RETRY_DELAY;
        loop {
            let turn = self.turn.load(Ordering::Relaxed);
            let until = deadline.min(Instant::now() + READ_TRY_DEADLINE);
            let status = match within(until, call(self.member(turn), path, request.clone())).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            // Out of range is also an answer that is larger than what we take, whoever gives it.
            let is_final = verdict(&status) == Verdict::Refused || status.code() == Code::OutOfRange;
            if is_final || Instant::now() + delay >= deadline {
                return Err(backend(status));
            }
            self.next_after(turn);
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RETRY_DELAY_MAX);
        }
    }

    /// Carries out a write at most once.
    pub async fn write<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Failed>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let deadline = Instant::now() + self.deadlines.write;
        let mut delay = RETRY_DELAY;
        loop {
            let turn = self.turn.load(Ordering::Relaxed);
            let status = match within(deadline, call(self.member(turn), path, request.clone())).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            match verdict(&status) {
                Verdict::Refused => return Err(Failed::NotDone(backend(status))),
                Verdict::Unknown => {
                    self.next_after(turn);
                    return Err(Failed::Unknown(backend(status)));
                }
                Verdict::NotDone if Instant::now() + delay >= deadline => {
                    return Err(Failed::NotDone(backend(status)));
                }
                Verdict::NotDone => {
                    self.next_after(turn);
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(RETRY_DELAY_MAX);
                }
            }
        }
    }

    /// A connection of its own to the member in turn: a stream that is read slowly must not hold up the calls that share
    /// its connection. Also the turn, for [`Members::next_after`].
    pub fn own_channel(&self) -> (Channel, usize) {
        let turn = self.turn.load(Ordering::Relaxed);
        let (endpoint, member) = &self.endpoints[turn % self.endpoints.len()];
        (endpoint.connect_with_connector_lazy(dial::Dialer::new(member, self.tls.clone())), turn)
    }

    /// The member of this turn failed. Many calls may see the same failure: the turn passes once.
    pub fn next_after(&self, turn: usize) {
        let _ = self.turn.compare_exchange(turn, turn.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    fn member(&self, turn: usize) -> Channel {
        self.channels[turn % self.channels.len()].clone()
    }
}

fn endpoint(member: &Member, tls: bool) -> Result<Endpoint, BackendError> {
    let address = |scheme: &str| format!("{scheme}://{member}");
    let endpoint = Endpoint::from_shared(address("http")).map_err(library)?;
    let endpoint = match tls {
        // The dialer speaks TLS; the library only has to name the scheme in its requests.
        true => endpoint.origin(address("https").parse().map_err(library)?),
        false => endpoint,
    };
    Ok(endpoint
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

/// A client that may receive a large answer.
pub fn client(channel: Channel) -> tonic::client::Grpc<Channel> {
    tonic::client::Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

pub fn request<M>(message: M) -> tonic::Request<M> {
    let mut request = tonic::Request::new(message);
    let (name, value) = REQUIRE_LEADER;
    request.metadata_mut().insert(name, tonic::metadata::MetadataValue::from_static(value));
    request
}

async fn call<Q, A>(channel: Channel, path: &'static str, message: Q) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut client = client(channel);
    client.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
    let codec = ProstCodec::<Q, A>::default();
    let answer = client.unary(request(message), PathAndQuery::from_static(path), codec).await?;
    Ok(answer.into_inner())
}

/// Dropping the call at the deadline cancels it; what it asked for may have been carried out.
pub async fn within<T>(
    deadline: Instant,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    tokio::time::timeout_at(deadline, call)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer from etcd in time")))
}

/// etcd's errors are told apart by their texts, as its own clients do: one gRPC code has several meanings.
fn verdict(status: &Status) -> Verdict {
    if is_not_sent(status) {
        return Verdict::NotDone;
    }
    match status.message() {
        // Answered before the request is looked at, or before it is proposed.
        "etcdserver: no leader" | "etcdserver: too many requests" | "etcdserver: not capable" => {
            return Verdict::NotDone;
        }
        "etcdserver: mvcc: database space exceeded" => return Verdict::Refused,
        _ => {}
    }
    // The same codes are also made on this side, of a broken connection: only what the server said is certain.
    let is_the_servers = status.message().starts_with("etcdserver: ") || is_request_too_large(status);
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::ResourceExhausted
            if is_the_servers =>
        {
            Verdict::Refused
        }
        // No etcd, or one of before version 3.
        Code::Unimplemented => Verdict::Refused,
        _ => Verdict::Unknown,
    }
}

fn is_request_too_large(status: &Status) -> bool {
    status.message() == "etcdserver: request is too large"
        || status.message().starts_with("grpc: received message larger than max")
}

/// No connection: nothing has left this process.
fn is_not_sent(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The revision that was asked for has been compacted.
pub fn is_compacted(error: &BackendError) -> bool {
    let BackendError::Library { source, .. } = error else { return false };
    source
        .downcast_ref::<Status>()
        .is_some_and(|status| status.message() == "etcdserver: mvcc: required revision has been compacted")
}

/// The answer was larger than what we take.
pub fn is_too_large_an_answer(error: &BackendError) -> bool {
    let BackendError::Library { source, .. } = error else { return false };
    source.downcast_ref::<Status>().is_some_and(|status| {
        status.code() == Code::OutOfRange && status.message().contains("message length too large")
    })
}

pub fn backend(status: Status) -> BackendError {
    if status.message() == "etcdserver: mvcc: database space exceeded" {
        return BackendError::DiskFull(std::io::Error::new(std::io::ErrorKind::StorageFull, status));
    }
    if is_request_too_large(&status) {
        return BackendError::TooLarge;
    }
    library(status)
}

pub fn library(error: impl std::error::Error + Send + Sync + 'static) -> BackendError {
    BackendError::Library { backend: "etcd", source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_sent_again_only_when_it_was_certainly_not_carried_out() {
        for (status, expected) in [
            (Status::unavailable("etcdserver: no leader"), Verdict::NotDone),
            (Status::resource_exhausted("etcdserver: too many requests"), Verdict::NotDone),
            (Status::resource_exhausted("etcdserver: mvcc: database space exceeded"), Verdict::Refused),
            (Status::invalid_argument("etcdserver: request is too large"), Verdict::Refused),
            (Status::permission_denied("etcdserver: permission denied"), Verdict::Refused),
            (Status::unavailable("etcdserver: request timed out"), Verdict::Unknown),
            (Status::unavailable("etcdserver: leader changed"), Verdict::Unknown),
            (
                Status::unavailable("etcdserver: request timed out, possibly due to previous leader failure"),
                Verdict::Unknown,
            ),
            (Status::unavailable("etcdserver: server stopped"), Verdict::Unknown),
            (Status::unknown("transport error"), Verdict::Unknown),
            (Status::resource_exhausted("h2 protocol error: too calm"), Verdict::Unknown),
            (Status::deadline_exceeded("no answer from etcd in time"), Verdict::Unknown),
            (Status::internal("h2 protocol error"), Verdict::Unknown),
        ] {
            assert_eq!(verdict(&status), expected, "{status}");
        }
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(ConnectError(Box::new(refused))));
        assert_eq!(verdict(&status), Verdict::NotDone, "nobody listened");
    }

    #[test]
    fn a_full_etcd_and_a_write_too_large_have_names_of_their_own() {
        let full = backend(Status::resource_exhausted("etcdserver: mvcc: database space exceeded"));
        assert!(matches!(full, BackendError::DiskFull(_)));
        let large = backend(Status::invalid_argument("etcdserver: request is too large"));
        assert!(matches!(large, BackendError::TooLarge));
    }
}
