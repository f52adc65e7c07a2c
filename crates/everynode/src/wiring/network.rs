//! Which addresses this node's Pods have: the first 10.88.N.0/24 that no link of this machine uses, chosen
//! once for a data folder.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::hold::write_whole;

/// Pod networks that one machine can hold: the third byte of the address.
const NETWORKS: std::ops::Range<u32> = 0..256;

/// The Pod network of the data folder: the one that it has, or a free one.
pub fn pod_cidr(agent_folder: &Path) -> Result<String> {
    let kept = agent_folder.join("pod-cidr");
    if let Ok(text) = std::fs::read_to_string(&kept) {
        return Ok(text.trim().to_owned());
    }
    std::fs::create_dir_all(agent_folder)?;
    let claims = Path::new("/run/everynode/pod-cidrs");
    std::fs::create_dir_all(claims).with_context(|| format!("make {}", claims.display()))?;
    let routes = std::fs::read_to_string("/proc/net/route").context("read the routes")?;
    let taken = taken(&routes);
    for third in NETWORKS.filter(|third| !taken.contains(third)) {
        // The claim is the folder's own until `down` gives it back; two starts at once get two networks.
        let claim = claims.join(third.to_string());
        let claimed = std::fs::OpenOptions::new().write(true).create_new(true).open(&claim);
        let stale = std::fs::read_to_string(&claim)
            .is_ok_and(|owner| !owner.is_empty() && !Path::new(&owner).exists());
        if claimed.is_err() && !stale {
            continue;
        }
        std::fs::write(&claim, agent_folder.as_os_str().as_encoded_bytes())?;
        let cidr = format!("10.88.{third}.0/24");
        write_whole(&kept, cidr.as_bytes(), 0o644)?;
        return Ok(cidr);
    }
    bail!("every Pod network 10.88.N.0/24 is in use on this machine")
}

/// Gives the folder's network back.
pub fn release(agent_folder: &Path) {
    let Ok(text) = std::fs::read_to_string(agent_folder.join("pod-cidr")) else { return };
    if let Some(third) = text.trim().strip_prefix("10.88.").and_then(|rest| rest.strip_suffix(".0/24")) {
        // Absent is as good as released.
        let _ = std::fs::remove_file(Path::new("/run/everynode/pod-cidrs").join(third));
    }
}

/// The N of every 10.88.N.… that a route of `/proc/net/route` covers.
fn taken(routes: &str) -> BTreeSet<u32> {
    let mut taken = BTreeSet::new();
    for line in routes.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(destination), Some(mask)) = (fields.get(1), fields.get(7)) else { continue };
        // The kernel prints the bytes in its own order: the first byte of the address comes last.
        let (Ok(destination), Ok(mask)) =
            (u32::from_str_radix(destination, 16), u32::from_str_radix(mask, 16))
        else {
            continue;
        };
        let (destination, mask) = (destination.swap_bytes(), mask.swap_bytes());
        if mask == 0 {
            continue;
        }
        for third in NETWORKS {
            let network = (10 << 24) | (88 << 16) | (third << 8);
            let shared = mask & 0xffff_ff00;
            if network & shared == destination & shared {
                taken.insert(third);
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_that_a_route_covers_are_taken() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                      eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\n\
                      en12\t0003580A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
        assert_eq!(taken(routes), BTreeSet::from([3]));
        let wide = "header\nx\t0000000A\t0\t1\t0\t0\t0\t000000FF\n";
        assert_eq!(taken(wide).len(), 256);
    }
}
