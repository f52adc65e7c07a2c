//! The subresources that are actions: binding and eviction of a pod, and what is passed on to its node.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use k8s_openapi::api::core::v1::{Binding, Container, Node, Pod};
use k8s_openapi::api::policy::v1::Eviction;
use store::Expect;

use api::field::{FieldError, Path};
use api::well_known::pod_phase;

use super::{Call, Committed, Stored};
use crate::body::Body;
use crate::decode::{Payload, decode};
use crate::error::{self, ApiError};
use crate::kinds;
use crate::limits::CONFLICT_TRIES_MAX;
use crate::node_proxy::{FailureClass, NodeAddress, NodeCall};
use crate::options::{Deletion, FieldValidation, Persistence, WriteOptions};
use crate::pipeline::{stored, typed};

/// Where upstream's agents listen.
const KUBELET_PORT: u16 = 10250;

/// The resource that decoding errors name.
fn body_kind(group: &'static str, kind: &'static str) -> api::scheme::Resource {
    let mut resource = api::scheme::RESOURCES[0];
    (resource.group, resource.version, resource.kind) = (group, "v1", kind);
    resource
}

impl Stored<'_> {
    /// The scheduler's word: the pod is on that node.
    pub(super) async fn bind(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        let options = WriteOptions::parse(&self.call.query, "CreateOptions")?;
        let payload = Payload::read(&self.call.headers, body, "Binding")?;
        let described = body_kind("", "Binding");
        let binding: Binding =
            decode(&payload, &described, options.field_validation, &mut |text| self.call.warn(text))?;
        let name = self.call.target.name.as_str();
        let given = binding.metadata.name.as_deref().unwrap_or_default();
        if !given.is_empty() && given != name {
            return Err(ApiError::bad_request("name in URL does not match name in Binding object"));
        }
        let target = Path::new("target");
        let mut errors = Vec::new();
        let kind = binding.target.kind.as_deref().unwrap_or_default();
        if !matches!(kind, "" | "Node") {
            errors.push(FieldError::not_supported(&target.child("kind"), kind, &["Node", "<empty>"]));
        }
        if binding.target.name.as_deref().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(&target.child("name"), ""));
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid("", "Binding", name, &errors));
        }
        for _ in 0..CONFLICT_TRIES_MAX {
            let current = self.current(name).await?;
            let asked_uid = binding.metadata.uid.as_deref().unwrap_or_default();
            if !asked_uid.is_empty() && asked_uid != current.header.uid {
                let why = format!(
                    "Precondition failed: UID in precondition: {asked_uid}, UID in object meta: {}",
                    current.header.uid
                );
                return Err(ApiError::conflict(self.resource, name, why));
            }
            let mut pod: Pod = typed(&current)?;
            let generation = pod.metadata.generation.unwrap_or(0);
            kinds::assign_pod(&mut pod, &binding, self.call.now())
                .map_err(|why| ApiError::conflict_of(self.resource, "pods/binding", name, why))?;
            pod.metadata.generation = Some(generation + 1);
            if options.persistence == Persistence::DryRun {
                return self.json_answer(StatusCode::CREATED, &error::created());
            }
            let done = self.put(name, stored(pod)?, Expect::At(current.revision)).await?;
            if let Committed::Done(_) = done {
                return self.json_answer(StatusCode::CREATED, &error::created());
            }
        }
        Err(ApiError::modified(self.resource, name))
    }

    /// A deletion that may be refused for the sake of others; there are no disruption budgets yet.
    pub(super) async fn evict(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        let options = WriteOptions::parse(&self.call.query, "CreateOptions")?;
        let payload = Payload::read(&self.call.headers, body, "Eviction")?;
        let described = body_kind("policy", "Eviction");
        let eviction: Eviction =
            decode(&payload, &described, FieldValidation::Warn, &mut |text| self.call.warn(text))?;
        let name = self.call.target.name.as_str();
        let given = eviction.metadata.name.as_deref().unwrap_or_default();
        if !given.is_empty() && given != name {
            return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
        }
        let mut deletion =
            Deletion::parse(&self.call.query, Some(eviction.delete_options.unwrap_or_default()))?;
        if options.persistence == Persistence::DryRun {
            deletion.persistence = Persistence::DryRun;
        }
        self.delete_one(name, &deletion).await?;
        self.json_answer(StatusCode::CREATED, &error::created())
    }
}

