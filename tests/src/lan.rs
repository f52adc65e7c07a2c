//! Several machines on one link: each a network namespace with its own address, and a bridge that joins them.
//!
//! The API server runs on the bridge's own address; what runs in a namespace reaches it as over a real network, until its
//! cable is pulled.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::process;

const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// Networks 10.77.N.0/24, so that tests side by side find one each.
const NETWORKS: u32 = 250;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A bridge with its namespaces; dropping it removes both. Machines on it have to end first.
pub struct Lan {
    /// In the names of links, which have 15 characters at most.
    id: String,
    third: u32,
    count: usize,
}

impl Lan {
    /// A link with `count` machines.
    #[track_caller]
    pub fn new(count: usize) -> Lan {
        let (pid, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let used = ip(&["-4", "-o", "addr"]);
        let third = (0..NETWORKS)
            .map(|i| (2 * pid + number + i) % NETWORKS + 1)
            .find(|third| !used.contains(&format!(" 10.77.{third}.")))
            .expect("a free network");
        let lan = Lan { id: format!("e{pid}n{number}"), third, count };
        ip(&["link", "add", &lan.id, "type", "bridge"]);
        ip(&["addr", "add", &format!("{}/24", lan.gateway()), "dev", &lan.id]);
        ip(&["link", "set", &lan.id, "up"]);
        for i in 0..count {
            lan.plug_in(i);
        }
        lan
    }

    #[track_caller]
    fn plug_in(&self, i: usize) {
        let (space, cable) = (self.namespace(i), self.cable(i));
        ip(&["netns", "add", &space]);
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &space]);
        ip(&["link", "set", &cable, "master", &self.id, "up"]);
        ip(&["-n", &space, "addr", "add", &format!("{}/24", self.address(i)), "dev", "eth0"]);
        ip(&["-n", &space, "link", "set", "lo", "up"]);
        ip(&["-n", &space, "link", "set", "eth0", "up"]);
        ip(&["-n", &space, "route", "add", "default", "via", &self.gateway()]);
    }

    /// Where the API server listens.
    pub fn gateway(&self) -> String {
        format!("10.77.{}.1", self.third)
    }

    pub fn address(&self, i: usize) -> String {
        format!("10.77.{}.{}", self.third, 11 + i)
    }

    pub fn namespace(&self, i: usize) -> String {
        format!("{}h{i}", self.id)
    }

    fn cable(&self, i: usize) -> String {
        format!("{}v{i}", self.id)
    }

    /// The machine's cable is pulled: nothing reaches it, and it reaches nothing.
    #[track_caller]
    pub fn cut_off(&self, i: usize) {
        ip(&["link", "set", &self.cable(i), "down"]);
    }

    #[track_caller]
    pub fn reconnect(&self, i: usize) {
        ip(&["link", "set", &self.cable(i), "up"]);
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for i in 0..self.count {
            let _ = Command::new("ip").args(["netns", "delete", &self.namespace(i)]).status();
        }
        let _ = Command::new("ip").args(["link", "delete", &self.id]).status();
    }
}

#[track_caller]
fn ip(arguments: &[&str]) -> String {
    let out = process::run(Command::new("ip").args(arguments), CALL_DEADLINE);
    assert!(out.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}
