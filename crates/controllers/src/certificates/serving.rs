//! Whether a request for a serving certificate names nothing but the node that asks.
//!
//! A node writes its own addresses, so they prove nothing by themselves: an address that another Node has, or at which
//! the API server is reached, is never granted, nor is loopback. Which names a node may have was settled when it joined.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Endpoints, Node};
use kube::{Api, ResourceExt};

use super::request::Asked;
use crate::Context;

/// The Service whose endpoints are the API servers.
const API_SERVICE: &str = "kubernetes";

/// Whether it is granted now; nothing for a request that is no node's own for its API. A node asks as soon as it runs, which
/// may be before its Node has its addresses: what is not granted now may be later.
pub async fn is_granted(
    context: &Context,
    request: &CertificateSigningRequest,
) -> Result<Option<bool>, kube::Error> {
    let spec = &request.spec;
    let Ok(asked) = Asked::read(&spec.request.0) else { return Ok(None) };
    let usages = spec.usages.as_deref().unwrap_or_default();
    let Some(name) = asked.serving_node(&spec.signer_name, usages) else { return Ok(None) };
    if spec.username.as_deref() != Some(asked.common_name.as_str()) {
        return Ok(None);
    }
    let services: Api<Endpoints> = Api::namespaced(context.client.clone(), "default");
    let servers = services.get_opt(API_SERVICE).await?;
    context.nodes.synced().await;
    Ok(Some(names_itself_alone(&asked, name, &context.nodes.list(), servers.as_ref())))
}

fn names_itself_alone<N: Borrow<Node>>(
    asked: &Asked,
    name: &str,
    nodes: &[N],
    servers: Option<&Endpoints>,
) -> bool {
    let nodes = || nodes.iter().map(Borrow::borrow);
    let Some(node) = nodes().find(|node| node.name_any() == name) else { return false };
    let own = addresses(node);
    let others: BTreeSet<IpAddr> =
        nodes().filter(|node| node.name_any() != name).flat_map(addresses).collect();
    let subsets = servers.iter().flat_map(|found| found.subsets.iter().flatten());
    let servers: BTreeSet<IpAddr> = subsets
        .flat_map(|subset| subset.addresses.iter().flatten())
        .filter_map(|address| address.ip.parse().ok())
        .collect();
    let granted = |ip: &IpAddr| {
        own.contains(ip)
            && !others.contains(ip)
            && !servers.contains(ip)
            && !ip.is_loopback()
            && !ip.is_unspecified()
    };
    asked.dns_names.iter().all(|dns| dns == name)
        && asked.ips.iter().all(granted)
        && asked.ips.len() + asked.dns_names.len() == asked.addresses + asked.dns
}

fn addresses(node: &Node) -> BTreeSet<IpAddr> {
    let listed = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    listed.filter_map(|address| address.address.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, ip: &str) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"addresses": [
            {"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}]}}))
        .unwrap()
    }

    fn asked(dns: &[&str], ips: &[&str]) -> Asked {
        Asked {
            dns_names: dns.iter().map(|name| (*name).to_owned()).collect(),
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            dns: dns.len(),
            addresses: ips.len(),
            ..Asked::default()
        }
    }

    #[test]
    fn a_node_is_granted_its_own_name_and_addresses_and_nobody_elses() {
        let nodes =
            [node("a", "10.0.0.1"), node("b", "10.0.0.2"), node("c", "10.0.0.9"), node("d", "127.0.0.1")];
        let servers: Endpoints = serde_json::from_value(json!({"metadata": {"name": "kubernetes"},
            "subsets": [{"addresses": [{"ip": "10.0.0.9"}], "ports": [{"port": 6443}]}]}))
        .unwrap();
        let cases: [(&str, &[&str], &[&str], bool); 8] = [
            ("a", &["a"], &["10.0.0.1"], true),
            ("a", &["a", "b"], &["10.0.0.1"], false),
            ("a", &["kubernetes.default"], &[], false),
            ("a", &["a"], &["10.0.0.2"], false),
            ("a", &["a"], &["10.0.0.1", "10.0.0.3"], false),
            ("c", &["c"], &["10.0.0.9"], false),
            ("d", &["d"], &["127.0.0.1"], false),
            ("unknown", &["unknown"], &[], false),
        ];
        for (name, dns, ips, granted) in cases {
            let found = names_itself_alone(&asked(dns, ips), name, &nodes, Some(&servers));
            assert_eq!(found, granted, "{name} {dns:?} {ips:?}");
        }
        // Two Nodes that both say that an address is theirs: nobody is believed.
        let twice = [node("a", "10.0.0.1"), node("b", "10.0.0.1")];
        assert!(!names_itself_alone(&asked(&["a"], &["10.0.0.1"]), "a", &twice, None));
        let unreadable = Asked { addresses: 1, ..asked(&["a"], &[]) };
        assert!(!names_itself_alone(&unreadable, "a", &nodes, None), "an address that is none");
    }
}
