//! IP addresses that stand for something reachable.

use std::net::IpAddr;

use super::Complaints;
use crate::field::{FieldError, FieldErrors, Path};
use crate::names;

/// An address that is well formed and not a special one.
pub(super) fn plain(ip: &str, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let complaints = names::ip(ip);
    if complaints.is_empty() {
        errors.extend(non_special(ip, path));
    } else {
        errors.syntax(path, ip, complaints);
    }
    errors
}

/// Addresses that mean this machine, this link or nobody are no endpoints.
pub(super) fn non_special(ip: &str, path: &Path) -> FieldErrors {
    let Ok(address) = ip.parse::<IpAddr>() else {
        return vec![FieldError::invalid(path, ip, "must be a valid IP address")];
    };
    let (link_local, link_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    let mut errors = FieldErrors::new();
    if address.is_unspecified() {
        errors.push(FieldError::invalid(path, ip, format!("may not be unspecified ({ip})")));
    }
    if address.is_loopback() {
        let detail = "may not be in the loopback range (127.0.0.0/8, ::1/128)";
        errors.push(FieldError::invalid(path, ip, detail));
    }
    if link_local {
        let detail = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
        errors.push(FieldError::invalid(path, ip, detail));
    }
    if link_multicast {
        let detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
        errors.push(FieldError::invalid(path, ip, detail));
    }
    errors
}
