//! The model of a node, with the laws that hold always built in as assertions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use podmachine::labels::ContainerLabels;
use podmachine::*;
use serde_json::{Value, json};

pub const UID: &str = "6b8b4567-uid";

pub struct Model {
    pub now: Timestamp,
    pub desired: Desired,
    pub machine: Machine,
    pub sandboxes: Vec<ObservedSandbox>,
    pub containers: Vec<ObservedContainer>,
    pub images: BTreeMap<String, ImageState>,
    pub volumes: VolumeState,
    /// Jobs that are under way because the test holds them.
    pub held: Vec<Job>,
    pub hold: fn(&Action) -> bool,
    /// What the next job of a kind (the action's name) becomes, instead of going well.
    pub failures: BTreeMap<&'static str, VecDeque<Failure>>,
    /// How many jobs of a kind happen, but are reported as out of time.
    pub late: BTreeMap<&'static str, u32>,
    /// Codes with which the coming instances of a container end at once.
    pub exits: BTreeMap<String, VecDeque<i32>>,
    /// Answers of probes; success where there is none.
    pub unhealthy: BTreeMap<(String, ProbeKind), bool>,
    pub status: PodStatus,
    pub wake_at: Option<Timestamp>,
    pub events: Vec<Event>,
    pub actions: Vec<Action>,
    pub deleted_from_api: bool,
    /// No call to the API succeeds, and nothing is heard of it.
    pub api_away: bool,
    /// Containers whose probe or hook failed: there is a reason to kill them.
    failed: BTreeMap<String, Vec<KillReason>>,
    /// Hashes that each container's spec has had: an edit may be taken back after a kill was begun for it.
    wished: BTreeMap<String, BTreeSet<String>>,
    made: u32,
}

pub fn kind(action: &Action) -> &'static str {
    match action {
        Action::PrepareVolumes => "volumes",
        Action::CleanUp => "clean",
        Action::PullImage { .. } => "pull",
        Action::CreateSandbox { .. } => "sandbox",
        Action::StopSandbox { .. } => "stop-sandbox",
        Action::RemoveSandbox { .. } => "remove-sandbox",
        Action::StartContainer(_) => "start",
        Action::RunPostStart { .. } => "post-start",
        Action::RunPreStop { .. } => "pre-stop",
        Action::KillContainer { .. } => "kill",
        Action::RemoveContainer { .. } => "remove",
        Action::Probe(_) => "probe",
        Action::DeleteFromApi => "delete",
    }
}

/// A Pod with this spec.
pub fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "uid": UID},
        "spec": spec,
    }))
    .unwrap()
}

/// One container `main` of `app:1`, with these further fields.
pub fn main_container(more: Value) -> Value {
    let mut container = json!({"name": "main", "image": "app:1", "imagePullPolicy": "IfNotPresent"});
    for (key, value) in more.as_object().unwrap() {
        container[key] = value.clone();
    }
    container
}

impl Model {
    pub fn new(spec: Value) -> Self {
        Self::of(pod(spec))
    }

    /// One running container, restart policy Always.
    pub fn simple() -> Self {
        Self::new(json!({"containers": [main_container(json!({}))]}))
    }

    pub fn of(pod: Pod) -> Self {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let host =
            Host { ips: vec!["192.0.2.7".to_owned()], runtime: "containerd".to_owned(), ..Host::default() };
        let present = |image: &str| {
            (image.to_owned(), ImageState::Present { image_ref: format!("sha256:{image}"), size_bytes: 10 })
        };
        Self {
            now,
            desired: Desired::run(pod, PodSource::Api, host),
            machine: Machine::new(),
            sandboxes: Vec::new(),
            containers: Vec::new(),
            images: BTreeMap::from([present("app:1"), present("app:2"), present("init:1")]),
            volumes: VolumeState::Absent,
            held: Vec::new(),
            hold: |_| false,
            failures: BTreeMap::new(),
            late: BTreeMap::new(),
            exits: BTreeMap::new(),
            unhealthy: BTreeMap::new(),
            status: PodStatus::default(),
            wake_at: None,
            events: Vec::new(),
            actions: Vec::new(),
            deleted_from_api: false,
            api_away: false,
            failed: BTreeMap::new(),
            wished: BTreeMap::new(),
            made: 0,
        }
    }

    pub fn look(&self) -> Observed {
        Observed {
            mark: self.machine.mark(),
            sandboxes: self.sandboxes.clone(),
            containers: self.containers.clone(),
            images: self.images.clone(),
            volumes: self.volumes.clone(),
        }
    }

