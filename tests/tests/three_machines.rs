//! Three machines on one link, each a network namespace with its own containerd, joined with the printed command.

use std::time::{Duration, Instant};

use blackbox::machine::{containers, is_ready};
use blackbox::{Component, Kubectl, Lan, Machine, SOON, eventually, throughout};
use serde_json::Value;

/// How long a machine is cut off: three times what it takes until it counts as lost.
const CUT_OFF: Duration = Duration::from_secs(120);
/// The 40 seconds after which a Node is not heard of any more, and the next look at it.
const LOST: Duration = Duration::from_secs(100);

/// Drops in this order: machines, controllers, server, and then the link that they are on.
struct Fleet {
    machines: Vec<Machine>,
    /// Where they are a process of their own, to be killed in the middle of things.
    controllers: Option<Component>,
    server: Machine,
    lan: Lan,
}

/// Who runs the controllers.
#[derive(PartialEq)]
enum ControlledBy {
    Server,
    ProcessOfTheirOwn,
}

impl Fleet {
    #[track_caller]
    fn joined(controlled_by: ControlledBy) -> Fleet {
        let lan = Lan::new(3);
        let apart = controlled_by == ControlledBy::ProcessOfTheirOwn;
        let server = Machine::server_at(
            &lan.gateway(),
            if apart { &["--controllers=*,-daemonset-controller"] } else { &[] },
        );
        let controllers = apart.then(|| controllers(&server));
        let arguments = server.join_arguments();
        let words: Vec<&str> = arguments.split(' ').collect();
        let machines = (0..3).map(|i| {
            let mut machine = Machine::in_namespace(lan.namespace(i), &words);
            machine.start();
            machine.load(&["busybox"]);
            machine
        });
        Fleet { machines: machines.collect(), controllers, server, lan }
    }

    /// kill -9, and the next one.
    fn crash_controllers(&mut self) {
        self.controllers.take().expect("a process of their own").crash();
        self.controllers = Some(controllers(&self.server));
    }

    fn kubectl(&self) -> Kubectl {
        self.server.kubectl()
    }

    fn node(&self, i: usize) -> &str {
        &self.machines[i].node
    }

    #[track_caller]
    fn nodes_are_ready(&self) {
        eventually("three nodes are ready", SOON, || {
            let nodes = self.kubectl().get(&["nodes"])?["items"].as_array().cloned().unwrap_or_default();
            let ready = nodes.iter().filter(|node| is_ready(node)).count();
            if ready == 3 { Ok(()) } else { Err(format!("{ready} of {}", nodes.len())) }
        });
    }

    /// The places of the live Pods of a label, as numbers of machines, in order.
    fn places(&self, label: &str) -> Result<Vec<usize>, String> {
        let pods = self.kubectl().get(&["pods", "-l", label])?;
        let live = pods["items"].as_array().into_iter().flatten().filter(|pod| is_ready(pod));
        let live = live.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let place =
            |pod: &Value| self.machines.iter().position(|machine| pod["spec"]["nodeName"] == machine.node);
        let mut places: Vec<usize> = live.filter_map(place).collect();
        places.sort_unstable();
        Ok(places)
    }

    #[track_caller]
    fn runs_on(&self, why: &str, label: &str, wanted: &[usize]) {
        eventually(why, SOON * 2, || {
            let places = self.places(label)?;
            if places == wanted { Ok(()) } else { Err(format!("{places:?}, not {wanted:?}")) }
        });
    }

    #[track_caller]
    fn pod_is_ready(&self, why: &str, name: &str, is_right: impl Fn(&Value) -> bool) {
        eventually(why, SOON, || {
            let pod = self.kubectl().get(&["pod", name])?;
            if is_ready(&pod) && is_right(&pod) { Ok(()) } else { Err(pod["status"].to_string()) }
        });
    }

    #[track_caller]
    fn label(&self, i: usize, label: &str) {
        self.kubectl().run(&["label", "--overwrite", "node", self.node(i), label]);
    }

