//! exec, attach and port-forward: the pod's node answers. Who may, which container, and where its agent listens.
//!
//! Upstream: pkg/registry/core/pod/strategy.go (locations, container names), rest/authorize.go. Whether the pod runs is
//! the node's to say.

use http::{Request, Response};
use k8s_openapi::api::core::v1::{Container, Node, Pod};

use super::Call;
use crate::access::{Attributes, Decision};
use crate::body::Body;
use crate::error::ApiError;
use crate::node_proxy::{Backend, FailureClass, NodeAddress, NodeCall, NodeProxy, NodeProxyError};
use crate::pipeline::typed;

/// Where upstream's agents listen.
const KUBELET_PORT: u16 = 10250;

impl Call {
    pub(super) async fn stream(&self, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        self.may_create()?;
        let name = self.target.name.as_str();
        let pod = self.pod(name).await?;
        let namespace = self.target.namespace.clone();
        let call = match self.target.subresource.as_str() {
            "portforward" => NodeCall::PortForward { namespace, pod: name.to_owned() },
            subresource => {
                let container = self.container(&pod)?;
                if subresource == "exec" {
                    NodeCall::Exec { namespace, pod: name.to_owned(), container }
                } else {
                    NodeCall::Attach { namespace, pod: name.to_owned(), container }
                }
            }
        };
        let Some(node) = api::pod::node_name(&pod) else {
            return Err(ApiError::bad_request(format!("pod {name} does not have a host assigned")));
        };
        let backend = Backend::agent(self.node_address(node)?);
        self.node_proxy()?.forward(&backend, &call, request).await.map_err(|error| {
            self.log_failure(&error, node);
            match error.class() {
                FailureClass::Node => ApiError::unclassified(error.told()),
                FailureClass::Request => ApiError::bad_request(error.told()),
                FailureClass::Busy => ApiError::too_many_requests(error.told(), 1),
            }
        })
    }

    /// A WebSocket's handshake is a GET, and what it opens is more than reading: the right to create is asked for too.
    fn may_create(&self) -> Result<(), ApiError> {
        let target = &self.target;
        if target.verb == "create" {
            return Ok(());
        }
        let asked = Attributes {
            user: self.user.clone(),
            verb: "create".to_owned(),
            group: target.group.clone(),
            version: target.version.clone(),
            resource: target.resource.clone(),
            subresource: target.subresource.clone(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            ..Attributes::default()
        };
        match self.server.authorizer.authorize(&asked) {
            Decision::Allow => Ok(()),
            Decision::Deny { message } => Err(ApiError::forbidden(self.resource, &target.name, message)),
        }
    }

    /// The pod as it is now.
    pub(super) async fn pod(&self, name: &str) -> Result<Pod, ApiError> {
        let windows = &self.server.windows;
        windows.fresh().await.map_err(|_| ApiError::server_timeout(self.resource, self.target.verb, 1))?;
        let key = format!("{}/{name}", self.target.namespace);
        let pod = windows.window("pods").and_then(|window| window.get(&key));
        typed(&*pod.ok_or_else(|| ApiError::not_found(self.resource, name))?)
    }

    pub(super) fn node_proxy(&self) -> Result<&NodeProxy, ApiError> {
        let none = || ApiError::unavailable("this server has no certificate with which to reach nodes");
        self.server.node_proxy.as_ref().ok_or_else(none)
    }

    pub(super) fn log_failure(&self, error: &NodeProxyError, to: &str) {
        let subresource = &self.target.subresource;
        tracing::info!(error = error as &dyn std::error::Error, %subresource, %to, "a request could not be passed on");
    }

    /// The container that is asked for; the only one where none is named.
    pub(super) fn container(&self, pod: &Pod) -> Result<String, ApiError> {
        let name = self.target.name.as_str();
        let empty = Default::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let asked = self.query.get("container").unwrap_or_default();
        let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| container.name.as_str());
        if !asked.is_empty() {
            let mut all = api::pod::all_containers(spec).map(|known| known.name.as_str()).chain(ephemeral);
            return if all.any(|known| known == asked) {
                Ok(asked.to_owned())
            } else {
                Err(ApiError::bad_request(format!("container {asked} is not valid for pod {name}")))
            };
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
                let init = api::pod::init_containers(spec);
                if !init.is_empty() {
                    text.push_str(&format!(" or one of the init containers: [{}]", names(init)));
                }
                Err(ApiError::bad_request(text))
            }
        }
    }

    /// Where a node's agent listens.
    pub(super) fn node_address(&self, name: &str) -> Result<NodeAddress, ApiError> {
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