impl Call {
    /// Logs, exec, attach, port-forward: the pod's node answers.
    pub(super) async fn proxy_to_node(&self, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let name = self.target.name.as_str();
        let windows = &self.server.windows;
        windows.fresh().await.map_err(|_| ApiError::server_timeout(self.resource, self.target.verb, 1))?;
        let key = format!("{}/{name}", self.target.namespace);
        let pod = windows.window("pods").and_then(|window| window.get(&key));
        let pod = pod.ok_or_else(|| ApiError::not_found(self.resource, name))?;
        let pod: Pod = typed(&pod)?;
        if api::pod::node_name(&pod).is_none() {
            let text = format!("pod {name} does not have a host assigned");
            return Err(ApiError::bad_request(text));
        }
        if matches!(self.target.subresource.as_str(), "exec" | "attach" | "portforward")
            && matches!(api::pod::phase(&pod), pod_phase::SUCCEEDED | pod_phase::FAILED)
        {
            let text = format!(
                "cannot {} a container in a completed pod; current phase is {}",
                self.target.subresource,
                api::pod::phase(&pod)
            );
            return Err(ApiError::bad_request(text));
        }
        let Some(proxy) = &self.server.node_proxy else {
            return Err(ApiError::unavailable("this server has no certificate with which to reach nodes"));
        };
        let call = self.node_call(&pod)?;
        let address = self.node_address(&pod)?;
        proxy.forward(&address, &call, request).await.map_err(|error| {
            tracing::info!(%error, node = %address, "the node did not answer");
            match error.class() {
                FailureClass::Node => ApiError::internal(error.told()),
                FailureClass::Request => ApiError::bad_request(error.told()),
                FailureClass::Busy => ApiError::too_many_requests(error.told(), 1),
            }
        })
    }

    fn node_call(&self, pod: &Pod) -> Result<NodeCall, ApiError> {
        let namespace = self.target.namespace.clone();
        let name = self.target.name.clone();
        if self.target.subresource == "portforward" {
            return Ok(NodeCall::PortForward { namespace, pod: name });
        }
        let container = self.container(pod)?;
        Ok(match self.target.subresource.as_str() {
            "log" => NodeCall::Logs { namespace, pod: name, container },
            "exec" => NodeCall::Exec { namespace, pod: name, container },
            _ => NodeCall::Attach { namespace, pod: name, container },
        })
    }

    /// The container that is asked for; the only one where none is named.
    fn container(&self, pod: &Pod) -> Result<String, ApiError> {
        let name = self.target.name.as_str();
        let spec = pod.spec.clone().unwrap_or_default();
        let all: Vec<String> =
            api::pod::all_containers(&spec).map(|container| container.name.clone()).collect();
        let asked = self.query.get("container").unwrap_or_default();
        if !asked.is_empty() {
            if all.iter().any(|container| container == asked) {
                return Ok(asked.to_owned());
            }
            return Err(ApiError::bad_request(format!("container {asked} is not valid for pod {name}")));
        }
        let names = |containers: &[Container]| {
            containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        match spec.containers.as_slice() {
            [only] => Ok(only.name.clone()),
            [] => Err(ApiError::bad_request(format!("a container name must be specified for pod {name}"))),
            several => {
                let mut text = format!(
                    "a container name must be specified for pod {name}, choose one of: [{}]",
                    names(several)
                );
                let init = api::pod::init_containers(&spec);
                if !init.is_empty() {
                    text.push_str(&format!(" or one of the init containers: [{}]", names(init)));
                }
                Err(ApiError::bad_request(text))
            }
        }
    }

    /// Where the agent of the pod's node listens.
    fn node_address(&self, pod: &Pod) -> Result<NodeAddress, ApiError> {
        let name = api::pod::node_name(pod).unwrap_or_default();
        let found = self.server.windows.window("nodes").and_then(|window| window.get(name));
        let Some(found) = found else {
            return Err(ApiError::internal(format!("error getting node: nodes {name:?} not found")));
        };
        let status = typed::<Node>(&found)?.status.unwrap_or_default();
        let addresses = status.addresses.unwrap_or_default();
        let of = |kind: &str| addresses.iter().find(|a| a.type_ == kind).map(|a| a.address.clone());
        let host = of("InternalIP").or_else(|| of("Hostname")).or_else(|| of("ExternalIP"));
        let port = status.daemon_endpoints.and_then(|endpoints| endpoints.kubelet_endpoint).map(|e| e.port);
        let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(KUBELET_PORT);
        match host {
            Some(host) => Ok(NodeAddress { host, port }),
            None => Err(ApiError::internal(format!("no preferred addresses found for node {name:?}"))),
        }
    }
}
