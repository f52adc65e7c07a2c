//! `proxy`: HTTP to a pod, to a node's agent, or to a service's endpoint.
//!
//! Where to is decided here; what is sent goes on as it is, with the path that follows `proxy`. Upstream:
//! `ResourceLocation` of pkg/registry/core/{pod,node,service}, UpgradeAwareHandler, and proxyutil.Transport for the headers
//! and for redirects. DIFFERS(PROXY): links inside HTML are not rewritten.

use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::Call;
use crate::body::{self, Body};
use crate::error::ApiError;
use crate::node_proxy::{Backend, FailureClass, NodeAddress, NodeCall, Transport};
use crate::object::Object;
use crate::pipeline::typed;

/// Which endpoints belong to a service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Where a proxied request goes.
struct Place {
    backend: Backend,
    is_agent: bool,
}

/// `name`, `name:port` or `scheme:name:port`.
#[derive(Debug, PartialEq, Eq)]
struct Id<'a> {
    https: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Id<'a> {
    fn parse(id: &'a str) -> Option<Id<'a>> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => return None,
        };
        let known = matches!(scheme, "" | "http" | "https");
        (known && !name.is_empty()).then_some(Id { https: scheme == "https", name, port })
    }

    fn transport(&self) -> Transport {
        if self.https { Transport::Https } else { Transport::Http }
    }

    fn default_port(&self) -> u16 {
        if self.https { 443 } else { 80 }
    }
}

impl Call {
    pub(super) async fn proxy(&self, mut request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let place = match self.resource.plural {
            "pods" => self.pod_place().await?,
            "nodes" => self.agent_place().await?,
            "services" => self.service_place().await?,
            _ => return Err(ApiError::unknown_path()),
        };
        let path = request.uri().path().to_owned();
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let segments = if self.target.namespace.is_empty() { 5 } else { 7 };
        let (prefix, rest) = split_after(&path, segments);
        let is_upgrade = request.headers().contains_key(header::UPGRADE);
        if rest.is_empty() && !is_upgrade && matches!(*request.method(), Method::GET | Method::HEAD) {
            return redirect(&format!("{path}/{query}"));
        }
        let target = if rest.is_empty() { format!("/{query}") } else { format!("{rest}{query}") };
        if let Ok(uri) = HeaderValue::from_str(&path) {
            request.headers_mut().insert(FORWARDED_URI, uri);
        }
        let call = NodeCall::Plain { target, is_for_agent: place.is_agent };
        let address = place.backend.address.to_string();
        let own_host = request.headers().get(header::HOST).cloned();
        let answer = self.node_proxy()?.forward(&place.backend, &call, request).await;
        let mut answer = answer.map_err(|error| {
            self.log_failure(&error, &address);
            match error.class() {
                FailureClass::Node if is_upgrade => ApiError::unclassified(error.told()),
                FailureClass::Node => {
                    ApiError::unavailable(format!("error trying to reach service: {}", error.cause()))
                }
                FailureClass::Request => ApiError::bad_request(error.told()),
                FailureClass::Busy => ApiError::too_many_requests(error.told(), 1),
            }
        })?;
        let own_host = own_host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        if let Some(location) = location
            && let Ok(moved) = HeaderValue::from_str(&moved(location, prefix, &[&address, own_host]))
        {
            answer.headers_mut().insert(header::LOCATION, moved);
        }
        Ok(answer)
    }

    async fn pod_place(&self) -> Result<Place, ApiError> {
        let asked = self.target.name.as_str();
        let id = Id::parse(asked)
            .ok_or_else(|| ApiError::bad_request(format!("invalid pod request {asked:?}")))?;
        let pod = self.pod(id.name).await?;
        let declared = |pod: &Pod| {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            containers
                .flat_map(|container| container.ports.iter().flatten())
                .next()
                .map(|port| port.container_port)
        };
        let port = match id.port {
            "" => declared(&pod).and_then(|port| u16::try_from(port).ok()).unwrap_or(id.default_port()),
            port => number(port)?,
        };
        let ip = pod.status.and_then(|status| status.pod_ip).unwrap_or_default();
        Ok(Place { backend: outside(&ip, port, id.transport())?, is_agent: false })
    }

