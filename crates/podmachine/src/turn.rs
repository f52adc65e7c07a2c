//! One step under way: what came in, the memory, and what has been decided so far.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use crate::action::{Action, EventType, Job, JobId};
use crate::desired::Desired;
use crate::memory::Memory;
use crate::observed::ObservedContainer;
use crate::pod::{self, Member, RestartPolicy, Role};
use crate::view::View;

pub(crate) struct Turn<'a> {
    pub now: Timestamp,
    pub desired: &'a Desired,
    pub pod: &'a Pod,
    pub spec: &'a PodSpec,
    pub policy: RestartPolicy,
    pub view: View<'a>,
    pub memory: &'a mut Memory,
    pub jobs: Vec<Job>,
    pub wake_at: Option<Timestamp>,
    /// Why a container that should run does not, by name: reason and message.
    pub waiting: BTreeMap<String, (&'static str, String)>,
}

impl<'a> Turn<'a> {
    pub fn job(&mut self, action: Action, reason: impl Into<String>) -> JobId {
        let id = self.memory.new_job(action.clone());
        self.jobs.push(Job { id, action, reason: reason.into() });
        id
    }

    pub fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |other| other.min(at)));
    }

    pub fn normal(&mut self, reason: &str, message: String, container: Option<&str>) {
        self.memory.note(EventType::Normal, reason, message, container);
    }

    pub fn warning(&mut self, reason: &str, message: String, container: Option<&str>) {
        self.memory.note(EventType::Warning, reason, message, container);
    }

    /// A container of the spec, an ephemeral one too.
    pub fn member(&self, name: &str) -> Option<Member<'a>> {
        pod::member(self.spec, name).or_else(|| self.ephemeral().find(|member| member.name() == name))
    }

    pub fn ephemeral(&self) -> impl Iterator<Item = Member<'a>> + use<'a> {
        self.desired.ephemeral.iter().map(|container| Member { container, role: Role::Ephemeral })
    }

    /// How the newest instance ended; a lost one counts as killed.
    pub fn ended(&self, name: &str) -> Option<i32> {
        match self.view.newest(name) {
            Some(container) => container.exit_code(),
            None => self.memory.lost.contains_key(name).then_some(137),
        }
    }

    /// Whether an instance was made from today's spec. One without a hash is taken as it is.
    pub fn same_spec(&self, member: Member<'_>, container: &ObservedContainer) -> bool {
        container.labels.hash.is_empty() || container.labels.hash == self.hash(member.name())
    }

    /// The hash of today's spec.
    pub fn hash(&self, name: &str) -> &str {
        self.memory.hashes.get(name).map_or("", |(_, hash)| hash.as_str())
    }

    /// Runs, its post-start hook is done, and its startup probe passed if it has one.
    pub fn started(&self, member: Member<'_>, container: &ObservedContainer) -> bool {
        use crate::action::ProbeKind::Startup;
        let passed = || {
            let state = self.memory.probes.get(&(container.id.clone(), Startup));
            state.is_some_and(|state| state.passed == Some(true))
        };
        container.runs()
            && !self.memory.hooks.contains(&container.id)
            && !self.memory.starting(member.name())
            && (member.probe(Startup).is_none() || passed())
    }

    /// Whether the Pod has run its course: nothing will be started again.
    pub fn has_ended(&self) -> bool {
        let init_failed = |member: Member<'_>| {
            member.role == Role::Init
                && self.policy == RestartPolicy::Never
                && self.ended(member.name()).is_some_and(|code| code != 0)
                && self.view.newest(member.name()).is_none_or(|container| self.same_spec(member, container))
        };
        let main_ended = |member: Member<'_>| {
            let same =
                self.view.newest(member.name()).is_none_or(|container| self.same_spec(member, container));
            let ended = self.ended(member.name());
            same && !self.view.lives(member.name())
                && !self.memory.starting(member.name())
                && ended.is_some_and(|code| !member.restarts(self.policy, code))
        };
        pod::members(self.spec).any(init_failed) || pod::mains(self.spec).all(main_ended)
    }
}
