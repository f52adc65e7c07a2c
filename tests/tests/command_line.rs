//! The binary's contract: files, exit codes, help, --detach, down.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use blackbox::{Machine, SOON, eventually, everynode, process};

fn run(arguments: &[&str]) -> Output {
    process::run(Command::new(everynode()).args(arguments), SOON)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_command_has_help_with_examples_and_the_exit_codes_are_documented() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    assert!(text(&help.stdout).contains("Exit codes:"));
    for command in ["up", "down", "server", "agent", "status", "sim", "version", "completion"] {
        let help = run(&[command, "--help"]);
        assert!(text(&help.stdout).contains("Examples:"), "{command}");
    }
    for command in ["load", "list"] {
        let help = run(&["image", command, "--help"]);
        assert!(text(&help.stdout).contains("Examples:"), "image {command}");
    }
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    assert_eq!(run(&["version"]).status.code(), Some(0));
    assert_eq!(run(&["up", "--no-such-flag"]).status.code(), Some(2));
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().display().to_string();
    let out = run(&["status", "--data-dir", &data]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("start everynode first"), "{}", text(&out.stderr));
}

#[test]
fn detach_returns_when_all_is_ready_and_down_leaves_nothing() {
    let machine = Machine::prepared(&["up"]);
    let data = machine.data().display().to_string();
    let listen = format!("127.0.0.1:{}", machine.port);
    let manifests = machine.manifests().display().to_string();
    let flags = [
        "--data-dir",
        &data,
        "--listen",
        &listen,
        "--node-name",
        &machine.node,
        "--pod-manifest-path",
        &manifests,
    ];
    let mut arguments = vec!["up", "--detach"];
    arguments.extend(flags);
    let out = run(&arguments);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("ready"), "{}", text(&out.stdout));

    let mode = std::fs::metadata(machine.kubeconfig()).expect("kubeconfig").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let pid = std::fs::read_to_string(machine.data().join("everynode.pid")).expect("pid file");
    assert!(std::path::Path::new("/proc").join(pid.trim()).exists());
    let node = machine.kubectl().get(&["node", &machine.node]).expect("the node");
    assert!(
        blackbox::machine::is_ready(&node),
        "ready means that the node is Ready: {}",
        node["status"]["conditions"]
    );

    let again = run(&arguments);
    assert_eq!(again.status.code(), Some(1), "a second one on the same folder");
    assert!(
        text(&again.stderr).contains(pid.trim()),
        "names the process that holds it: {}",
        text(&again.stderr)
    );

    let down = run(&["down", "--purge", "--data-dir", &data]);
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert!(!machine.data().exists());
    eventually("the process is gone", SOON, || {
        let there = std::path::Path::new("/proc").join(pid.trim()).join("cmdline").exists();
        if there { Err("still there".into()) } else { Ok(()) }
    });
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(&data), "no mount under {data} is left");
}

#[test]
fn detach_says_why_it_is_not_ready() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let listen = taken.local_addr().expect("address").to_string();
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data").display().to_string();
    let out = run(&["server", "--detach", "--data-dir", &data, "--listen", &listen]);
    assert_eq!(out.status.code(), Some(1));
    let err = text(&out.stderr);
    assert!(err.contains(&listen) && err.contains("in use"), "{err}");
}

#[test]
fn images_are_loaded_and_listed() {
    let machine = Machine::up(&["busybox"]);
    let data = machine.data().display().to_string();
    let list = machine.everynode(&["image", "list", "--data-dir", &data]);
    assert!(text(&list.stdout).contains("everynode.local/busybox:1.35"), "{}", text(&list.stdout));
    let missing = machine.everynode(&["image", "load", "--data-dir", &data, "/no/such.tar"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("/no/such.tar"), "{}", text(&missing.stderr));
}

#[test]
fn a_stop_leaves_containers_and_the_next_start_adopts_them() {
    let mut machine = Machine::up(&["busybox"]);
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: stays}\nspec:\n  containers:\n  - name: main\n    \
                    image: everynode.local/busybox:1.35\n    command: [sleep, \"100000\"]\n  terminationGracePeriodSeconds: 1\n";
    std::fs::write(machine.manifests().join("stays.yaml"), manifest).expect("write");
    let ids = eventually("it runs", SOON, || {
        let ids = machine.running_containers();
        if ids.len() == 2 { Ok(ids) } else { Err(format!("{ids:?}")) }
    });
    machine.stop();
    assert_eq!(machine.running_containers(), ids, "SIGTERM stops no container");
    machine.start();
    assert_eq!(machine.running_containers(), ids, "and the start adopts them");
}
