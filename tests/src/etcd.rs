//! A real etcd of one member, with TLS or without, ended with its test.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;

use crate::{SOON, eventually, free_port, process, tool};

pub struct Etcd {
    scheme: &'static str,
    port: u16,
    child: Child,
    folder: TempDir,
}

impl Etcd {
    #[track_caller]
    pub fn start() -> Etcd {
        Etcd::launch("http")
    }

    /// One that asks its clients for a certificate; `ca.crt`, `client.crt` and `client.key` are in its folder.
    #[track_caller]
    pub fn start_with_tls() -> Etcd {
        Etcd::launch("https")
    }

    #[track_caller]
    fn launch(scheme: &'static str) -> Etcd {
        // In memory where that is possible: what etcd does with a disk is not what is tested.
        let folder =
            tempfile::tempdir_in(Path::new("/dev/shm")).or_else(|_| tempfile::tempdir()).expect("a folder");
        let (port, peer) = (free_port(), free_port());
        let peers = format!("http://127.0.0.1:{peer}");
        let clients = format!("{scheme}://127.0.0.1:{port}");
        if scheme == "https" {
            write_identities(folder.path());
        }
        let log = std::fs::File::create(folder.path().join("log")).expect("log");
        // setpriv: it dies with the test that started it, even if that is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(tool("etcd"))
            .args(["--name", "m", "--initial-cluster", &format!("m={peers}")])
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(if scheme == "https" { TLS } else { &[] })
            .args(["--logger", "zap", "--log-level", "warn", "--data-dir", "data"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start etcd");
        let etcd = Etcd { scheme, port, child, folder };
        eventually("etcd listens", SOON, || {
            TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.to_string())
        });
        etcd
    }

    /// For `--store`.
    pub fn address(&self) -> String {
        let scheme = if self.scheme == "https" { "etcds" } else { "etcd" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

const TLS: &[&str] = &[
    "--cert-file",
    "server.crt",
    "--key-file",
    "server.key",
    "--client-cert-auth",
    "--trusted-ca-file",
    "ca.crt",
];

/// A CA, and what it has signed for the server and for a client.
fn write_identities(folder: &Path) {
    let write = |name: &str, pem: &str| std::fs::write(folder.join(name), pem).expect("write");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca.crt", &params.self_signed(&key).expect("a CA").pem());
    let ca = Issuer::new(params, key);
    for name in ["server", "client"] {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        // etcd's own gateway dials with the server's certificate.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        write(&format!("{name}.crt"), &params.signed_by(&key, &ca).expect("a certificate").pem());
        write(&format!("{name}.key"), &key.serialize_pem());
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        process::kill_9(&mut self.child);
    }
}