    async fn agent_place(&self) -> Result<Place, ApiError> {
        let asked = self.target.name.as_str();
        let id = Id::parse(asked)
            .ok_or_else(|| ApiError::bad_request(format!("invalid node request {asked:?}")))?;
        let windows = &self.server.windows;
        windows.fresh().await.map_err(|_| ApiError::server_timeout(self.resource, self.target.verb, 1))?;
        if windows.window("nodes").and_then(|window| window.get(id.name)).is_none() {
            return Err(ApiError::not_found(self.resource, id.name));
        }
        let address = self.node_address(id.name)?;
        if id.port.is_empty() || id.port == address.port.to_string() {
            return Ok(Place { backend: Backend::agent(address), is_agent: true });
        }
        let port = number(id.port)?;
        Ok(Place { backend: outside(&address.host, port, id.transport())?, is_agent: false })
    }

    async fn service_place(&self) -> Result<Place, ApiError> {
        let asked = self.target.name.as_str();
        let id = Id::parse(asked)
            .ok_or_else(|| ApiError::bad_request(format!("invalid service request {asked:?}")))?;
        let windows = &self.server.windows;
        windows.fresh().await.map_err(|_| ApiError::server_timeout(self.resource, self.target.verb, 1))?;
        let key = format!("{}/{}", self.target.namespace, id.name);
        let service = windows.window("services").and_then(|window| window.get(&key));
        let service: Service = typed(&*service.ok_or_else(|| ApiError::not_found(self.resource, id.name))?)?;
        let name = match id.port.parse::<i32>() {
            Err(_) => id.port.to_owned(),
            Ok(wanted) => {
                let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
                let found = ports.into_iter().find(|port| port.port == wanted);
                let none = || {
                    let text = format!("no service port {wanted} found for service {:?}", id.name);
                    ApiError::unavailable(text)
                };
                found.ok_or_else(none)?.name.clone().unwrap_or_default()
            }
        };
        let none = || ApiError::unavailable(format!("no endpoints available for service {:?}", id.name));
        let endpoints = self.endpoints(id.name, &name)?;
        let (ip, port) = endpoints.get(pick(endpoints.len())).ok_or_else(none)?;
        Ok(Place { backend: outside(ip, *port, id.transport())?, is_agent: false })
    }

    /// The ready addresses of a service at the port of that name.
    fn endpoints(&self, service: &str, port_name: &str) -> Result<Vec<(String, u16)>, ApiError> {
        let Some(window) = self.server.windows.window("endpointslices") else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let belongs = |object: &Object| object.header.label(SERVICE_NAME) == Some(service);
        for object in window.list(&format!("{}/", self.target.namespace), belongs).objects {
            let slice: EndpointSlice = typed(&object)?;
            let ports = slice.ports.iter().flatten();
            let named = ports.filter(|port| port.name.as_deref().unwrap_or_default() == port_name);
            let Some(port) = named.filter_map(|port| u16::try_from(port.port?).ok()).next() else { continue };
            let ready = slice.endpoints.iter().filter(|endpoint| {
                endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready != Some(false))
            });
            found.extend(ready.flat_map(|endpoint| &endpoint.addresses).map(|ip| (ip.clone(), port)));
        }
        Ok(found)
    }
}

