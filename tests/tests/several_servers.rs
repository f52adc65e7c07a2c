//! Several `everynode server` on one etcd: one cluster, whichever of them is asked.

use std::io::BufReader;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use blackbox::{Etcd, Kubectl, Machine, SOON, eventually, everynode};
use serde_json::Value;

const NODES: u64 = 3;
/// A lease of 10 s runs out, and the new leader fills its caches.
const TAKE_OVER: Duration = Duration::from_secs(90);

fn prepared(etcd: &Etcd) -> Machine {
    Machine::prepared(&["server", "--store", &etcd.address()])
}

/// What whoever adds a server does.
fn copy_keys(from: &Machine, to: &Machine) {
    let (from, to) = (from.data().join("pki"), to.data().join("pki"));
    std::fs::create_dir_all(&to).expect("the folder of keys");
    for file in ["ca.crt", "ca.key", "sa.key"] {
        std::fs::copy(from.join(file), to.join(file)).expect("copy");
    }
}

fn daemon_set(name: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: {name}}}\nspec:\n  selector: {{matchLabels: {{set: \
         {name}}}}}\n  template:\n    metadata: {{labels: {{set: {name}}}}}\n    spec:\n      containers:\n      - \
         {{name: main, image: none}}\n"
    )
}

#[track_caller]
fn rolled_out(kubectl: &Kubectl, name: &str, deadline: Duration) {
    eventually(&format!("{name} is ready on every node"), deadline, || {
        let status = kubectl.get(&["daemonset", name])?["status"].clone();
        if status["numberReady"] == NODES { Ok(()) } else { Err(status.to_string()) }
    });
}

/// Who holds a lease: the server's name goes before the underscore.
fn holder(kubectl: &Kubectl, lease: &str) -> Result<String, String> {
    let found = kubectl.get(&["lease", "-n", "kube-system", lease])?;
    let identity = found["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
    identity.split_once('_').map(|(server, _)| server.to_owned()).ok_or(identity)
}

/// Hollow nodes on a server; they end with the test.
struct Nodes(Child);

impl Nodes {
    fn on(machine: &Machine) -> Nodes {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(everynode())
            .args(["sim", "--nodes", &NODES.to_string(), "--kubeconfig"])
            .arg(machine.kubeconfig())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the hollow nodes");
        Nodes(child)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        blackbox::process::kill_9(&mut self.0);
    }
}

#[test]
fn what_is_written_at_one_server_is_told_at_the_other_and_when_the_leader_is_killed_the_other_takes_over() {
    let etcd = Etcd::start();
    let mut one = prepared(&etcd);
    one.start();
    let mut two = prepared(&etcd);
    copy_keys(&one, &two);
    two.start();
    let leader = eventually("one of the servers leads", SOON, || holder(&one.kubectl(), "kube-scheduler"));
    let (mut leader, follower) = if leader == one.node { (one, two) } else { (two, one) };
    eventually("one of them runs the controllers", SOON, || {
        holder(&follower.kubectl(), "kube-controller-manager")
    });

    // The admin of one is known at the other: one CA.
    let crossed = leader.kubectl().try_run(&[
        "--server",
        &format!("https://127.0.0.1:{}", follower.port),
        "auth",
        "can-i",
        "create",
        "pods",
    ]);
    assert_eq!((crossed.ok, crossed.out.trim()), (true, "yes"), "{}", crossed.err);

    let arguments = ["get", "configmaps", "--watch-only", "--output-watch-events", "-o", "json"];
    let mut watch = follower.kubectl().start(&arguments);
    let lines = BufReader::new(watch.stdout.take().expect("piped"));
    // Written until it is told: the watch begins at a moment that cannot be seen from here.
    let told = std::thread::spawn(move || {
        let events = serde_json::Deserializer::from_reader(lines).into_iter::<Value>();
        events.map_while(Result::ok).find(|event| {
            event["object"]["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("told-"))
        })
    });
    let mut number = 0;
    eventually("a write at one is told at the other", SOON, || {
        number += 1;
        let made = format!("told-{number}");
        leader.kubectl().run(&["create", "configmap", &made]);
        // Whoever is told of a write finds it, at whichever server.
        follower
            .kubectl()
            .get(&["configmap", &made])
            .expect("an acknowledged write is read at the other server");
        if told.is_finished() { Ok(()) } else { Err("nothing yet".to_owned()) }
    });
    blackbox::process::kill_9(&mut watch);
    assert_eq!(told.join().expect("the watch was read").expect("an event")["type"], "ADDED");

    let _nodes = Nodes::on(&follower);
    leader.kubectl().apply(&daemon_set("before"));
    rolled_out(&follower.kubectl(), "before", SOON);

    // Controllers may be led by the other already: what matters is that nothing waits for the dead.
    leader.crash();
    let kubectl = follower.kubectl();
    kubectl.apply(&daemon_set("after"));
    rolled_out(&kubectl, "after", TAKE_OVER);
    for lease in ["kube-scheduler", "kube-controller-manager"] {
        eventually("the other leads", TAKE_OVER, || match holder(&kubectl, lease)? {
            name if name == follower.node => Ok(()),
            other => Err(format!("{lease} is held by {other}")),
        });
    }
    // It comes back as the one that follows, and knows what happened without it.
    leader.start();
    assert!(leader.kubectl().try_run(&["get", "daemonset", "after"]).ok);
}

#[test]
fn addresses_and_ports_of_services_are_given_out_once_by_two_servers() {
    const SERVICES: usize = 20;
    let etcd = Etcd::start();
    let mut one = prepared(&etcd);
    one.start();
    let mut two = prepared(&etcd);
    copy_keys(&one, &two);
    two.start();
    let manifests = |server: &str| -> String {
        let service = |n: usize| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {server}-{n}}}\nspec: {{type: NodePort, ports: [{{port: \
                 80}}]}}\n---\n"
            )
        };
        (0..SERVICES).map(service).collect()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| one.kubectl().apply(&manifests("one")));
        scope.spawn(|| two.kubectl().apply(&manifests("two")));
    });
    let list = one.kubectl().get(&["services"]).expect("list");
    let specs: Vec<&Value> =
        list["items"].as_array().expect("items").iter().map(|item| &item["spec"]).collect();
    let distinct = |values: Vec<String>| values.into_iter().collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!(specs.len(), 2 * SERVICES + 1, "and the one of the API itself");
    assert_eq!(distinct(specs.iter().map(|spec| spec["clusterIP"].to_string()).collect()), specs.len());
    let ports = specs.iter().filter(|spec| spec["type"] == "NodePort");
    assert_eq!(distinct(ports.map(|spec| spec["ports"][0]["nodePort"].to_string()).collect()), 2 * SERVICES);
}

