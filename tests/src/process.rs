//! Child processes with their output and an end.

use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Runs a command to its end, or kills it at the deadline.
#[track_caller]
pub fn run(command: &mut Command, deadline: Duration) -> Output {
    run_with_input(command, None, deadline)
}

#[track_caller]
pub fn run_with_input(command: &mut Command, input: Option<&[u8]>, deadline: Duration) -> Output {
    let described = format!("{command:?}");
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{described}: {error}"));
    if let Some(input) = input {
        use std::io::Write;
        let mut stdin = child.stdin.take().expect("piped");
        // A child that does not read its input to the end is judged by its answer.
        let _ = stdin.write_all(input);
    }
    let stdout = drain(child.stdout.take().expect("piped"));
    let stderr = drain(child.stderr.take().expect("piped"));
    let end = Instant::now() + deadline;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            let err = stderr.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
            panic!("{described}: no end within {deadline:?}; stderr: {}", String::from_utf8_lossy(&err));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // A grandchild may hold the pipe open after the child has ended: what came until then is the output.
    let patience = Duration::from_secs(2);
    Output {
        status,
        stdout: stdout.recv_timeout(patience).unwrap_or_default(),
        stderr: stderr.recv_timeout(patience).unwrap_or_default(),
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = send.send(bytes);
    });
    receive
}

/// kill -9, and wait until it is gone.
pub fn kill_9(child: &mut Child) {
    child.kill().expect("kill");
    child.wait().expect("reap");
}

/// kill -9 of a process that is not ours to reap; it may be gone already.
pub fn kill_9_of(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// The processes that name this path, or something below it, on their command line.
pub fn with_argument(path: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").expect("/proc");
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let names_it = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(path)
    };
    pids.filter(names_it).collect()
}

/// Room for ten thousand connections, of this process and of those that it starts.
pub fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// A connection on both sides, and what else is open.
    const FILES: u64 = 16_384;
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.map(|maximum| maximum.max(FILES));
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("root may raise the limit");
}