    #[track_caller]
    fn taint(&self, i: usize, taint: &str) {
        self.kubectl().run(&["taint", "--overwrite", "node", self.node(i), taint]);
    }
}

/// The DaemonSet controller; certificates are signed where the key is, in the server.
fn controllers(server: &Machine) -> Component {
    let log = server.folder().join("controllers.log");
    Component::start(&["controllers"], &server.kubeconfig(), &log)
}

/// A DaemonSet of busybox; `pod` is added to its Pods' spec and `spec` to its own.
fn daemon_set(name: &str, spec: &str, pod: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: {name}}}\nspec:\n  selector: {{matchLabels: {{app: {name}}}}}\n\
         {spec}  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      terminationGracePeriodSeconds: 0\n{pod}      \
         containers:\n      - name: main\n        image: everynode.local/busybox:1.35\n        command: [sleep, '100000']\n"
    )
}

#[test]
fn a_machine_that_is_cut_off_or_boots_without_its_server_keeps_its_daemons() {
    let mut fleet = Fleet::joined(ControlledBy::Server);
    fleet.nodes_are_ready();
    let kubectl = fleet.kubectl();
    let fixed = "apiVersion: v1\nkind: Pod\nmetadata: {name: fixed}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  \
                 - {name: main, image: 'everynode.local/busybox:1.35', command: [sleep, '100000']}\n";
    std::fs::write(fleet.machines[2].manifests().join("fixed.yaml"), fixed).expect("a static Pod");
    kubectl.apply(&daemon_set("web", "", ""));
    fleet.runs_on("one Pod for each machine", "app=web", &[0, 1, 2]);
    let mirror = format!("fixed-{}", fleet.node(2));
    fleet.pod_is_ready("the static Pod's mirror", &mirror, |_| true);

    // Cut off: its Pods go on, and it is the same ones when it is back; the server dies in the middle of it.
    let before = fleet.machines[0].running_containers();
    assert_eq!(before.len(), 2);
    let pods = fleet.server.ready_pods("app=web", 3);
    let was = pods.iter().find(|pod| pod["spec"]["nodeName"] == fleet.node(0)).expect("its Pod");
    fleet.lan.cut_off(0);
    let since = Instant::now();
    let name = fleet.node(0).to_owned();
    let is_unknown = || {
        let node = kubectl.get(&["node", &name])?;
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let unknown = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "Unknown");
        if unknown { Ok(()) } else { Err(node["status"]["conditions"].to_string()) }
    };
    eventually("the Node is not heard of", LOST, is_unknown);
    fleet.server.crash();
    fleet.server.start();
    throughout("Pods of a machine that is cut off go on", CUT_OFF.saturating_sub(since.elapsed()), || {
        let now = fleet.machines[0].running_containers();
        if now == before { Ok(()) } else { Err(format!("{now:?}, not {before:?}")) }
    });
    is_unknown().expect("still away");
    fleet.lan.reconnect(0);
    fleet.nodes_are_ready();
    let pod_name = was["metadata"]["name"].as_str().expect("name");
    fleet.pod_is_ready("its Pod is ready as it was", pod_name, |pod| {
        pod["metadata"]["uid"] == was["metadata"]["uid"] && containers(pod) == containers(was)
    });
    assert_eq!(fleet.machines[0].running_containers(), before, "nothing restarted");

    // Powered off, and booted while the server is away: both Pods start from disk.
    fleet.server.crash();
    let dead = fleet.machines[2].running_containers();
    assert_eq!(dead.len(), 4);
    fleet.machines[2].power_off();
    fleet.machines[2].start_mode(&["agent".to_owned()]);
    let booted = eventually("daemon and static Pod run again without the server", SOON * 2, || {
        let now = fleet.machines[2].running_containers();
        let fresh = now.iter().all(|id| !dead.contains(id));
        if fresh && now.len() == 4 { Ok(now) } else { Err(format!("{now:?}; before: {dead:?}")) }
    });
    fleet.server.start();
    fleet.nodes_are_ready();
    fleet.runs_on("the daemons are as they were", "app=web", &[0, 1, 2]);
    fleet.pod_is_ready("the static Pod is seen again", &mirror, |_| true);
    assert_eq!(fleet.machines[2].running_containers(), booted, "the server's return restarts nothing");
    assert_eq!(fleet.machines[0].running_containers(), before, "nor anywhere else");
}