#[test]
fn server_with_a_ca_of_its_own_is_refused_by_the_store_of_another_cluster() {
    let etcd = Etcd::start();
    let mut one = prepared(&etcd);
    one.start();
    let stranger = Machine::prepared(&[]);
    let data = stranger.data().display().to_string();
    let flags = ["server", "--data-dir", &data, "--listen", "127.0.0.1:0", "--store", &etcd.address()];
    let refused = one.everynode(&flags);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("belongs to a cluster with another ca.crt, ca.key, sa.key: copy"), "{said}");
}

#[test]
fn an_etcd_that_asks_for_certificates_is_reached_by_the_flags_that_name_them() {
    let etcd = Etcd::start_with_tls();
    let file = |name: &str| etcd.file(name).display().to_string();
    let (ca, certificate, key) = (file("ca.crt"), file("client.crt"), file("client.key"));
    let address = etcd.address();
    let trusting = ["server", "--store", &address, "--etcd-cafile", &ca];
    let known = ["--etcd-certfile", &certificate, "--etcd-keyfile", &key];
    let mut machine = Machine::prepared(&[&trusting[..], &known].concat());
    machine.start();
    machine.kubectl().run(&["create", "configmap", "kept", "--from-literal=a=b"]);
    machine.stop();
    machine.start();
    let kept = machine.kubectl().get(&["configmap", "kept"]).expect("what was written is in etcd");
    assert_eq!(kept["data"]["a"], "b");

    let stranger = Machine::prepared(&[]);
    let data = stranger.data().display().to_string();
    let here = ["--data-dir", &data, "--listen", "127.0.0.1:0"];
    let refused = machine.everynode(&[&trusting[..], &here].concat());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("no member of {address}")), "{said}");
    let half = machine.everynode(&[&trusting[..], &known[..2], &here].concat());
    assert_eq!(half.status.code(), Some(2), "{}", String::from_utf8_lossy(&half.stderr));
}
