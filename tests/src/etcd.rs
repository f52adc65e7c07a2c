//! A real etcd of one member, ended with its test.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{SOON, eventually, free_port, process, tool};

pub struct Etcd {
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl Etcd {
    #[track_caller]
    pub fn start() -> Etcd {
        // In memory where that is possible: what etcd does with a disk is not what is tested.
        let folder =
            tempfile::tempdir_in(Path::new("/dev/shm")).or_else(|_| tempfile::tempdir()).expect("a folder");
        let (port, peer) = (free_port(), free_port());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let log = std::fs::File::create(folder.path().join("log")).expect("log");
        // setpriv: it dies with the test that started it, even if that is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(tool("etcd"))
            .args(["--name", "m", "--initial-cluster", &format!("m={}", url(peer))])
            .args(["--listen-client-urls", &url(port), "--advertise-client-urls", &url(port)])
            .args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)])
            .args(["--logger", "zap", "--log-level", "warn", "--data-dir"])
            .arg(folder.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start etcd");
        let etcd = Etcd { port, child, _folder: folder };
        eventually("etcd listens", SOON, || {
            TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.to_string())
        });
        etcd
    }

    /// For `--store`.
    pub fn address(&self) -> String {
        format!("etcd://127.0.0.1:{}", self.port)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        process::kill_9(&mut self.child);
    }
}
