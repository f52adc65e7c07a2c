//! curl as the admin, or as nobody: the raw protocol.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;

use crate::{Machine, process};

/// Longer than any request of the tests takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// One server, and the files by which curl trusts it and is known to it.
pub struct Curl {
    server: String,
    folder: PathBuf,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// As sent, one a line.
    pub headers: String,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Curl {
    /// Takes the credentials out of the kubeconfig.
    pub fn new(machine: &Machine) -> Curl {
        let view = machine.kubectl().run(&["config", "view", "--raw", "-o", "json"]);
        let view: Value = serde_json::from_str(&view).expect("JSON");
        let folder = machine.folder().to_owned();
        let (cluster, user) = (&view["clusters"][0]["cluster"], &view["users"][0]["user"]);
        for (file, data) in [
            ("ca.pem", &cluster["certificate-authority-data"]),
            ("client.pem", &user["client-certificate-data"]),
            ("client.key", &user["client-key-data"]),
        ] {
            let data = data.as_str().expect("data in the kubeconfig");
            let pem = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
            std::fs::write(folder.join(file), pem).expect("write");
        }
        Curl { server: cluster["server"].as_str().expect("server").to_owned(), folder }
    }

    /// A request with curl's own options.
    #[track_caller]
    pub fn ask(&self, path: &str, options: &[&str]) -> Answer {
        self.run(path, &[&["--cert", "client.pem", "--key", "client.key"], options].concat())
    }

    /// JSON of any length: an argument of a command has a limit.
    #[track_caller]
    pub fn post(&self, path: &str, json: &str) -> Answer {
        std::fs::write(self.folder.join("request"), json).expect("write");
        self.ask(path, &["-H", "Content-Type: application/json", "--data-binary", "@request"])
    }

    /// A request without credentials.
    #[track_caller]
    pub fn ask_as_nobody(&self, path: &str, options: &[&str]) -> Answer {
        self.run(path, options)
    }

    #[track_caller]
    fn run(&self, path: &str, options: &[&str]) -> Answer {
        let mut command = Command::new("curl");
        command.current_dir(&self.folder).args(["-sS", "--cacert", "ca.pem", "-D", "headers", "-o", "body"]);
        command.args(["-w", "%{http_code}"]).args(options).arg(format!("{}{path}", self.server));
        for file in ["headers", "body"] {
            std::fs::write(self.folder.join(file), "").expect("write");
        }
        let out = process::run(&mut command, DEADLINE);
        let status =
            String::from_utf8_lossy(&out.stdout).parse().unwrap_or_else(|_| panic!("{path}: {out:?}"));
        let headers = std::fs::read_to_string(self.folder.join("headers")).expect("read");
        Answer { status, headers, body: std::fs::read(self.folder.join("body")).expect("read") }
    }
}
