//! Certificates on disk and on the wire.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::tls::{Peer, ServerTls};
use super::*;
use crate::access::{User, authn};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn now() -> Timestamp {
    Timestamp::now()
}

fn names() -> ServingNames {
    ServingNames::api_server(IpAddr::from([10, 1, 2, 3]), "Machine-1")
}

fn user(identity: &Identity) -> User {
    authn::user_from_certificate(&identity.certificate().unwrap()).unwrap()
}

#[test]
fn certificates_name_the_users_that_the_roles_are_bound_to() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::open(dir.path().join("pki"), &names(), now()).unwrap();
    assert_eq!(user(&pki.admin), User::admin());
    assert_eq!(user(&pki.controllers), User::controllers());
    assert_eq!(user(&pki.scheduler), User::scheduler());
    let node = pki.node("node-1", &[IpAddr::from([127, 0, 0, 1])], now()).unwrap();
    assert_eq!(user(&node.client), User::node("node-1"));
    let kubelet_client = user(&pki.kubelet_client);
    assert_eq!(kubelet_client.name, "kube-apiserver-kubelet-client");
    assert!(kubelet_client.is_in("system:masters"));
}

#[test]
fn second_start_finds_what_the_first_has_made_and_all_of_it_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/pki");
    let contents = || -> BTreeMap<PathBuf, Vec<u8>> {
        let files = path.read_dir().unwrap().map(|entry| entry.unwrap().path());
        files.map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
    };
    let open = || {
        let pki = Pki::open(&path, &names(), now()).unwrap();
        pki.node("node-1", &[], now()).unwrap();
    };
    open();
    let first = contents();
    open();
    assert_eq!(contents(), first);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    for file in first.keys() {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    let files: Vec<_> = first.keys().filter_map(|file| file.file_name()?.to_str()).collect();
    assert!(files.contains(&"sa.key") && files.contains(&"ca.crt"), "{files:?}");
}

#[test]
fn leaves_are_renewed_in_their_last_month_and_when_their_names_change() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::open(dir.path(), &names(), now()).unwrap();
    let open = |names: &ServingNames, now| Pki::open(dir.path(), names, now).unwrap();

    let moved = ServingNames::api_server(IpAddr::from([10, 9, 9, 9]), "machine-1");
    let renamed = open(&moved, now());
    assert_ne!(renamed.server.certificate_pem, first.server.certificate_pem);
    assert_eq!(renamed.admin.certificate_pem, first.admin.certificate_pem);

    let early = open(&moved, now() + DAY * 330);
    assert_eq!(early.admin.certificate_pem, first.admin.certificate_pem);
    let late = open(&moved, now() + DAY * 340);
    assert_ne!(late.admin.certificate_pem, first.admin.certificate_pem);
    assert_eq!(late.ca_pem(), first.ca_pem(), "the CA stays");
    assert_eq!(user(&late.admin), User::admin());
}

#[test]
fn damaged_leaf_is_replaced_and_a_ca_without_its_key_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::open(dir.path(), &names(), now()).unwrap();
    std::fs::write(dir.path().join("admin.key"), "torn").unwrap();
    std::fs::copy(dir.path().join("scheduler.key"), dir.path().join("controller-manager.key")).unwrap();
    let second = Pki::open(dir.path(), &names(), now()).unwrap();
    assert_eq!(user(&second.admin), User::admin());
    assert_ne!(second.controllers.certificate_pem, first.controllers.certificate_pem);
    assert_eq!(second.scheduler.certificate_pem, first.scheduler.certificate_pem);
    std::fs::remove_file(dir.path().join("ca.key")).unwrap();
    assert!(matches!(Pki::open(dir.path(), &names(), now()), Err(PkiError::KeyMissing { .. })));
}

#[test]
fn kubeconfig_is_yaml_with_the_credentials_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::open(dir.path(), &names(), now()).unwrap();
    let text = kubeconfig("https://127.0.0.1:6443", pki.ca_pem(), "admin", &pki.admin);
    let config: kube::config::Kubeconfig = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(config.current_context.as_deref(), Some("everynode"));
    let cluster = config.clusters[0].cluster.as_ref().unwrap();
    assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:6443"));
    use base64::Engine;
    let ca = cluster.certificate_authority_data.as_ref().unwrap();
    let ca = base64::engine::general_purpose::STANDARD.decode(ca).unwrap();
    assert_eq!(ca, pki.ca_pem().as_bytes());
}

/// One connection between the two; what the server saw of the client, or why there was none.
async fn connect(
    server: &ServerTls,
    client: rustls::ClientConfig,
    name: &'static str,
) -> (std::io::Result<Peer>, std::io::Result<()>) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let serve = async move {
        let mut stream = TlsAcceptor::from(Arc::clone(&server.config)).accept(far).await?;
        let peer = server.peer(stream.get_ref().1.peer_certificates(), UnixTime::now());
        stream.write_all(b"hello").await?;
        stream.shutdown().await?;
        Ok(peer)
    };
    let dial = async move {
        let name = ServerName::try_from(name).unwrap();
        let mut stream = TlsConnector::from(Arc::new(client)).connect(name, near).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        assert_eq!(answer, "hello");
        Ok(())
    };
    tokio::join!(serve, dial)
}

#[tokio::test]
async fn server_knows_its_own_clients_the_nameless_and_strangers() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::open(dir.path().join("own"), &names(), now()).unwrap();
    let stranger = Pki::open(dir.path().join("other"), &names(), now()).unwrap();
    let server = pki.server_tls().unwrap();
    let ca = pki.authority().certificate();

    for name in ["127.0.0.1", "::1", "10.1.2.3", "localhost", "machine-1", "kubernetes.default.svc"] {
        let client = tls::client_config(ca, &pki.admin).unwrap();
        let (seen, reached) = connect(&server, client, name).await;
        reached.unwrap();
        let Peer::Known(certificate) = seen.unwrap() else { panic!("{name}: not known") };
        assert_eq!(authn::user_from_certificate(&certificate).unwrap(), User::admin(), "{name}");
    }

    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.clone()).unwrap();
    let nameless =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let (seen, reached) = connect(&server, nameless, "localhost").await;
    reached.unwrap();
    assert_eq!(seen.unwrap(), Peer::Nameless);

    let client = tls::client_config(ca, &stranger.admin).unwrap();
    let (seen, reached) = connect(&server, client, "localhost").await;
    reached.unwrap();
    assert!(matches!(seen.unwrap(), Peer::Stranger(_)));

    let client = tls::client_config(stranger.authority().certificate(), &pki.admin).unwrap();
    let (_, reached) = connect(&server, client, "localhost").await;
    reached.unwrap_err();
}