    /// One look, one step; the jobs are not carried out yet.
    pub fn step(&mut self) -> Vec<Job> {
        let before = self.status.phase.clone();
        let observed = self.look();
        for container in self.desired.pod.spec.iter().flat_map(|spec| &spec.containers) {
            self.wished.entry(container.name.clone()).or_default().insert(container_hash(container));
        }
        let step = self.machine.step(&self.desired, &observed, self.now);
        self.events.extend(step.events);
        self.status = step.status;
        self.wake_at = step.wake_at;
        assert!(rank(before.as_deref()) <= rank(self.status.phase.as_deref()), "the phase went back");
        if matches!(before.as_deref(), Some("Succeeded" | "Failed")) {
            assert_eq!(before, self.status.phase, "a terminal phase stays");
        }
        step.jobs
    }

    /// Steps and carries out until there is nothing to do now.
    pub fn settle(&mut self) -> &mut Self {
        for _ in 0..500 {
            let jobs = self.step();
            if jobs.is_empty() && self.wake_at.is_none_or(|at| at > self.now) {
                return self;
            }
            for job in jobs {
                self.actions.push(job.action.clone());
                if (self.hold)(&job.action) {
                    self.held.push(job);
                } else {
                    self.carry_out(job);
                }
            }
        }
        panic!("does not come to rest: {:?}", self.actions.iter().rev().take(20).collect::<Vec<_>>());
    }

    /// Lets time pass, stepping whenever the machine asked to.
    pub fn pass(&mut self, seconds: i64) -> &mut Self {
        let end = self.now + SignedDuration::from_secs(seconds);
        self.settle();
        while let Some(at) = self.wake_at.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = end;
        self.settle()
    }

    /// Ends the held jobs as they would have.
    pub fn release(&mut self) -> &mut Self {
        self.hold = |_| false;
        for job in std::mem::take(&mut self.held) {
            self.carry_out(job);
        }
        self.settle()
    }

    /// The agent dies and comes back: memory and work under way are lost, the status is the API's.
    pub fn restart_agent(&mut self) {
        self.machine = Machine::new();
        self.held.clear();
        self.desired.pod.status = Some(self.status.clone());
        self.desired.host.agent_started_at = Some(self.now);
        self.volumes = VolumeState::Absent;
    }

