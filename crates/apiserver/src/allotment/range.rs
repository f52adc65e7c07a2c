//! The addresses from which Services get theirs: `10.96.0.0/12`.
//!
//! The first address after the network's own is the API server's (`default/kubernetes`); the network's own and, of IPv4,
//! the last (broadcast) are nobody's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use api::network::network_of;

/// Addresses of a range that are given out at most, as upstream: a wider IPv6 range is used at its beginning.
const ADDRESSES_MAX: u64 = 1 << 20;
/// The band at the beginning that free choices avoid, so that people find theirs free: upstream's `min(max(16, n/16), 256)`.
const STATIC_MIN: u64 = 16;
const STATIC_MAX: u64 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceRange {
    network: IpAddr,
    bits: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRange {
    #[error("{0:?} is no range of addresses such as 10.96.0.0/12")]
    Syntax(String),
    #[error("{0} has room for less than eight Services")]
    Small(String),
}

impl ServiceRange {
    /// Upstream's and kubeadm's.
    pub fn usual() -> ServiceRange {
        ServiceRange { network: IpAddr::V4(Ipv4Addr::new(10, 96, 0, 0)), bits: 12 }
    }

    pub fn family(self) -> &'static str {
        if self.network.is_ipv4() { "IPv4" } else { "IPv6" }
    }

    fn width(self) -> u8 {
        if self.network.is_ipv4() { 32 } else { 128 }
    }

    /// How many addresses may be given out.
    fn size(self) -> u64 {
        let host_bits = u32::from(self.width() - self.bits);
        let all = 1u64.checked_shl(host_bits).filter(|_| host_bits < 64).unwrap_or(u64::MAX);
        // Of IPv4 the last is the broadcast address, of both the first is the network's.
        let reserved = if self.network.is_ipv4() { 2 } else { 1 };
        all.saturating_sub(reserved).min(ADDRESSES_MAX)
    }

    /// The n-th address that may be given out, from 0.
    fn at(self, n: u64) -> IpAddr {
        match self.network {
            IpAddr::V4(base) => {
                let n = u32::try_from(n + 1).unwrap_or(u32::MAX);
                IpAddr::V4(Ipv4Addr::from(u32::from(base).wrapping_add(n)))
            }
            IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from(u128::from(base).wrapping_add(u128::from(n) + 1))),
        }
    }

    /// The API server's own.
    pub fn first(self) -> IpAddr {
        self.at(0)
    }

    pub fn contains(self, ip: IpAddr) -> bool {
        let offset = match (self.network, ip) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                u128::from(u32::from(ip)).checked_sub(u32::from(base).into())
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => u128::from(ip).checked_sub(base.into()),
            _ => None,
        };
        offset.is_some_and(|offset| (1..=u128::from(self.size())).contains(&offset))
    }

    /// A free address: from the upper part of the range while it has one, beginning at a place that `seed` says.
    pub fn pick(self, seed: u64, is_free: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let size = self.size();
        let band = if size < STATIC_MIN { 0 } else { (size / 16).clamp(STATIC_MIN, STATIC_MAX) };
        let dynamic = size.saturating_sub(band);
        let upper = (0..dynamic).map(|i| band + (seed % dynamic.max(1) + i) % dynamic);
        // Number 0 is the API server's.
        let mut order = upper.chain(1..band).filter(|n| *n > 0).map(|n| self.at(n));
        order.find(|ip| is_free(*ip))
    }
}

impl FromStr for ServiceRange {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<ServiceRange, BadRange> {
        let wrong = || BadRange::Syntax(text.to_owned());
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits: u8 = bits.parse().map_err(|_| wrong())?;
        let network = network_of(address, u32::from(bits)).ok_or_else(wrong)?;
        let range = ServiceRange { network, bits };
        const SIZE_MIN: u64 = 6;
        if range.size() < SIZE_MIN { Err(BadRange::Small(text.to_owned())) } else { Ok(range) }
    }
}

impl fmt::Display for ServiceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}
