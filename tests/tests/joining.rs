//! A new machine joins with the one command that `everynode token create` prints, and stays when the server goes.

use blackbox::machine::is_ready;
use blackbox::{Machine, SOON, eventually};

const DAEMON: &str = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n  \
    template:\n    metadata: {labels: {app: web}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      containers:\n      \
    - name: main\n        image: everynode.local/busybox:1.35\n        command: [sh, -c, 'echo here; exec sleep 100000']\n";

#[test]
fn the_printed_command_makes_a_node_whose_daemons_start_without_the_server_too() {
    let mut server = Machine::server();
    let arguments = server.join_arguments();
    let mut newcomer = Machine::prepared(&arguments.split(' ').collect::<Vec<_>>());
    newcomer.start();
    newcomer.load(&["busybox"]);
    let kubectl = server.kubectl();
    eventually("the node is ready", SOON, || {
        let node = kubectl.get(&["node", &newcomer.node])?;
        if is_ready(&node) { Ok(()) } else { Err(node["status"]["conditions"].to_string()) }
    });
    let applied = kubectl.try_with_input(&["apply", "-f", "-"], DAEMON);
    assert!(applied.ok, "{}", applied.err);
    let pod = server.ready_pods("app=web", 1).remove(0);
    let name = pod["metadata"]["name"].as_str().expect("name").to_owned();
    // The server reaches the new agent: its certificate was asked for and signed.
    eventually("its log", SOON, || {
        let log = kubectl.try_run(&["logs", &name]);
        if log.out == "here\n" { Ok(()) } else { Err(log.err) }
    });
    let before = newcomer.running_containers();
    assert_eq!(before.len(), 2);

    // The server is away: the agent comes back with what it has on its disk, and needs neither token nor server.
    server.crash();
    newcomer.crash();
    newcomer.start_mode(&["agent".to_owned()]);
    assert_eq!(newcomer.running_containers(), before, "what runs goes on");
    server.start();
    eventually("the node is heard of again", SOON, || {
        let pod = server.kubectl().get(&["pod", &name])?;
        let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
        if is_ready(&pod) && *restarts == 0 { Ok(()) } else { Err(pod["status"].to_string()) }
    });
    assert_eq!(newcomer.running_containers(), before, "nothing restarted for it");
}
