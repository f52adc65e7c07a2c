//! Streams and proxies with real clients on a real node: every kubectl, a terminal, and the Python client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::Duration;

use blackbox::{Kubectl, Machine, Ran, SOON, eventually, process};

/// Longer than a script of the Python helpers takes on a busy machine.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(180);

/// Web server on 8080, echo on 9001; the main process echoes its own input.
const SERVER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: everynode.local/busybox:1.35
    stdin: true
    command:
    - sh
    - -c
    - |
      mkdir -p /www/cgi-bin
      echo hello from the pod >/www/index.html
      printf '#!/bin/sh\necho Content-Type: text/plain; echo; exec md5sum\n' >/www/cgi-bin/sum
      chmod +x /www/cgi-bin/sum
      httpd -p 8080 -h /www
      nc -ll -p 9001 -e cat &
      echo ready
      while read line; do echo heard $line; done
      sleep 100000
    ports: [{containerPort: 8080}]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
  - name: other
    image: everynode.local/busybox:1.35
    command: [sleep, "100000"]
"#;

fn with_server() -> Machine {
    let machine = Machine::up(&["busybox"]);
    machine.kubectl().apply(SERVER);
    machine.ready_pods("app=server", 1);
    machine
}

fn python(arguments: &[&str], script: &str) -> Ran {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python");
    let mut command = Command::new(blackbox::tool("python-kubernetes"));
    command.arg(folder.join(arguments[0])).args(&arguments[1..]);
    process::run_with_input(&mut command, Some(script.as_bytes()), SCRIPT_DEADLINE).into()
}

#[test]
fn debians_kubectl_over_spdy() {
    let machine = with_server();
    streams(&machine, &machine.kubectl_debian());
}

#[test]
fn a_current_kubectl_over_websocket() {
    let machine = with_server();
    streams(&machine, &machine.kubectl());
    // It said so itself: no fallback.
    let traced = machine.kubectl().try_run(&["-v=7", "exec", "server", "-c", "main", "--", "true"]);
    assert!(traced.ok, "{}", traced.err);
    assert!(!traced.err.contains("POST") && !traced.err.contains("fallback"), "{}", traced.err);
    let debug = machine.kubectl().try_run(&["exec", "server", "-c", "gone", "--", "true"]);
    assert!(debug.err.contains("container gone is not valid for pod server"), "{}", debug.err);
}

#[test]
fn kubectl_1_23_over_spdy() {
    let machine = with_server();
    streams(&machine, &Kubectl::new("kubectl-1.23", machine.kubeconfig()));
}

#[test]
fn kubectl_1_31_over_websocket() {
    let machine = with_server();
    streams(&machine, &Kubectl::new("kubectl-1.31", machine.kubeconfig()));
}

#[test]
fn kubectl_1_37_over_websocket() {
    let machine = with_server();
    streams(&machine, &Kubectl::new("kubectl-1.37", machine.kubeconfig()));
}

fn streams(machine: &Machine, kubectl: &Kubectl) {
    exit_codes_and_input(kubectl);
    terminal(machine, kubectl);
    attached(kubectl);
    copied(machine, kubectl);
    forwarded(kubectl);
    proxied(kubectl);
}

const EXEC: [&str; 4] = ["exec", "server", "-c", "main"];

fn exec<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [&EXEC[..], words].concat()
}

fn exit_codes_and_input(kubectl: &Kubectl) {
    let failed = kubectl.try_run(&exec(&["--", "sh", "-c", "echo out; echo bad >&2; exit 7"]));
    assert_eq!(failed.out, "out\n");
    assert!(failed.err.contains("bad\n") && failed.err.contains("exit code 7"), "{}", failed.err);
    let unknown = kubectl.try_run(&exec(&["--", "no-such-program"]));
    assert!(!unknown.ok && unknown.err.contains("no-such-program"), "{}", unknown.err);
    // The end of the input is the end of the command.
    let long = "0123456789abcde\n".repeat(1 << 16);
    let back = kubectl.try_with_input(&exec(&["-i", "--", "cat"]), &long);
    assert!(back.ok && back.out == long, "{} of {} came back; {}", back.out.len(), long.len(), back.err);
    // Output without input, more than any buffer between.
    let zeros = kubectl.try_run(&exec(&["--", "sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' x"]));
    assert!(zeros.ok && zeros.out.len() == 20_000_000, "{}; {}", zeros.out.len(), zeros.err);
    // A command that ends does not wait for its input's end.
    let mut child = kubectl.start_with_input(&exec(&["-i", "--", "sh", "-c", "exit 3"]));
    let held = child.stdin.take();
    let status = wait(&mut child);
    assert_eq!(status.code(), Some(3));
    drop(held);
}

