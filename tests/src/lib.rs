//! What the black-box tests share: a machine that runs everynode, and the tools that users have.
//!
//! They need root, containerd, runc and the CNI plugins, and are told by `scripts/test.sh` where the binary
//! (`EVERYNODE_BIN`), kubectl (`EVERYNODE_TOOLS`) and the images (`EVERYNODE_IMAGES`) are. Each test has its
//! own data folder, port, node name and Pod network, and ends what it started.

pub mod component;
pub mod curl;
pub mod etcd;
pub mod kubectl;
pub mod lan;
pub mod machine;
pub mod process;
pub mod wire;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use component::Component;
pub use curl::Curl;
pub use etcd::Etcd;
pub use kubectl::{Kubectl, Ran};
pub use lan::Lan;
pub use machine::Machine;

/// How long a test waits for what should be there in a second or two, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const LOOK_AGAIN_MS: u64 = 50;

fn place(variable: &str) -> PathBuf {
    let value = std::env::var_os(variable);
    PathBuf::from(value.unwrap_or_else(|| panic!("{variable} is not set: run the tests with `make test`")))
}

/// The binary under test.
pub fn everynode() -> PathBuf {
    place("EVERYNODE_BIN")
}

/// A tool that users have, by its file's name.
pub fn tool(name: &str) -> PathBuf {
    place("EVERYNODE_TOOLS").join(name)
}

/// An image archive, by its stem.
pub fn image(stem: &str) -> PathBuf {
    place("EVERYNODE_IMAGES").join(format!("{stem}.tar"))
}

/// A file of the repository's examples.
pub fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

/// Looks until `condition` gives a value; panics with what it last said when `deadline` has passed.
#[track_caller]
pub fn eventually<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + deadline;
    loop {
        match condition() {
            Ok(value) => return value,
            Err(last) if Instant::now() > end => panic!("{what}: not within {deadline:?}; last: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(LOOK_AGAIN_MS)),
        }
    }
}

/// Holds for the whole of `span`: looked at again and again, panics at once when it does not.
#[track_caller]
pub fn throughout(what: &str, span: Duration, mut condition: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        if let Err(why) = condition() {
            panic!("{what}: {why}");
        }
        std::thread::sleep(Duration::from_millis(LOOK_AGAIN_MS));
    }
}

/// A TCP port that nobody listens on now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind a free port");
    listener.local_addr().expect("its address").port()
}
