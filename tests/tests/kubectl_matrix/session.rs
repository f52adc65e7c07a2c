//! A server, one kubectl, and the tables that it runs.

use std::time::Duration;

use blackbox::kubectl::RELEASES;
use blackbox::{Kubectl, Machine, Ran, SOON, eventually, process};

/// Longer than any call of the tables takes on a busy machine.
const CALL_DEADLINE: Duration = Duration::from_secs(90);

pub struct Session {
    pub machine: Machine,
    pub kubectl: Kubectl,
    pub minor: u32,
}

/// One call: its words as a shell would split them, and what it says among other things.
pub struct Row {
    since: u32,
    fails: bool,
    words: &'static str,
    says: &'static [&'static str],
}

pub const fn ok(words: &'static str, says: &'static [&'static str]) -> Row {
    Row { since: 0, fails: false, words, says }
}

/// Of releases from this minor version on.
pub const fn since(since: u32, words: &'static str, says: &'static [&'static str]) -> Row {
    Row { since, fails: false, words, says }
}

pub const fn fails(words: &'static str, says: &'static [&'static str]) -> Row {
    Row { since: 0, fails: true, words, says }
}

impl Session {
    pub fn start(minor: u32) -> Session {
        let machine = Machine::server();
        let binary = RELEASES.iter().find(|(_, known)| *known == minor).expect("a known release").0;
        let kubectl = Kubectl::new(binary, machine.kubeconfig());
        eventually("the namespace has its account", SOON, || kubectl.get(&["sa", "default"]).map(drop));
        Session { machine, kubectl, minor }
    }

    /// A file that the tables name.
    pub fn file(&self, name: &str, text: &str) {
        std::fs::write(self.machine.folder().join(name), text).expect("write");
    }

    pub fn call(&self, words: &str) -> Ran {
        let words = split(words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = self.kubectl.command(&words);
        command.current_dir(self.machine.folder()).env("KUBE_EDITOR", "sed -i s/before/after/");
        process::run(&mut command, CALL_DEADLINE).into()
    }

    /// Runs the rows in order; tells all that went wrong, not only the first.
    #[track_caller]
    pub fn table(&self, rows: &[Row]) {
        let mut wrong = Vec::new();
        for row in rows.iter().filter(|row| self.minor >= row.since) {
            let ran = self.call(row.words);
            let said = format!("{}{}", ran.out, ran.err);
            let missing: Vec<_> = row.says.iter().filter(|text| !said.contains(**text)).collect();
            if ran.ok == row.fails || !missing.is_empty() {
                let ended = if ran.ok { "succeeded" } else { "failed" };
                wrong.push(format!("kubectl {}\n{ended}, without {missing:?}:\n{said}", row.words));
            }
        }
        assert!(wrong.is_empty(), "kubectl 1.{}:\n{}", self.minor, wrong.join("\n"));
    }
}

/// Words apart by blanks; single quotes hold them together.
fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for character in text.chars() {
        match character {
            '\'' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            other => {
                word.push(other);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}