fn terminal(machine: &Machine, kubectl: &Kubectl) {
    let binary = kubectl.command(&[]).get_program().to_str().expect("path").to_owned();
    let kubeconfig = machine.kubeconfig();
    let mut words = vec!["terminal.py", &binary, "--kubeconfig", kubeconfig.to_str().expect("path")];
    words.extend(exec(&["-it", "--", "sh"]));
    // What is typed is printed too, so that sums are waited for. The size comes in its own time, as a window's does.
    let sized = |size: &str, sum: u8| {
        format!(
            "send until stty size 2>&1 | grep -q '{size}'; do sleep 0.1; done; echo sum $(({sum} + 1))\nexpect sum {}\n",
            sum + 1
        )
    };
    let (before, after) = (sized("40 100", 6), sized("50 120", 7));
    let script =
        format!("send tty\nexpect /dev/pts/\n{before}size 50 120\n{after}send exit 5\nexpect exit code 5\n");
    let ran = python(&words, &script);
    assert!(ran.ok, "{} {}", ran.out, ran.err);
    assert!(ran.out.ends_with("exit 5\n"), "{}", ran.out);
}

fn attached(kubectl: &Kubectl) {
    let mut child = kubectl.start_with_input(&["attach", "-i", "server", "-c", "main"]);
    let mut input = child.stdin.take().expect("piped");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    input.write_all(b"through attach\n").expect("write");
    let said = lines.next().expect("a line").expect("text");
    assert_eq!(said, "heard through attach");
    // Who goes away leaves the container as it is.
    process::kill_9(&mut child);
    let log = kubectl.run(&["logs", "server", "-c", "main", "--tail=1"]);
    assert_eq!(log, "heard through attach\n");
}

fn copied(machine: &Machine, kubectl: &Kubectl) {
    let folder = machine.folder().join("copied");
    std::fs::create_dir_all(folder.join("in/deep")).expect("create");
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(folder.join("in/deep/file"), &bytes).expect("write");
    let path = |name: &str| folder.join(name).to_str().expect("path").to_owned();
    kubectl.run(&["cp", "-c", "main", &path("in"), "server:/tmp/there"]);
    kubectl.run(&["cp", "-c", "main", "server:/tmp/there", &path("back")]);
    assert!(std::fs::read(folder.join("back/deep/file")).expect("read") == bytes, "the copy is another");
    std::fs::remove_dir_all(&folder).expect("remove");
    kubectl.run(&exec(&["--", "rm", "-r", "/tmp/there"]));
}

/// A port-forward that runs, and the port that it listens on.
struct Forward(Child, u16);

impl Forward {
    fn start(kubectl: &Kubectl, port: u16) -> Forward {
        let mut child = kubectl.start(&["port-forward", "pod/server", &format!(":{port}")]);
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let said = lines.next().expect("a line").expect("text");
        let local = said.split_once("127.0.0.1:").and_then(|(_, rest)| rest.split_once(' '));
        let local = local.and_then(|(port, _)| port.parse().ok()).unwrap_or_else(|| panic!("a port: {said}"));
        // Whoever reads nothing more must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Forward(child, local)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.1)).expect("connect");
        stream.set_read_timeout(Some(SOON)).expect("timeout");
        stream
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        process::kill_9(&mut self.0);
    }
}

