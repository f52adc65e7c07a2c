//! Numbers that one Service has and no other: cluster addresses and ports of the nodes.
//!
//! A number is proposed from what this server knows ([`Allotment::propose`], pure but for randomness), and becomes the
//! Service's by a claim: a key of its own in the store, created only where it is absent. Several servers on one store
//! therefore never give a number twice; who loses decides again, knowing better. A claim is made before its Service is
//! written and given back after the Service has let it go; what a crash leaves behind is found by [`run`]. It knows
//! Services and nothing of requests. Upstream: `pkg/registry/core/service/{ipallocator,portallocator,storage/alloc.go}`.

mod claims;
mod range;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;

use api::field::{FieldError, FieldErrors, Path};
use api::service;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use parking_lot::Mutex;

use crate::error::ApiError;

pub use claims::{Claimed, run};
pub use range::{BadRange, ServiceRange};

/// Upstream's `--service-node-port-range`.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// Ports at the range's beginning that are given out last, so that those chosen by people are likely free: upstream's band.
const STATIC_PORTS: usize = 86;

/// A number, as it is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    Address(IpAddr),
    Port(u16),
}

/// What this server knows of who has which number.
pub struct Allotment {
    range: ServiceRange,
    taken: Mutex<BTreeSet<Claim>>,
}

impl Claim {
    /// How a header and the store's key write it.
    pub fn text(self) -> String {
        match self {
            Claim::Address(ip) => format!("ip/{ip}"),
            Claim::Port(port) => format!("port/{port}"),
        }
    }

    pub fn parse(text: &str) -> Option<Claim> {
        match text.split_once('/')? {
            ("ip", ip) => ip.parse().ok().map(Claim::Address),
            ("port", port) => port.parse().ok().map(Claim::Port),
            _ => None,
        }
    }