/// By machine: the container's id and the image of the Pod there.
fn versions(fleet: &Fleet, label: &str) -> Result<Vec<(usize, String, String)>, String> {
    let pods = fleet.kubectl().get(&["pods", "-l", label])?;
    let live = pods["items"].as_array().into_iter().flatten();
    let live = live.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let mut seen: Vec<(usize, String, String)> = live
        .filter_map(|pod| {
            let place = fleet.machines.iter().position(|machine| pod["spec"]["nodeName"] == machine.node)?;
            let version = &pod["spec"]["containers"][0]["env"][0]["value"];
            let id = containers(pod).first().map(|(_, id, _)| id.clone()).unwrap_or_default();
            Some((place, id, version.as_str().unwrap_or_default().to_owned()))
        })
        .collect();
    seen.sort();
    Ok(seen)
}

#[track_caller]
fn all_have(fleet: &Fleet, version: &str) {
    eventually(&format!("every Pod is of version {version}"), SOON * 2, || {
        let seen = versions(fleet, "app=roll")?;
        let done = seen.len() == 3 && seen.iter().all(|(_, _, v)| v == version);
        if done && fleet.places("app=roll")? == [0, 1, 2] { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

/// The first Pod of the version is there: the middle of an update.
#[track_caller]
fn begun(fleet: &Fleet, version: &str) {
    eventually("the update has begun", SOON, || {
        let seen = versions(fleet, "app=roll")?;
        if seen.iter().any(|(_, _, v)| v == version) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn pods_are_where_they_are_wanted_and_updates_end_right_though_the_controllers_die_in_each() {
    let mut fleet = Fleet::joined(ControlledBy::ProcessOfTheirOwn);
    fleet.nodes_are_ready();
    let kubectl = fleet.kubectl();

    // nodeSelector, and labels that flip.
    fleet.label(0, "type=ssd");
    kubectl.apply(&daemon_set("chosen", "", "      nodeSelector: {type: ssd}\n"));
    fleet.runs_on("nodeSelector", "app=chosen", &[0]);
    fleet.label(1, "type=ssd");
    fleet.crash_controllers();
    fleet.runs_on("a second Node has the label", "app=chosen", &[0, 1]);
    fleet.label(0, "type-");
    fleet.crash_controllers();
    fleet.runs_on("the first has it no more", "app=chosen", &[1]);
    kubectl.run(&["delete", "daemonset", "chosen", "--wait=false"]);

    // nodeAffinity as the handbook has it, and podAffinity with the legacy zone label.
    let zone = "failure-domain.beta.kubernetes.io/zone";
    for (i, name) in ["e2e-az1", "e2e-az2", "e2e-az3"].iter().enumerate() {
        fleet.label(i, &format!("kubernetes.io/e2e-az-name={name}"));
        fleet.label(i, &format!("{zone}={}", if i < 2 { "a" } else { "b" }));
    }
    let affinity = "      affinity:\n        nodeAffinity:\n          requiredDuringSchedulingIgnoredDuringExecution:\n            \
                    nodeSelectorTerms:\n            - matchExpressions:\n              - {key: kubernetes.io/e2e-az-name, operator: \
                    In, values: [e2e-az1, e2e-az2]}\n";
    kubectl.apply(&daemon_set("near", "", affinity));
    fleet.runs_on("nodeAffinity", "app=near", &[0, 1]);
    kubectl.run(&["delete", "daemonset", "near", "--wait=false"]);
    let beside = "      affinity:\n        podAffinity:\n          requiredDuringSchedulingIgnoredDuringExecution:\n          - \
                  labelSelector: {matchExpressions: [{key: app, operator: In, values: [s1]}]}\n            topologyKey: \
                  failure-domain.beta.kubernetes.io/zone\n";
    kubectl.apply(&daemon_set("s1", "", "      nodeSelector: {kubernetes.io/e2e-az-name: e2e-az1}\n"));
    kubectl.apply(&daemon_set("beside", "", beside));
    fleet.runs_on("podAffinity: only the zone of s1", "app=beside", &[0, 1]);
    let apart = beside.replace("podAffinity", "podAntiAffinity");
    kubectl.apply(&daemon_set("apart", "", &apart));
    fleet.runs_on("podAntiAffinity: only the other zone", "app=apart", &[2]);
    kubectl.run(&["delete", "daemonset", "s1", "beside", "apart", "--wait=false"]);

    // Taints of all effects, and a cordoned Node.
    let env = |version: &str| format!("        env: [{{name: VERSION, value: '{version}'}}]\n");
    let rolling = "  updateStrategy: {rollingUpdate: {maxUnavailable: 1}}\n";
    let set = |spec: &str, version: &str| daemon_set("roll", spec, "") + &env(version);
    kubectl.run(&["cordon", fleet.node(1)]);
    fleet.taint(0, "t=v:PreferNoSchedule");
    fleet.taint(2, "t=v:NoSchedule");
    kubectl.apply(&set(rolling, "1"));
    fleet.runs_on("cordoned and PreferNoSchedule are no hindrance, NoSchedule is", "app=roll", &[0, 1]);
    fleet.taint(2, "t-");
    fleet.crash_controllers();
    fleet.runs_on("without the taint", "app=roll", &[0, 1, 2]);
    fleet.taint(1, "t=v:NoExecute");
    fleet.crash_controllers();
    fleet.runs_on("NoExecute takes the Pod", "app=roll", &[0, 2]);
    fleet.taint(1, "t-");
    fleet.runs_on("and gives it back", "app=roll", &[0, 1, 2]);

    // Rolling update, surge, rollback in the middle, OnDelete; each with its controllers killed.
    kubectl.apply(&set(rolling, "2"));
    begun(&fleet, "2");
    fleet.crash_controllers();
    all_have(&fleet, "2");
    let surging = "  updateStrategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}\n";
    kubectl.apply(&set(surging, "3"));
    begun(&fleet, "3");
    fleet.crash_controllers();
    all_have(&fleet, "3");
    kubectl.apply(&set(rolling, "3"));
    let whole = versions(&fleet, "app=roll").expect("Pods");
    kubectl
        .apply(&set(rolling, "broken").replace("command: [sleep, '100000']", "command: [no-such-program]"));
    begun(&fleet, "broken");
    fleet.crash_controllers();
    kubectl.run(&["rollout", "undo", "daemonset/roll"]);
    all_have(&fleet, "3");
    let after = versions(&fleet, "app=roll").expect("Pods");
    let kept = after.iter().filter(|pod| whole.contains(pod)).count();
    assert_eq!(kept, 2, "a broken update costs one Pod, whoever dies meanwhile: {whole:?}, then {after:?}");
    kubectl.apply(&set("  updateStrategy: {type: OnDelete}\n", "4"));
    fleet.crash_controllers();
    eventually("the edit is observed", SOON, || {
        let set = kubectl.get(&["daemonset", "roll"])?;
        let seen = set["status"]["observedGeneration"] == set["metadata"]["generation"];
        if seen { Ok(()) } else { Err(set["status"].to_string()) }
    });
    assert_eq!(versions(&fleet, "app=roll").expect("Pods"), after, "OnDelete waits");
    let field = format!("spec.nodeName={}", fleet.node(2));
    kubectl.run(&["delete", "pod", "-l", "app=roll", "--field-selector", &field]);
    fleet.crash_controllers();
    eventually("what was deleted comes with the new template", SOON, || {
        let seen = versions(&fleet, "app=roll")?;
        let seen: Vec<(usize, &str)> = seen.iter().map(|(place, _, v)| (*place, v.as_str())).collect();
        if seen == [(0, "3"), (1, "3"), (2, "4")] { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}
