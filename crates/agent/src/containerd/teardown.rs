//! Taking a node down: its Pods, its containerd, and everything that they left on the machine.
//!
//! For `everynode down`, with no agent running. Pods are stopped in order while containerd answers, so that network
//! plugins undo what they did; whatever still lives after that is killed by its control group. Images stay, under the
//! node's folder, for the next start.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cri::{Filter, RemoteRuntime, Runtime};
use futures::StreamExt;
use podmachine::labels;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::Instant;

use super::layout::{Layout, find, socket_uri};
use super::mounts;
use super::supervise::{running, wait_for_end};
use crate::cgroup::Hierarchies;
use crate::logs;
use crate::network::{bridge_name, short_name};
use crate::spec::PodId;
use crate::spec::sandbox::AGENT_LABEL;

/// Grace of containers that are taken down with their node; a Pod's own when it is shorter.
const GRACE_SECONDS_MAX: u64 = 30;
/// Network plugins wait for each other.
const STOPS_AT_ONCE_MAX: usize = 4;
/// containerd ends within milliseconds of SIGTERM.
const END_MS_MAX: u64 = 10_000;
/// Processes that were killed are gone as soon as the kernel has time.
const KILLED_MS_MAX: u64 = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum TeardownError {
    #[error("use the container runtime of this node")]
    Connect(#[source] cri::Error),
    #[error("not everything could be removed: {}", faults.join("; "))]
    Left { faults: Vec<String> },
}

/// What was done and what is left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Teardown {
    done: Vec<String>,
    faults: Vec<String>,
}

/// Takes down the node whose agent kept its things in `root_dir`. Repeating it is harmless.
pub async fn teardown(root_dir: &Path, log_root: &Path) -> Result<(), TeardownError> {
    let layout = Layout::of(root_dir);
    let mut told = Teardown::default();
    let cgroups = Hierarchies::find(root_dir);
    if let Ok(endpoint) = std::fs::read_to_string(layout.external_endpoint()) {
        let runtime = RemoteRuntime::connect(endpoint.trim()).map_err(TeardownError::Connect)?;
        let ours = Filter::label(AGENT_LABEL, short_name(root_dir));
        stop_pods(Arc::new(runtime), &ours, log_root, &mut told).await;
        let _ = std::fs::remove_file(layout.external_endpoint());
    }
    if let Some(pid) = running(&layout) {
        let runtime = RemoteRuntime::connect(&socket_uri(root_dir)).map_err(TeardownError::Connect)?;
        stop_pods(Arc::new(runtime), &Filter::default(), log_root, &mut told).await;
        end_containerd(pid, &mut told).await;
    }
    kill_all(&cgroups, &layout, &mut told).await;
    if let Err(error) = cgroups.remove_parent() {
        told.faults.push(format!("remove control groups {}: {error}", cgroups.parent()));
    }
    remove_bridge(root_dir, &mut told).await;
    if let Err(fault) = mounts::release(&layout) {
        told.faults.push(fault);
        return Err(TeardownError::Left { faults: told.faults });
    }
    for folder in [
        layout.state(),
        layout.pods(),
        layout.last_good_manifests(),
        layout.offline(),
        layout.namespace_folder(),
        root_dir.join("cni"),
    ] {
        match std::fs::remove_dir_all(&folder) {
            Ok(()) => told.done.push(format!("removed {}", folder.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => told.faults.push(format!("remove {}: {error}", folder.display())),
        }
    }
    for file in [layout.pid(), layout.socket(), layout.socket().with_extension("sock.ttrpc")] {
        let _ = std::fs::remove_file(file);
    }
    if let Some(folder) = layout.socket().parent().filter(|folder| folder.starts_with("/run/")) {
        let _ = std::fs::remove_dir(folder);
    }
    for done in &told.done {
        tracing::info!("{done}");
    }
    if told.faults.is_empty() { Ok(()) } else { Err(TeardownError::Left { faults: told.faults }) }
}

async fn stop_pods(runtime: Arc<dyn Runtime>, which: &Filter, log_root: &Path, told: &mut Teardown) {
    let sandboxes = match runtime.list_sandboxes(which).await {
        Ok(sandboxes) => sandboxes,
        Err(error) => {
            told.faults.push(format!("list Pods: {error}"));
            return;
        }
    };
    let stops = sandboxes.into_iter().map(|sandbox| {
        let runtime = Arc::clone(&runtime);
        async move {
            let id = PodId {
                namespace: sandbox.namespace.clone(),
                name: sandbox.name.clone(),
                uid: sandbox.uid.clone(),
            };
            let result = stop_pod(&*runtime, &sandbox.id).await;
            (id, result)
        }
    });
    let mut ends = futures::stream::iter(stops).buffer_unordered(STOPS_AT_ONCE_MAX);
    while let Some((id, result)) = ends.next().await {
        match result {
            Ok(()) => {
                logs::remove_folder(log_root, &id);
                told.done.push(format!("ended Pod {id}"));
            }
            Err(error) => told.faults.push(format!("end Pod {id}: {error}")),
        }
    }
}

async fn stop_pod(runtime: &dyn Runtime, sandbox: &cri::SandboxId) -> cri::Result<()> {
    let filter = Filter { sandbox: Some(sandbox.clone()), ..Filter::default() };
    let containers = runtime.list_containers(&filter).await?;
    let stops = containers.iter().filter(|container| container.state == cri::ContainerState::Running).map(
        |container| {
            let own =
                container.annotations.get(labels::POD_GRACE_PERIOD).and_then(|text| text.parse::<u64>().ok());
            let grace = Duration::from_secs(own.unwrap_or(GRACE_SECONDS_MAX).min(GRACE_SECONDS_MAX));
            runtime.stop_container(&container.id, grace)
        },
    );
    futures::future::try_join_all(stops).await?;
    runtime.stop_sandbox(sandbox).await?;
    runtime.remove_sandbox(sandbox).await
}

async fn end_containerd(pid: Pid, told: &mut Teardown) {
    let _ = kill_process(pid, Signal::TERM);
    let limit = Duration::from_millis(END_MS_MAX);
    if tokio::time::timeout(limit, wait_for_end(pid)).await.is_err() {
        let _ = kill_process(pid, Signal::KILL);
        let _ = tokio::time::timeout(limit, wait_for_end(pid)).await;
    }
    told.done.push(format!("ended containerd {}", pid.as_raw_nonzero()));
}

/// What containerd could not end: processes in the node's control groups, and shims of its socket.
async fn kill_all(cgroups: &Hierarchies, layout: &Layout, told: &mut Teardown) {
    let deadline = Instant::now() + Duration::from_millis(KILLED_MS_MAX);
    loop {
        let mut pids = cgroups.processes(&cgroups.everything());
        pids.extend(shims(layout));
        if pids.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            told.faults.push(format!("processes do not end: {pids:?}"));
            return;
        }
        for pid in pids.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
            let _ = tokio::time::timeout(Duration::from_millis(KILLED_MS_MAX), wait_for_end(pid)).await;
        }
    }
}

