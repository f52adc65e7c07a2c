//! The listener: TLS, both HTTP versions, certificates as users, the end of the server.

use std::sync::Arc;

use apiserver::pki::{Pki, ServingNames, tls};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use process::Shutdown;
use tokio::net::{TcpListener, TcpStream};

use crate::world::{DEADLINE, World};

struct Network {
    pki: Pki,
    port: u16,
    shutdown: Shutdown,
    serving: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Network {
    async fn open(world: &World) -> Network {
        let folder = tempfile::tempdir().unwrap();
        let names = ServingNames::api_server("127.0.0.1".parse().unwrap(), "localhost");
        let pki = Pki::open(folder.path(), &names, jiff::Timestamp::now()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (server, tls, shutdown) = (world.server.clone(), pki.server_tls().unwrap(), Shutdown::new());
        let stop = shutdown.clone();
        let serving = tokio::spawn(async move { server.serve(listener, tls, stop).await });
        Network { pki, port, shutdown, serving, _folder: folder }
    }

    async fn connect(&self, protocol: &[u8]) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut config = tls::client_config(self.pki.authority().certificate(), &self.pki.admin).unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = "127.0.0.1".try_into().unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

fn get(url: &str) -> Request<Empty<Bytes>> {
    Request::get(url).header("host", "127.0.0.1").body(Empty::new()).unwrap()
}

#[tokio::test]
async fn certificates_subject_is_the_user_over_both_http_versions() {
    let world = World::new().await;
    let network = Network::open(&world).await;
    let stream = TokioIo::new(network.connect(b"http/1.1").await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..2 {
        // The connection is kept.
        let response = sender.send_request(get("/api/v1/pods")).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
    }
    let stream = TokioIo::new(network.connect(b"h2").await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let url = format!("https://127.0.0.1:{}/api/v1/namespaces", network.port);
    assert_eq!(sender.send_request(get(&url)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn stopping_server_ends_watches_and_returns() {
    let world = World::new().await;
    let network = Network::open(&world).await;
    let stream = TokioIo::new(network.connect(b"http/1.1").await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let watch = sender.send_request(get("/api/v1/pods?watch=1")).await.unwrap();
    network.shutdown.trigger();
    tokio::time::timeout(DEADLINE, watch.into_body().collect()).await.unwrap().unwrap();
    tokio::time::timeout(DEADLINE, network.serving).await.unwrap().unwrap();
}
