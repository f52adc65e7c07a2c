//! Addresses and networks that are understood today and will not be for ever. Texts are upstream's.
//!
//! Only forms that validation lets through are told: of an address, IPv4 inside IPv6 and other ways to write IPv6.

use std::net::IpAddr;

use crate::field::Path;
use crate::network::network_of;

pub(super) fn of_ip(path: &Path, value: &str) -> Option<String> {
    let Ok(IpAddr::V6(address)) = value.parse::<IpAddr>() else { return None };
    if let Some(inner) = address.to_ipv4_mapped() {
        return Some(format!(
            "{path}: non-standard IP address {value:?} will be considered invalid in a future Kubernetes release: use \
             \"{inner}\""
        ));
    }
    let canonical = address.to_string();
    (canonical != value).then(|| {
        format!("{path}: IPv6 address {value:?} should be in RFC 5952 canonical format ({canonical:?})")
    })
}

pub(super) fn of_network(path: &Path, value: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Some((address, bits)) = value.split_once('/') else { return found };
    let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u32>()) else { return found };
    let Some(network) = network_of(address, bits) else { return found };
    // IPv4 inside IPv6 is told as what it is.
    let mapped = match network {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().filter(|_| bits >= MAPPED_BITS),
        IpAddr::V4(_) => None,
    };
    let shown = match mapped {
        Some(inner) => format!("{inner}/{}", bits - MAPPED_BITS),
        None => format!("{network}/{bits}"),
    };
    if network != address {
        let whole = if address.is_ipv4() { 32 } else { 128 };
        found.push(format!(
            "{path}: CIDR value {value:?} is ambiguous in this context (should be {shown:?} or \"{address}/{whole}\"?)"
        ));
    }
    if mapped.is_some() {
        found.push(format!(
            "{path}: non-standard CIDR value {value:?} will be considered invalid in a future Kubernetes release: use \
             {shown:?}"
        ));
    }
    if found.is_empty() && address.is_ipv6() && shown != value {
        found.push(format!(
            "{path}: IPv6 CIDR value {value:?} should be in RFC 5952 canonical format ({shown:?})"
        ));
    }
    found
}

/// Bits of an IPv6 address before the IPv4 address inside it.
const MAPPED_BITS: u32 = 96;