fn forwarded(kubectl: &Kubectl) {
    let echo = Forward::start(kubectl, 9001);
    // Several connections at once, each with its own bytes, both ways at the same time.
    let clients: Vec<_> = (0..4_u8)
        .map(|number| {
            let mut reads = echo.connect();
            let mut writes = reads.try_clone().expect("clone");
            std::thread::spawn(move || {
                let sent = vec![b'a' + number; 2_000_000];
                let expected = sent.clone();
                let writer = std::thread::spawn(move || writes.write_all(&sent));
                let mut got = vec![0; expected.len()];
                reads.read_exact(&mut got).expect("read");
                writer.join().expect("join").expect("write");
                assert!(got == expected, "connection {number} got other bytes");
            })
        })
        .collect();
    for client in clients {
        client.join().expect("a client");
    }
    drop(echo);

    // To a port where nobody listens: the connection ends, the port-forward goes on being there to be ended.
    let nobody = Forward::start(kubectl, 9);
    let mut refused = nobody.connect();
    let _ = refused.write_all(b"x");
    let mut rest = Vec::new();
    let _ = refused.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
}

fn proxied(kubectl: &Kubectl) {
    let pod = "/api/v1/namespaces/default/pods";
    assert_eq!(kubectl.run(&["get", "--raw", &format!("{pod}/server/proxy/")]), "hello from the pod\n");
    let other = kubectl.run(&["get", "--raw", &format!("{pod}/http:server:8080/proxy/index.html?x=y")]);
    assert_eq!(other, "hello from the pod\n");
    let none = kubectl.try_run(&["get", "--raw", &format!("{pod}/server:8080/proxy/none")]);
    assert!(!none.ok && none.err.contains("NotFound"), "{}", none.err);
    let none = kubectl.try_run(&["get", "--raw", &format!("{pod}/server:9/proxy/")]);
    assert!(
        none.err.contains("error trying to reach service") && none.err.contains("connection refused"),
        "{}",
        none.err
    );
    let nodes = kubectl.get(&["nodes"]).expect("get");
    let node = nodes["items"][0]["metadata"]["name"].as_str().expect("name");
    let healthy = kubectl.run(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/healthz")]);
    assert_eq!(healthy, "ok");

    let mut proxy = kubectl.start(&["proxy", "--port=0"]);
    let mut lines = BufReader::new(proxy.stdout.take().expect("piped")).lines();
    let said = lines.next().expect("a line").expect("text");
    let address = said.rsplit(' ').next().expect("an address").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap_or_else(|error| panic!("{said}: {error}"));
    stream.set_read_timeout(Some(SOON)).expect("timeout");
    let body = "x".repeat(1_000_000);
    let head = format!(
        "POST {pod}/server:8080/proxy/cgi-bin/sum HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answer");
    process::kill_9(&mut proxy);
    assert!(answer.contains("ec78dbd963d2fc01e51176ed4dec299e"), "{answer}");
}

#[test]
fn the_python_client_streams_over_websocket_v4() {
    let machine = with_server();
    let kubeconfig = machine.kubeconfig();
    let ran = python(&["streams.py", kubeconfig.to_str().expect("path"), "server"], "");
    assert!(ran.ok && ran.out == "done\n", "{} {}", ran.out, ran.err);
}

#[test]
fn streams_end_with_their_container_and_leave_nothing_open() {
    let machine = with_server();
    let kubectl = machine.kubectl();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", machine.pid())).expect("list").count();
    // What the first stream opens once and keeps is not a leak.
    kubectl.run(&exec(&["--", "true"]));
    let before = descriptors();
    let mut sessions: Vec<Child> = [machine.kubectl(), machine.kubectl_debian()]
        .iter()
        .flat_map(|kubectl| {
            [
                kubectl.start(&exec(&["--", "sleep", "10000"])),
                kubectl.start(&["logs", "-f", "server", "-c", "main"]),
            ]
        })
        .collect();
    let forward = Forward::start(&kubectl, 9001);
    eventually("the streams are open", SOON, || {
        let now = descriptors();
        if now >= before + 10 { Ok(()) } else { Err(format!("{now} descriptors, {before} before")) }
    });
    kubectl.run(&["delete", "pod", "server", "--force", "--grace-period=0"]);
    for session in &mut sessions {
        wait(session);
    }
    drop(forward);
    eventually("nothing is left open", SOON, || {
        let now = descriptors();
        if now <= before + 2 { Ok(()) } else { Err(format!("{now} descriptors, {before} before")) }
    });
}

/// The child's end, within the time that it may take.
#[track_caller]
fn wait(child: &mut Child) -> std::process::ExitStatus {
    eventually("it ends by itself", SOON, || {
        child.try_wait().map_err(|error| error.to_string())?.ok_or_else(|| format!("{} runs", child.id()))
    })
}
