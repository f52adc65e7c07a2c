//! The listener: TLS, HTTP/1 with upgrades and HTTP/2, and the bounds on connections.
//!
//! A connection's client certificate is read once and becomes the [`Peered`] extension of each of its requests, or
//! [`UnknownCertificate`] where it is none of the cluster's; everything else is the service's.

use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use process::Shutdown;
use rustls_pki_types::UnixTime;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::access::User;
use crate::access::authn::user_from_certificate;
use crate::keep_alive;
use crate::leftover;
use crate::limits::{CONNECTIONS_MAX, DRAIN_TIMEOUT, HANDSHAKE_TIMEOUT, HEADER_TIMEOUT, STRANGERS_MAX};
use crate::pki::tls::{Peer, ServerTls};
use crate::server::Server;

/// Who a connection's verified certificate names; nobody where its subject is none of a user.
#[derive(Debug, Clone)]
pub struct Peered(pub Option<Arc<User>>);

/// The client has shown a certificate that does not count: whoever it is, it is nobody here.
#[derive(Debug, Clone, Copy)]
pub struct UnknownCertificate;

impl Server {
    /// Answers connections until `shutdown`, then lets open requests finish for a bounded time.
    pub async fn serve(&self, listener: TcpListener, tls: ServerTls, shutdown: Shutdown) {
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
        let open = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
        let graceful = GracefulShutdown::new();
        loop {
            // A connection that waits for a permit waits in the kernel's backlog.
            let permit = tokio::select! {
                permit = Arc::clone(&open).acquire_owned() => permit,
                () = shutdown.cancelled() => break,
            };
            let Ok(permit) = permit else { break };
            // Dropping accept loses no connection: it stays in the backlog.
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    // Out of file descriptors: closing connections frees them, spinning does not.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            let server = self.clone();
            let (acceptor, tls) = (acceptor.clone(), tls.clone());
            let strangers = Arc::clone(&strangers);
            let watcher = graceful.watcher();
            tokio::spawn(async move {
                server.connection(stream, acceptor, &tls, &strangers, watcher).await;
                drop(permit);
            });
        }
        drop(listener);
        self.end_watches();
        if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("connections were still open at the end of the drain time");
        }
    }

    async fn connection(
        &self,
        stream: TcpStream,
        acceptor: TlsAcceptor,
        tls: &ServerTls,
        strangers: &Semaphore,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        keep_alive::set(&stream);
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake failed");
                return;
            }
            Err(_) => {
                tracing::debug!("TLS handshake took too long");
                return;
            }
        };
        let peer = tls.peer(stream.get_ref().1.peer_certificates(), UnixTime::now());
        if let Peer::Stranger(why) = &peer {
            tracing::debug!(%why, "unknown client certificate");
        }
        let _stranger = match &peer {
            Peer::Known(_) => None,
            Peer::Stranger(_) | Peer::Nameless => match strangers.try_acquire() {
                Ok(permit) => Some(permit),
                Err(_) => {
                    tracing::debug!("too many connections without a certificate, this one is closed");
                    return;
                }
            },
        };
        let peered = match &peer {
            Peer::Known(certificate) => Some(Peered(named(certificate))),
            Peer::Stranger(_) | Peer::Nameless => None,
        };
        let is_stranger = matches!(peer, Peer::Stranger(_));
        let service = self.service();
        let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            if let Some(peered) = &peered {
                request.extensions_mut().insert(peered.clone());
            } else if is_stranger {
                request.extensions_mut().insert(UnknownCertificate);
            }
            let mut service = service.clone();
            let (answer, left) = if leftover::may_be(request.headers(), request.body()) {
                let (head, body) = request.into_parts();
                let (body, left) = leftover::lend(body);
                (tower::Service::call(&mut service, http::Request::from_parts(head, body)), Some(left))
            } else {
                (tower::Service::call(&mut service, request), None)
            };
            async move {
                let answer = answer.await;
                if let Some(left) = left {
                    left.read_away().await;
                }
                answer
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(HEADER_TIMEOUT));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "connection ended");
        }
    }
}

fn named(certificate: &[u8]) -> Option<Arc<User>> {
    let user = user_from_certificate(certificate);
    user.inspect_err(|error| tracing::debug!(%error, "certificate without a user")).ok().map(Arc::new)
}
