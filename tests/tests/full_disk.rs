//! The disk of the store is full: clients are told, reads go on, and space is all that is needed to go on writing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use blackbox::{Kubectl, Machine, SOON, eventually, process};

/// A small disk of its own under the store.
struct Disk(PathBuf);

impl Disk {
    fn at(folder: &Path) -> Disk {
        std::fs::create_dir_all(folder).expect("the store's folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=32m", "everynode-test"]).arg(folder);
        let out = process::run(&mut mount, SOON);
        assert!(out.status.success(), "mount: {}", String::from_utf8_lossy(&out.stderr));
        Disk(folder.to_owned())
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.ballast()).expect("ballast");
        while ballast.write_all(&[1; 4096]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server may still have its file open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Creates ConfigMaps of this size until one is refused: how many there are, and what was said.
fn create_until_refused(kubectl: &Kubectl, prefix: &str, bytes: usize) -> (usize, String) {
    const TRIES: usize = 100;
    for number in 0..TRIES {
        let value = "x".repeat(bytes);
        let manifest = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {prefix}-{number}}}\ndata: {{k: {value}}}\n"
        );
        let ran = kubectl.try_with_input(&["create", "-f", "-"], &manifest);
        if !ran.ok {
            return (number, ran.err);
        }
    }
    panic!("{TRIES} of {bytes} bytes were taken");
}

#[test]
fn full_disk_refuses_writes_with_the_reason_and_goes_on_when_there_is_space_without_a_restart() {
    let mut machine = Machine::prepared(&["server"]);
    let disk = Disk::at(&machine.data().join("store"));
    machine.start();
    let kubectl = machine.kubectl();
    disk.fill();
    let (taken, said) = create_until_refused(&kubectl, "full", 500_000);
    assert!(
        said.contains("(ServiceUnavailable)") && said.contains("the store is full: nothing was written"),
        "{said}"
    );
    let names = || kubectl.run(&["get", "configmaps", "-o", "name"]);
    let count = |prefix: &str| names().lines().filter(|line| line.contains(&format!("/{prefix}-"))).count();
    assert_eq!(count("full"), taken, "reads go on, and what was refused is not there");

    std::fs::remove_file(disk.ballast()).expect("free space");
    eventually("the store takes writes again", SOON, || {
        let ran = kubectl.try_run(&["create", "configmap", "after-0"]);
        if ran.ok { Ok(()) } else { Err(ran.err) }
    });

    machine.crash();
    machine.start();
    assert_eq!((count("full"), count("after")), (taken, 1), "what was acknowledged is there after a kill");
}
