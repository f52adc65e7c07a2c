//! Networks of addresses: `10.96.0.0/12`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network that an address lies in, by how many of its bits are the network's; nothing if it has fewer.
pub fn network_of(address: IpAddr, bits: u32) -> Option<IpAddr> {
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(u32::BITS.checked_sub(bits)?).unwrap_or(0);
            Some(IpAddr::V4(Ipv4Addr::from(u32::from(ip) & mask)))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(u128::BITS.checked_sub(bits)?).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from(u128::from(ip) & mask)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_keeps_its_bits_of_an_address() {
        for (address, bits, network) in [
            ("10.97.1.2", 12, Some("10.96.0.0")),
            ("10.97.1.2", 0, Some("0.0.0.0")),
            ("10.97.1.2", 32, Some("10.97.1.2")),
            ("10.97.1.2", 33, None),
            ("fd00:1::2", 16, Some("fd00::")),
            ("fd00:1::2", 0, Some("::")),
            ("fd00:1::2", 129, None),
        ] {
            let expected = network.map(|text| text.parse().unwrap());
            assert_eq!(network_of(address.parse().unwrap(), bits), expected, "{address}/{bits}");
        }
    }
}
