//! A part of everynode that runs by itself against a machine's API server; it ends with the test.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{everynode, process};

pub struct Component(Child);

impl Component {
    /// `everynode ARGUMENTS --kubeconfig FILE`. It is ready when it does what it is for.
    pub fn start(arguments: &[&str], kubeconfig: &Path, log: &Path) -> Component {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("log");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(everynode())
            .args(arguments)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start the component");
        Component(child)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// kill -9.
    pub fn crash(mut self) {
        process::kill_9(&mut self.0);
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        process::kill_9(&mut self.0);
    }
}