    /// Every number that a Service has.
    pub fn of(service: &Service) -> Vec<Claim> {
        let Some(spec) = &service.spec else { return Vec::new() };
        let addresses =
            spec.cluster_ips.iter().flatten().filter_map(|ip| ip.parse().ok().map(Claim::Address));
        let ports = spec.ports.iter().flatten().filter_map(|port| port.node_port);
        let ports = ports.chain(spec.health_check_node_port);
        let ports =
            ports.filter_map(|port| u16::try_from(port).ok()).filter(|port| *port != 0).map(Claim::Port);
        // A port that two protocols share is one number.
        addresses.chain(ports).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Allotment {
    pub fn new(range: ServiceRange) -> Allotment {
        Allotment { range, taken: Mutex::default() }
    }

    fn learn(&self, claim: Claim) {
        self.taken.lock().insert(claim);
    }

    fn forget(&self, claim: Claim) {
        self.taken.lock().remove(&claim);
    }

    fn replace(&self, claims: BTreeSet<Claim>) {
        *self.taken.lock() = claims;
    }

    /// Fills in what a Service of its type has and does not name; refuses what is not to be had. Names of families follow.
    pub fn propose(&self, service: &mut Service, old: Option<&Service>) -> Result<(), ApiError> {
        let name = service.metadata.name.clone().unwrap_or_default();
        let own: BTreeSet<Claim> = old.map(Claim::of).unwrap_or_default().into_iter().collect();
        let spec = service.spec.get_or_insert_default();
        let refused = |errors: FieldErrors| ApiError::invalid("", "Service", &name, &errors);
        if service::needs_cluster_ip(spec) {
            self.families(spec).map_err(refused)?;
            if !service::is_headless(spec) {
                self.addresses(spec, &own).map_err(|problem| problem.told(&name))?;
            }
        }
        let mut mine = BTreeSet::new();
        if service::needs_node_ports(spec) {
            self.ports(spec, &own, &mut mine).map_err(|problem| problem.told(&name))?;
        }
        if service::needs_health_check(spec) {
            let path = Path::new("spec.healthCheckNodePort");
            let given = spec.health_check_node_port.unwrap_or_default();
            let port = self.port(given, &own, &mut mine, &path, "healthCheckNodePort");
            spec.health_check_node_port = Some(port.map_err(|problem| problem.told(&name))?);
        }
        Ok(())
    }

    /// One family is configured: the policy follows what is asked for, and asking for both is refused.
    fn families(&self, spec: &mut ServiceSpec) -> Result<(), FieldErrors> {
        let path = Path::new("spec");
        let own = self.range.family();
        let count = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
        let two = count(&spec.cluster_ips) == 2 || count(&spec.ip_families) == 2;
        let usual = if two { "RequireDualStack" } else { "SingleStack" };
        let policy = spec.ip_family_policy.get_or_insert_with(|| usual.to_owned()).clone();
        let selects = spec.selector.as_ref().is_some_and(|selector| !selector.is_empty());
        if service::is_headless(spec) && !selects {
            let single = policy == "SingleStack";
            if count(&spec.ip_families) == 0 {
                let other = if own == "IPv4" { "IPv6" } else { "IPv4" };
                let both = [own, other].into_iter().take(if single { 1 } else { 2 });
                spec.ip_families = Some(both.map(str::to_owned).collect());
            }
            return Ok(());
        }
        let mut errors = FieldErrors::new();
        let missing = |family: &str| format!("{family} is not configured on this cluster");
        let dual = policy == "RequireDualStack";
        let mut families = spec.ip_families.clone().unwrap_or_default();
        let addresses = spec.cluster_ips.clone().unwrap_or_default();
        for (i, ip) in addresses.iter().enumerate() {
            let Ok(parsed) = ip.parse::<IpAddr>() else { continue };
            let family = if parsed.is_ipv4() { "IPv4" } else { "IPv6" };
            if i < families.len() {
                continue;
            }
            if family == own {
                families.push(family.to_owned());
            } else {
                let path = path.child("clusterIPs").index(i);
                errors.push(FieldError::invalid(&path, addresses.clone(), missing(family)));
            }
        }
        for (i, family) in families.iter().enumerate().filter(|(_, family)| *family != own) {
            if matches!(family.as_str(), "IPv4" | "IPv6") {
                let path = path.child("ipFamilies").index(i);
                errors.push(FieldError::invalid(&path, families.clone(), missing(family)));
            }
        }
        if dual {
            let detail = "this cluster is not configured for dual-stack services";
            errors.push(FieldError::invalid(&path.child("ipFamilyPolicy"), "RequireDualStack", detail));
        }
        if families.is_empty() {
            families.push(own.to_owned());
        }
        spec.ip_families = Some(families);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn addresses(&self, spec: &mut ServiceSpec, own: &BTreeSet<Claim>) -> Result<(), Problem> {
        let given = spec.cluster_ips.clone().unwrap_or_default();
        let Some(first) = given.first() else {
            let taken = self.taken.lock();
            let free = self.range.pick(random(), |ip| !taken.contains(&Claim::Address(ip)));
            let ip = free.ok_or(Problem::Full("serviceIP"))?.to_string();
            spec.cluster_ips = Some(vec![ip.clone()]);
            spec.cluster_ip = Some(ip);
            return Ok(());
        };
        // What is no address is validation's to refuse.
        let Ok(ip) = first.parse::<IpAddr>() else { return Ok(()) };
        let claim = Claim::Address(ip);
        if own.contains(&claim) {
            return Ok(());
        }
        let why = if !self.range.contains(ip) {
            let range = self.range;
            format!("provided IP is not in the valid range. The range of valid IPs is {range}")
        } else if self.taken.lock().contains(&claim) {
            "provided IP is already allocated".to_owned()
        } else {
            return Ok(());
        };
        let detail = format!("failed to allocate IP {ip}: {why}");
        Err(Problem::Refused(FieldError::invalid(&Path::new("spec.clusterIPs"), vec![first.clone()], detail)))
    }

    fn ports(
        &self,
        spec: &mut ServiceSpec,
        own: &BTreeSet<Claim>,
        mine: &mut BTreeSet<u16>,
    ) -> Result<(), Problem> {
        // Those that are named first: a free choice is not to take them away.
        let named = spec.ports.iter().flatten().filter_map(|port| u16::try_from(port.node_port?).ok());
        let named: BTreeSet<u16> = named.filter(|port| *port != 0).collect();
        for (i, port) in spec.ports.iter_mut().flatten().enumerate() {
            let path = Path::new("spec.ports").index(i).child("nodePort");
            let given = port.node_port.unwrap_or_default();
            let mut seen = mine.clone();
            if given == 0 {
                seen.extend(&named);
            }
            port.node_port = Some(self.port(given, own, &mut seen, &path, "nodePort")?);
            mine.extend(port.node_port.and_then(|port| u16::try_from(port).ok()));
        }
        Ok(())
    }

    /// The port that is asked for, or a free one; `mine` are those that this Service already has chosen.
    fn port(
        &self,
        given: i32,
        own: &BTreeSet<Claim>,
        mine: &mut BTreeSet<u16>,
        path: &Path,
        what: &'static str,
    ) -> Result<i32, Problem> {
        let taken = self.taken.lock();
        if given == 0 {
            let count = NODE_PORTS.len();
            let dynamic = count - STATIC_PORTS;
            let start = usize::try_from(random() % dynamic as u64).unwrap_or(0);
            let order = (0..dynamic).map(|i| STATIC_PORTS + (start + i) % dynamic).chain(0..STATIC_PORTS);
            let mut ports = order.filter_map(|i| u16::try_from(i).ok()).map(|i| NODE_PORTS.start() + i);
            let free = ports.find(|port| !mine.contains(port) && !taken.contains(&Claim::Port(*port)));
            let port = free.ok_or(Problem::Full(what))?;
            mine.insert(port);
            return Ok(i32::from(port));
        }
        let refused = |why: String| Err(Problem::Refused(FieldError::invalid(path, given, why)));
        let (low, high) = (NODE_PORTS.start(), NODE_PORTS.end());
        let Some(port) = u16::try_from(given).ok().filter(|port| NODE_PORTS.contains(port)) else {
            return refused(format!(
                "provided port is not in the valid range. The range of valid ports is {low}-{high}"
            ));
        };
        let claim = Claim::Port(port);
        if own.contains(&claim) || mine.contains(&port) || !taken.contains(&claim) {
            mine.insert(port);
            return Ok(given);
        }
        refused("provided port is already allocated".to_owned())
    }
}

enum Problem {
    /// Every number is somebody's.
    Full(&'static str),
    Refused(FieldError),
}

impl Problem {
    fn told(self, name: &str) -> ApiError {
        match self {
            Problem::Full(what) => ApiError::internal(format!("failed to allocate a {what}: range is full")),
            Problem::Refused(error) => ApiError::invalid("", "Service", name, &[error]),
        }
    }
}

/// Where a free number is looked for first; a machine without randomness begins at the beginning.
fn random() -> u64 {
    let mut bytes = [0u8; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => 0,
    }
}
