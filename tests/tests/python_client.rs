//! The Python client as programs use it; its streams are in `streams.rs`.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use blackbox::Machine;

#[test]
fn the_python_client_lists_patches_and_watches_again_after_410() {
    let mut machine = Machine::server();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python/client.py");
    let mut child = Command::new(blackbox::tool("python-kubernetes"))
        .arg(script)
        .arg(machine.kubeconfig())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start");
    let mut input = child.stdin.take().expect("piped");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    // What it says to its standard error is in the test's output.
    assert_eq!(lines.next().as_deref(), Some("restart"));
    machine.stop();
    machine.start();
    input.write_all(b"restarted\n").expect("write");
    assert_eq!(lines.next().as_deref(), Some("done"));
    assert!(child.wait().expect("wait").success());
}