/// The address, if it is one that may be reached through the server: not the server's own machine or link.
fn outside(ip: &str, port: u16, transport: Transport) -> Result<Backend, ApiError> {
    let refused = || ApiError::bad_request("address not allowed");
    let parsed: std::net::IpAddr = ip.parse().map_err(|_| refused())?;
    let local = match parsed {
        std::net::IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if parsed.is_unspecified() || parsed.is_loopback() || parsed.is_multicast() || local {
        return Err(refused());
    }
    Ok(Backend { address: NodeAddress { host: ip.to_owned(), port }, transport })
}

fn number(port: &str) -> Result<u16, ApiError> {
    port.parse().map_err(|_| ApiError::bad_request(format!("invalid port {port:?}")))
}

/// The path up to and with its first `count` segments, and the rest with its slash.
fn split_after(path: &str, count: usize) -> (&str, &str) {
    let mut seen = 0;
    let mut in_segment = false;
    for (at, byte) in path.bytes().enumerate() {
        if byte == b'/' {
            if in_segment && seen == count {
                return path.split_at(at);
            }
            in_segment = false;
        } else if !in_segment {
            in_segment = true;
            seen += 1;
        }
    }
    (path, "")
}

fn redirect(to: &str) -> Result<Response<Body>, ApiError> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let to =
        HeaderValue::from_str(to).map_err(|_| ApiError::bad_request("the URL cannot be redirected to"))?;
    response.headers_mut().insert(header::LOCATION, to);
    Ok(response)
}

/// A redirect's place as the client reaches it: a path of the same host is under `prefix`.
fn moved(location: &str, prefix: &str, own_hosts: &[&str]) -> String {
    let after_scheme =
        location.split_once("://").map(|(_, rest)| rest).or_else(|| location.strip_prefix("//"));
    let path = match after_scheme {
        None => location,
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            if !own_hosts.contains(&host) {
                return location.to_owned();
            }
            if path.is_empty() { "/" } else { path }
        }
    };
    if !path.starts_with('/') || path.starts_with(prefix) {
        return path.to_owned();
    }
    format!("{prefix}{path}")
}

/// One of `count`, by chance; zero of none.
fn pick(count: usize) -> usize {
    let mut bytes = [0; 8];
    // Without randomness the first is as good as any.
    let _ = getrandom::fill(&mut bytes);
    usize::try_from(u64::from_le_bytes(bytes) % (count.max(1) as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_scheme_and_port() {
        let id = |https, name, port| Some(Id { https, name, port });
        assert_eq!(Id::parse("p"), id(false, "p", ""));
        assert_eq!(Id::parse("p:80"), id(false, "p", "80"));
        assert_eq!(Id::parse("https:p:https"), id(true, "p", "https"));
        for refused in ["", ":80", "ftp:p:1", "http:p:1:2", "https::1"] {
            assert_eq!(Id::parse(refused), None, "{refused}");
        }
    }

    #[test]
    fn what_follows_the_proxy_goes_on_as_it_was_sent() {
        let path = "/api/v1/namespaces/a/pods/http:b:80/proxy";
        assert_eq!(split_after(path, 7), (path, ""));
        assert_eq!(split_after(&format!("{path}/"), 7), (path, "/"));
        assert_eq!(split_after(&format!("{path}/x%2Fy//z/"), 7), (path, "/x%2Fy//z/"));
    }

    #[test]
    fn redirects_within_the_same_host_stay_behind_the_proxy() {
        for (location, expect) in [
            ("/login?x=1", "/p/login?x=1"),
            ("http://10.0.0.1:80/login", "/p/login"),
            ("http://front/", "/p/"),
            ("https://elsewhere/login", "https://elsewhere/login"),
            ("login", "login"),
            ("/p/login", "/p/login"),
        ] {
            assert_eq!(moved(location, "/p", &["10.0.0.1:80", "front"]), expect, "{location}");
        }
    }

    #[test]
    fn servers_own_machine_is_not_reached_through_it() {
        for ip in ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1", ""] {
            let refused = outside(ip, 80, Transport::Http).unwrap_err();
            assert_eq!(refused.message(), "address not allowed", "{ip}");
        }
        assert!(outside("10.0.0.1", 80, Transport::Http).is_ok());
    }
}