    pub fn carry_out(&mut self, job: Job) {
        let failure = self.failures.get_mut(kind(&job.action)).and_then(VecDeque::pop_front);
        let outcome = match failure {
            Some(failure) => Outcome::Failed(failure),
            None => self.act(&job.action),
        };
        let outcome = match self.late.get_mut(kind(&job.action)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                Outcome::Failed(Failure::Timeout("no answer in time".to_owned()))
            }
            Some(_) | None => outcome,
        };
        if let (Action::RunPostStart { container_id, .. }, Outcome::Failed(_)) = (&job.action, &outcome) {
            self.failed.entry(container_id.clone()).or_default().push(KillReason::PostStartFailed);
        }
        self.machine.finished(job.id, outcome, self.now);
    }

    fn act(&mut self, action: &Action) -> Outcome {
        match action {
            Action::PrepareVolumes => self.volumes = VolumeState::Ready,
            Action::CleanUp => {
                assert_eq!(self.living(), Vec::<String>::new(), "cleaned up under a living container");
                self.volumes = VolumeState::Absent;
            }
            Action::PullImage { image, .. } => {
                let image_ref = format!("sha256:{image}");
                let state = ImageState::Present { image_ref: image_ref.clone(), size_bytes: 10 };
                self.images.insert(image.clone(), state);
                return Outcome::ImagePulled { image_ref, size_bytes: 10, took_ms: 1200 };
            }
            Action::CreateSandbox { attempt } => return self.create_sandbox(*attempt),
            Action::StopSandbox { id } => {
                let inside: Vec<String> =
                    self.containers.iter().filter(|c| c.sandbox_id == *id).map(|c| c.id.clone()).collect();
                inside.iter().for_each(|id| self.end(id, 137, ""));
                let sandbox = self.sandboxes.iter_mut().find(|sandbox| sandbox.id == *id);
                sandbox.into_iter().for_each(|sandbox| sandbox.state = SandboxState::NotReady);
            }
            Action::RemoveSandbox { id } => {
                self.sandboxes.retain(|sandbox| sandbox.id != *id);
                self.containers.retain(|container| container.sandbox_id != *id);
            }
            Action::StartContainer(start) => return self.start(start),
            Action::RunPostStart { .. } | Action::RunPreStop { .. } => (),
            Action::KillContainer { container_id, cause, .. } => {
                self.check_reason(container_id, cause);
                self.end(container_id, 143, "");
            }
            Action::RemoveContainer { container_id, .. } => self.containers.retain(|c| c.id != *container_id),
            Action::Probe(target) => {
                let bad =
                    self.unhealthy.get(&(target.container.clone(), target.kind)).copied().unwrap_or(false);
                return match bad {
                    true => {
                        let failed = self.failed.entry(target.container_id.clone()).or_default();
                        match target.kind {
                            ProbeKind::Liveness => failed.push(KillReason::LivenessFailed),
                            ProbeKind::Startup => failed.push(KillReason::StartupFailed),
                            ProbeKind::Readiness => (),
                        }
                        Outcome::ProbeFailed { output: "HTTP probe failed with statuscode: 500".to_owned() }
                    }
                    false => Outcome::ProbeSucceeded { warning: None },
                };
            }
            Action::DeleteFromApi if self.api_away => {
                return Outcome::Failed(Failure::Unavailable("connection refused".to_owned()));
            }
            Action::DeleteFromApi => {
                assert!(
                    self.containers.is_empty() && self.sandboxes.is_empty(),
                    "deleted while something is left"
                );
                assert!(rank(self.status.phase.as_deref()) == 2, "deleted before the status was final");
                self.deleted_from_api = true;
            }
        }
        Outcome::Done
    }

    /// A kill names a reason, and the reason is true.
    fn check_reason(&self, id: &str, cause: &KillReason) {
        let Some(container) = self.containers.iter().find(|container| container.id == id) else { return };
        let name = &container.labels.container_name;
        let spec = self.desired.pod.spec.as_ref().unwrap();
        let inits = spec.init_containers.iter().flatten();
        let today = inits.chain(&spec.containers).chain(&self.desired.ephemeral).find(|c| c.name == *name);
        let living = |name: &str| self.living().iter().filter(|other| *other == name).count();
        let holds = match cause {
            KillReason::PodTerminating => {
                self.desired.pod.metadata.deletion_timestamp.is_some()
                    || self.desired.intent != Intent::Run
                    || self.status.phase.as_deref() == Some("Failed")
                    || spec.active_deadline_seconds.is_some()
            }
            KillReason::PodFinished => {
                let init_failed = spec.restart_policy.as_deref() == Some("Never");
                init_failed || spec.containers.iter().all(|main| living(&main.name) == 0)
            }
            KillReason::SpecChanged => {
                let wished = self.wished.get(name).into_iter().flatten();
                today.is_some() && wished.into_iter().any(|hash| *hash != container.labels.hash)
            }
            KillReason::LivenessFailed | KillReason::StartupFailed | KillReason::PostStartFailed => {
                self.failed.get(id).is_some_and(|reasons| reasons.contains(cause))
            }
            KillReason::SandboxChanged => {
                let newest = self.sandboxes.iter().max_by_key(|sandbox| sandbox.attempt);
                newest.is_none_or(|newest| {
                    newest.id != container.sandbox_id || newest.state == SandboxState::NotReady
                })
            }
            KillReason::Unwanted => today.is_none() || living(name) > 1,
        };
        assert!(holds, "{name} is killed for a reason that does not hold: {cause:?}");
    }

    fn next(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    fn create_sandbox(&mut self, attempt: u32) -> Outcome {
        assert!(self.sandboxes.iter().all(|s| s.state == SandboxState::NotReady), "two living sandboxes");
        assert!(self.sandboxes.iter().all(|s| s.attempt != attempt), "a sandbox attempt came twice");
        let number = self.next();
        let spec = self.desired.pod.spec.as_ref().unwrap();
        let ips = if spec.host_network == Some(true) { vec![] } else { vec![format!("10.0.0.{number}")] };
        let id = format!("sandbox-{number}");
        self.sandboxes.push(ObservedSandbox {
            id: id.clone(),
            attempt,
            state: SandboxState::Ready,
            created_at: Some(self.now),
            ips: ips.clone(),
        });
        Outcome::SandboxCreated { id, ips }
    }

    fn start(&mut self, start: &StartContainer) -> Outcome {
        let same = |c: &&ObservedContainer| c.labels.container_name == start.name;
        assert!(self.containers.iter().filter(same).all(dead), "two living instances of {}", start.name);
        let counts = self.containers.iter().filter(same).map(|c| c.labels.restart_count);
        assert!(counts.max().is_none_or(|count| count < start.restart_count), "a restart count came twice");
        let ephemeral = self.desired.ephemeral.iter().any(|container| container.name == start.name);
        assert!(!ephemeral || start.restart_count == 0, "an ephemeral container is started again");
        let ready = |s: &&ObservedSandbox| s.id == start.sandbox_id && s.state == SandboxState::Ready;
        if !self.sandboxes.iter().any(|s| ready(&s)) {
            return Outcome::Failed(Failure::Create("sandbox is not running".to_owned()));
        }
        let id = format!("{}-{}", start.name, self.next());
        let labels = ContainerLabels {
            pod_uid: UID.to_owned(),
            container_name: start.name.clone(),
            hash: start.hash.clone(),
            restart_count: start.restart_count,
            ..ContainerLabels::default()
        };
        self.containers.push(ObservedContainer {
            id: id.clone(),
            sandbox_id: start.sandbox_id.clone(),
            labels,
            state: ContainerState::Running { started_at: self.now },
            created_at: Some(self.now),
            image: "app:1".to_owned(),
            image_id: start.image_ref.clone(),
        });
        let inits = self.desired.pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
        let init = inits.into_iter().flatten().find(|init| init.name == start.name);
        let exit = self.exits.get_mut(&start.name).and_then(VecDeque::pop_front);
        match (exit, init) {
            (Some(code), _) => self.end(&id, code, ""),
            (None, Some(init)) if init.restart_policy.is_none() => self.end(&id, 0, ""),
            (None, _) => (),
        }
        Outcome::ContainerStarted { id }
    }

    /// A process ends.
    pub fn end(&mut self, id: &str, exit_code: i32, reason: &str) {
        let now = self.now;
        let Some(container) = self.containers.iter_mut().find(|container| container.id == id) else { return };
        let started_at = match container.state {
            ContainerState::Running { started_at } => Some(started_at),
            ContainerState::Created => None,
            ContainerState::Exited { .. } | ContainerState::Unknown => return,
        };
        container.state = ContainerState::Exited {
            started_at,
            finished_at: Some(now),
            exit_code,
            reason: reason.to_owned(),
            message: String::new(),
        };
    }

    /// The running instance of a container ends by itself.
    pub fn crash(&mut self, name: &str, exit_code: i32) -> &mut Self {
        let id = self.running(name).unwrap_or_else(|| panic!("{name} does not run")).id.clone();
        self.end(&id, exit_code, "");
        self
    }

    pub fn kill_sandbox(&mut self) {
        let ready: Vec<String> = self.sandboxes.iter().map(|sandbox| sandbox.id.clone()).collect();
        for id in ready {
            self.act(&Action::StopSandbox { id });
        }
    }

    pub fn delete(&mut self, grace_seconds: i64) {
        let at = self.now + SignedDuration::from_secs(grace_seconds);
        self.desired.pod.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
        self.desired.pod.metadata.deletion_grace_period_seconds = Some(grace_seconds);
    }

    pub fn running(&self, name: &str) -> Option<&ObservedContainer> {
        let runs = |c: &&ObservedContainer| {
            c.labels.container_name == name && matches!(c.state, ContainerState::Running { .. })
        };
        self.containers.iter().find(runs)
    }

    pub fn living(&self) -> Vec<String> {
        let names = self.containers.iter().filter(|c| !dead(c)).map(|c| c.labels.container_name.clone());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    pub fn count(&self, wanted: &str) -> usize {
        self.actions.iter().filter(|action| kind(action) == wanted).count()
    }

    /// Kinds of what was done, in order, probes left out.
    pub fn done(&self) -> Vec<&'static str> {
        self.actions.iter().map(kind).filter(|kind| *kind != "probe").collect()
    }

    pub fn phase(&self) -> &str {
        self.status.phase.as_deref().unwrap_or_default()
    }

    pub fn container(&self, name: &str) -> &ContainerStatus {
        let status = &self.status;
        let lists = [
            &status.container_statuses,
            &status.init_container_statuses,
            &status.ephemeral_container_statuses,
        ];
        lists
            .into_iter()
            .flatten()
            .flatten()
            .find(|status| status.name == name)
            .unwrap_or_else(|| panic!("no status of {name}"))
    }

    /// `running`, or why it waits, or how it ended.
    pub fn state(&self, name: &str) -> String {
        let state = self.container(name).state.clone().unwrap_or_default();
        match (state.running, state.waiting, state.terminated) {
            (Some(_), _, _) => "running".to_owned(),
            (_, Some(waiting), _) => waiting.reason.unwrap_or_default(),
            (_, _, Some(ended)) => format!("{} {}", ended.reason.unwrap_or_default(), ended.exit_code),
            (None, None, None) => String::new(),
        }
    }

    /// `True`, or `False` with the reason.
    pub fn condition(&self, kind: &str) -> String {
        let condition = self.status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
        let condition = condition.unwrap_or_else(|| panic!("no condition {kind}"));
        match &condition.reason {
            Some(reason) => format!("{} {reason}", condition.status),
            None => condition.status.clone(),
        }
    }

    pub fn told(&self, reason: &str) -> Vec<&str> {
        self.events
            .iter()
            .filter(|event| event.reason == reason)
            .map(|event| event.message.as_str())
            .collect()
    }
}

pub fn dead(container: &ObservedContainer) -> bool {
    matches!(container.state, ContainerState::Exited { .. })
}

fn rank(phase: Option<&str>) -> u8 {
    match phase {
        None | Some("Pending") => 0,
        Some("Running") => 1,
        Some("Succeeded" | "Failed") => 2,
        Some(other) => panic!("phase {other}"),
    }
}
