//! How names are resolved in a Pod: dnsPolicy and dnsConfig over the node's own resolver.

use std::net::IpAddr;

use cri::Dns;
use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};

const NODE_FILE: &str = "/etc/resolv.conf";
/// What systemd-resolved keeps of the real servers when `/etc/resolv.conf` names only its own stub.
const UPLINK_FILE: &str = "/run/systemd/resolve/resolv.conf";
/// Upstream's limits (glibc's are lower, musl and others take these).
const SERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;

/// What this node knows about resolving names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: String,
}

impl Resolver {
    /// The Pod's resolver, read from the node's files now.
    pub fn of(&self, pod: &Pod) -> Dns {
        let text = std::fs::read_to_string(NODE_FILE).unwrap_or_default();
        let mut node = parse(&text);
        if node.servers.iter().all(|server| server.starts_with("127.")) && !api::pod::is_host_network(pod) {
            // A stub on the node's loopback cannot be reached from a Pod's own network.
            if let Ok(uplink) = std::fs::read_to_string(UPLINK_FILE) {
                node = parse(&uplink);
            }
        }
        self.merged(pod, node)
    }

    fn merged(&self, pod: &Pod, node: Dns) -> Dns {
        let spec = pod.spec.as_ref();
        let policy = spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
        let cluster = match policy {
            "ClusterFirst" => !api::pod::is_host_network(pod),
            "ClusterFirstWithHostNet" => true,
            _ => false,
        };
        let mut dns = if policy == "None" {
            Dns::default()
        } else if cluster && !self.cluster_dns.is_empty() {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
            let domain = &self.cluster_domain;
            let mut searches =
                vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
            searches.extend(node.searches);
            Dns {
                servers: self.cluster_dns.iter().map(ToString::to_string).collect(),
                searches,
                options: vec!["ndots:5".to_owned()],
            }
        } else {
            node
        };
        if let Some(config) = spec.and_then(|spec| spec.dns_config.as_ref()) {
            add(&mut dns, config);
        }
        dedup(&mut dns.servers);
        dedup(&mut dns.searches);
        dns.servers.truncate(SERVERS_MAX);
        dns.searches.truncate(SEARCHES_MAX);
        dns
    }
}

fn add(dns: &mut Dns, config: &PodDNSConfig) {
    dns.servers.extend(config.nameservers.iter().flatten().cloned());
    dns.searches.extend(config.searches.iter().flatten().cloned());
    for option in config.options.iter().flatten() {
        let Some(name) = &option.name else { continue };
        // The Pod's value replaces the node's.
        dns.options.retain(|known| known.split(':').next() != Some(name.as_str()));
        dns.options.push(match &option.value {
            Some(value) if !value.is_empty() => format!("{name}:{value}"),
            _ => name.clone(),
        });
    }
}

fn dedup(list: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|item| seen.insert(item.clone()));
}

fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            // The last one counts, as in resolv.conf(5).
            Some("search") => dns.searches = words.filter(|word| *word != ".").map(str::to_owned).collect(),
            Some("options") => dns.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"metadata": {"namespace": "n"}, "spec": spec})).unwrap()
    }

    fn node() -> Dns {
        parse("# x\nnameserver 9.9.9.9\nsearch old\nsearch lan home\noptions rotate ndots:1\n")
    }

    #[test]
    fn cluster_first_uses_the_clusters_servers_where_there_are_some() {
        let resolver = Resolver {
            cluster_dns: vec!["10.96.0.10".parse().unwrap()],
            cluster_domain: "cluster.local".to_owned(),
        };
        let wanted = pod(serde_json::json!({"containers": [], "dnsPolicy": "ClusterFirst"}));
        let dns = resolver.merged(&wanted, node());
        assert_eq!(dns.servers, ["10.96.0.10"]);
        assert_eq!(
            dns.searches,
            ["n.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan", "home"]
        );
        let on_host =
            pod(serde_json::json!({"containers": [], "dnsPolicy": "ClusterFirst", "hostNetwork": true}));
        assert_eq!(resolver.merged(&on_host, node()), node());
        assert_eq!(Resolver::default().merged(&wanted, node()), node());
    }

    #[test]
    fn pods_own_options_replace_the_nodes() {
        let wanted = pod(serde_json::json!({"containers": [], "dnsPolicy": "Default",
            "dnsConfig": {"nameservers": ["1.1.1.1", "9.9.9.9"], "options": [{"name": "ndots", "value": "3"}]}}));
        let dns = Resolver::default().merged(&wanted, node());
        assert_eq!(dns.servers, ["9.9.9.9", "1.1.1.1"]);
        assert_eq!(dns.options, ["rotate", "ndots:3"]);
        let none =
            pod(serde_json::json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"searches": ["x"]}}));
        assert_eq!(
            Resolver::default().merged(&none, node()),
            Dns { searches: vec!["x".to_owned()], ..Dns::default() }
        );
    }
}
