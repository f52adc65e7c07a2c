//! TLS, connections, and who is behind them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use process::{Shutdown, Tasks};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::HttpError;
use super::caller::may_call;
use crate::config::{HttpConfig, Tls};

/// One API server makes few connections; more at once are a fault or an attack.
const CONNECTIONS_MAX: usize = 512;
/// A client that says nothing after connecting.
const HANDSHAKE_MS_MAX: u64 = 10_000;

/// What the agent's API shows to its callers; clones share it.
#[derive(Debug, Clone)]
pub struct ServingCertificate(Arc<ArcSwap<CertifiedKey>>);

impl ServingCertificate {
    fn of(certificate_pem: &str, key_pem: &str) -> Result<ServingCertificate, HttpError> {
        Ok(ServingCertificate(Arc::new(ArcSwap::from_pointee(certified(certificate_pem, key_pem)?))))
    }

    /// Shown on every connection from now on.
    pub fn replace(&self, certificate_pem: &str, key_pem: &str) -> Result<(), HttpError> {
        self.0.store(Arc::new(certified(certificate_pem, key_pem)?));
        Ok(())
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn certified(certificate_pem: &str, key_pem: &str) -> Result<CertifiedKey, HttpError> {
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(certificate_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(fault("serving certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(fault("serving key"))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(certificates, key, &provider).map_err(fault("serving certificate and key"))
}

fn fault<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    what: &'static str,
) -> impl FnOnce(E) -> HttpError {
    move |source| HttpError::Tls { what, source: source.into() }
}

pub async fn start(
    config: &HttpConfig,
    router: Router,
    tasks: &Tasks,
) -> Result<(SocketAddr, ServingCertificate), HttpError> {
    let serving = ServingCertificate::of(&config.tls.certificate_pem, &config.tls.key_pem)?;
    let acceptor = TlsAcceptor::from(Arc::new(server_config(&config.tls, serving.clone())?));
    let failed = |source| HttpError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let shutdown = tasks.shutdown_signal().clone();
    let connections = tasks.clone();
    tasks.spawn("agent http", accept(listener, acceptor, router, connections, shutdown));
    Ok((address, serving))
}

fn server_config(tls: &Tls, serving: ServingCertificate) -> Result<ServerConfig, HttpError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(tls.client_ca_pem.as_bytes()) {
        roots.add(certificate.map_err(fault("client CA"))?).map_err(fault("client CA"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(fault("client CA"))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(fault("TLS versions"))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(serving));
    // Upgrades need HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    router: Router,
    tasks: Tasks,
    shutdown: Shutdown,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            // A connection that is not accepted waits in the kernel.
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors: waiting a little is all that helps.
                tracing::warn!(%error, "agent http: accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            tracing::warn!(%peer, connections = CONNECTIONS_MAX, "agent http: too many connections");
            continue;
        };
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), shutdown.clone());
        tasks.spawn("agent http connection", async move {
            let _slot = slot;
            tokio::select! {
                // The client sees a broken connection and asks again.
                () = stop.cancelled() => {}
                () = serve(stream, acceptor, router, peer) => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, router: Router, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let handshake =
        tokio::time::timeout(Duration::from_millis(HANDSHAKE_MS_MAX), acceptor.accept(stream)).await;
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "agent http: TLS handshake refused");
            return;
        }
        Err(_) => return,
    };
    let allowed = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first)
        .is_some_and(|certificate| may_call(certificate));
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let router = router.clone();
        async move {
            if !allowed {
                return Ok((
                    StatusCode::FORBIDDEN,
                    "Forbidden: this certificate may not use the node agent's API\n",
                )
                    .into_response());
            }
            router.oneshot(request.map(axum::body::Body::new)).await
        }
    });
    let connection = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = connection.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(%peer, error, "agent http: connection ended");
    }
}
