//! kubectl as users have it: Debian's and releases from 1.23 to the newest.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::process;

/// Longer than any single kubectl call of the tests takes on a busy machine.
const CALL_DEADLINE: Duration = Duration::from_secs(90);

/// The releases that the tests run, by binary and minor version: Debian's, and from 1.23 to the newest.
pub const RELEASES: [(&str, u32); 5] = [
    ("kubectl-debian", 20),
    ("kubectl-1.23", 23),
    ("kubectl-1.31", 31),
    ("kubectl-current", 35),
    ("kubectl-1.37", 37),
];

/// One kubectl binary talking to one API server.
#[derive(Debug, Clone)]
pub struct Kubectl {
    binary: PathBuf,
    kubeconfig: PathBuf,
}

/// What one call printed.
#[derive(Debug)]
pub struct Ran {
    pub ok: bool,
    /// Nothing where a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Kubectl {
    /// Which is the name of one of [`RELEASES`].
    pub fn new(which: &str, kubeconfig: PathBuf) -> Kubectl {
        Kubectl { binary: super::tool(which), kubeconfig }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        // Its discovery cache must not be shared between API servers on the same port.
        command.env("HOME", self.kubeconfig.parent().expect("in a folder"));
        command
    }

    /// Runs a call whatever its outcome.
    #[track_caller]
    pub fn try_run(&self, arguments: &[&str]) -> Ran {
        process::run(&mut self.command(arguments), CALL_DEADLINE).into()
    }

    /// Runs a call with a manifest on its standard input.
    #[track_caller]
    pub fn try_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        process::run_with_input(&mut self.command(arguments), Some(input.as_bytes()), CALL_DEADLINE).into()
    }

    /// Runs a call that must succeed; its standard output.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let ran = self.try_run(arguments);
        assert!(ran.ok, "kubectl {arguments:?} failed\nstdout: {}\nstderr: {}", ran.out, ran.err);
        ran.out
    }

    #[track_caller]
    pub fn apply(&self, manifest: &str) -> Ran {
        let ran = self.try_with_input(&["apply", "-f", "-"], manifest);
        assert!(ran.ok, "kubectl apply failed\nstdout: {}\nstderr: {}", ran.out, ran.err);
        ran
    }

    /// `get … -o json`, or what kubectl said against it.
    #[track_caller]
    pub fn get(&self, arguments: &[&str]) -> Result<Value, String> {
        let mut all = vec!["get"];
        all.extend(arguments);
        all.extend(["-o", "json"]);
        let ran = self.try_run(&all);
        if !ran.ok {
            return Err(ran.err);
        }
        serde_json::from_str(&ran.out).map_err(|error| format!("{error}: {}", ran.out))
    }

    /// Starts a call that goes on, with its output piped.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.start_on(arguments, Stdio::null())
    }

    /// Starts a call that goes on, with its input and output piped.
    pub fn start_with_input(&self, arguments: &[&str]) -> Child {
        self.start_on(arguments, Stdio::piped())
    }

    fn start_on(&self, arguments: &[&str], input: Stdio) -> Child {
        self.command(arguments)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start kubectl")
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            ok: output.status.success(),
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