/// Shims carry their containerd's socket on their command line.
fn shims(layout: &Layout) -> Vec<i32> {
    let socket = layout.socket();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = command.split(|byte| *byte == 0);
            let is_shim = words.next().is_some_and(|program| program.ends_with(b"containerd-shim-runc-v2"));
            is_shim && words.any(|word| word == socket.as_os_str().as_encoded_bytes())
        })
        .collect()
}

/// The bridge, and the rules that network plugins left when they were cut off.
async fn remove_bridge(root_dir: &Path, told: &mut Teardown) {
    let bridge = bridge_name(root_dir);
    if Path::new("/sys/class/net").join(&bridge).exists()
        && let Ok(ip) = find("ip")
    {
        let mut command = Command::new(ip);
        command.args(["link", "delete", &bridge]);
        match mounts::run("ip", command).await {
            Ok(_) => told.done.push(format!("removed bridge {bridge}")),
            Err(error) => told.faults.push(format!("remove bridge {bridge}: {error}")),
        }
    }
    let Ok(iptables) = find("iptables") else { return };
    let mut list = Command::new(&iptables);
    list.args(["--wait", "--table", "nat", "--list-rules"]);
    let Ok(rules) = mounts::run("iptables", list).await else { return };
    for rule in leftover_rules(&rules, &bridge) {
        let mut command = Command::new(&iptables);
        command.args(["--wait", "--table", "nat"]).args(rule);
        // A chain that is still referred to by a rule below goes with a later line.
        let _ = mounts::run("iptables", command).await;
    }
}

/// Commands that remove this network's rules and the chains that they jump to: CNI names the network in a comment.
fn leftover_rules(listing: &str, bridge: &str) -> Vec<Vec<String>> {
    let comment = format!("name: \\\"{bridge}\\\"");
    let mut deletes = Vec::new();
    let mut chains = std::collections::BTreeSet::new();
    for line in listing.lines() {
        if !line.contains(&comment) {
            continue;
        }
        let Some(rule) = line.strip_prefix("-A ") else { continue };
        let words = shell_words(rule);
        if let Some(at) = words.iter().position(|word| word == "-j")
            && let Some(chain) = words.get(at + 1).filter(|chain| chain.starts_with("CNI-"))
        {
            chains.insert(chain.clone());
        }
        if words.first().is_some_and(|chain| chain.starts_with("CNI-") && !chain.starts_with("CNI-HOSTPORT"))
        {
            chains.extend(words.first().cloned());
            continue;
        }
        let mut delete = vec!["-D".to_owned()];
        delete.extend(words);
        deletes.push(delete);
    }
    for command in ["-F", "-X"] {
        // These two are shared by all networks of the machine.
        let own = chains.iter().filter(|chain| {
            !matches!(chain.as_str(), "CNI-HOSTPORT-MASQ" | "CNI-HOSTPORT-DNAT" | "CNI-HOSTPORT-SETMARK")
        });
        deletes.extend(own.map(|chain| vec![command.to_owned(), chain.clone()]));
    }
    deletes
}

/// Splits as iptables prints: blanks, double quotes, backslashes inside them.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut begun) = (String::new(), false, false);
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => (quoted, begun) = (!quoted, true),
            '\\' if quoted => word.extend(chars.next()),
            ' ' if !quoted => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            char => word.push(char),
        }
    }
    if begun || !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_networks_rules_and_chains_are_removed() {
        let listing = r#"-P POSTROUTING ACCEPT
-N CNI-0a
-N CNI-0b
-A POSTROUTING -s 10.88.0.2/32 -m comment --comment "name: \"en1\" id: \"x\"" -j CNI-0a
-A POSTROUTING -s 10.89.0.2/32 -m comment --comment "name: \"other\" id: \"y\"" -j CNI-0b
-A CNI-0a -d 10.88.0.0/24 -m comment --comment "name: \"en1\" id: \"x\"" -j ACCEPT
"#;
        let commands = leftover_rules(listing, "en1");
        assert_eq!(commands[0][..3], ["-D", "POSTROUTING", "-s"]);
        assert!(commands[0].contains(&"name: \"en1\" id: \"x\"".to_owned()));
        assert_eq!(
            commands[1..],
            [vec!["-F".to_owned(), "CNI-0a".to_owned()], vec!["-X".to_owned(), "CNI-0a".to_owned()]]
        );
    }
}
