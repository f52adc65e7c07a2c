//! Real etcd members: processes on free ports of 127.0.0.1 with a data folder of their own, ended with their test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Ports that someone else took between our look and etcd's start are tried again this often.
const START_TRIES_MAX: usize = 5;
/// For a member to listen; on a machine that builds at the same time it is slow to start.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// An etcd cluster.
pub struct Cluster {
    members: Vec<Member>,
    dir: TempDir,
    options: Vec<String>,
    scheme: &'static str,
}

struct Member {
    client_port: u16,
    peer_port: u16,
    process: Option<Child>,
}

impl Cluster {
    pub fn of(size: usize) -> Cluster {
        Cluster::with(size, "etcd", &[])
    }

    /// With more of etcd's options, and our scheme for its address.
    pub fn with(size: usize, scheme: &'static str, options: &[&str]) -> Cluster {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let mut tries = 1;
        loop {
            let members = (0..size)
                .map(|_| Member { client_port: free_port(), peer_port: free_port(), process: None })
                .collect();
            let mut cluster = Cluster { members, dir: folder(), options: options.clone(), scheme };
            (0..size).for_each(|n| cluster.spawn(n));
            match (0..size).all(|n| cluster.listens(n)) {
                true => return cluster,
                false if tries < START_TRIES_MAX => tries += 1,
                false => panic!("etcd does not start: {}", cluster.log(0)),
            }
        }
    }

    /// For `--store` and the like.
    pub fn address(&self) -> String {
        let members: Vec<String> =
            self.members.iter().map(|member| format!("127.0.0.1:{}", member.client_port)).collect();
        format!("{}://{}", self.scheme, members.join(","))
    }

    pub fn kill(&mut self, n: usize) {
        if let Some(mut process) = self.members[n].process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts a member that was killed, with the data that it had.
    pub fn start(&mut self, n: usize) {
        self.spawn(n);
        assert!(self.listens(n), "etcd does not start again: {}", self.log(n));
    }

    fn spawn(&mut self, n: usize) {
        let transport = if self.scheme == "etcds" { "https" } else { "http" };
        let client = format!("{transport}://127.0.0.1:{}", self.members[n].client_port);
        let peer = |member: &Member| format!("http://127.0.0.1:{}", member.peer_port);
        let all: Vec<String> =
            self.members.iter().enumerate().map(|(n, member)| format!("m{n}={}", peer(member))).collect();
        let log = std::fs::File::create(self.log_path(n)).unwrap();
        // One member has nobody to wait for; among three an election must outlast a busy machine's hiccups.
        let (heartbeat, election) = if self.members.len() == 1 { ("10", "100") } else { ("50", "500") };
        // setpriv: the member dies with the thread that started it, even if the test is killed.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "etcd", "--name", &format!("m{n}")])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer(&self.members[n])])
            .args(["--initial-advertise-peer-urls", &peer(&self.members[n])])
            .args(["--initial-cluster", &all.join(","), "--initial-cluster-token", &all.join("-")])
            .args(["--heartbeat-interval", heartbeat, "--election-timeout", election])
            .args(["--logger", "zap", "--log-level", "warn"])
            .arg("--data-dir")
            .arg(self.dir.path().join(format!("m{n}")))
            .args(&self.options)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("setpriv is there (Debian's util-linux)");
        self.members[n].process = Some(process);
    }

    /// False if the process ended instead.
    fn listens(&mut self, n: usize) -> bool {
        let deadline = Instant::now() + START_DEADLINE;
        let member = &mut self.members[n];
        while std::net::TcpStream::connect(("127.0.0.1", member.client_port)).is_err() {
            let process = member.process.as_mut().expect("it was started");
            if process.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(Instant::now() < deadline, "etcd listens in time");
            // There is nothing to wait on but the port.
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    fn log_path(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("m{n}.log"))
    }

    fn log(&self, n: usize) -> String {
        let log = std::fs::read_to_string(self.log_path(n)).unwrap_or_default();
        if log.is_empty() { "is Debian's etcd-server installed (scripts/setup.sh)?".to_owned() } else { log }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|n| self.kill(n));
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// In memory where that is possible: what etcd does with a disk is not what is tested.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap()
}
