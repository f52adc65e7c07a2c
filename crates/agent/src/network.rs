//! The Pod network of our own containerd: one bridge on this machine, addresses from one subnet.
//!
//! Writes the CNI configuration; the plugins themselves are the machine's. An operator's own `/etc/cni/net.d`
//! belongs to an external runtime and is never touched. Nodes that route to each other are a later matter.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};

/// Where distributions and upstream put CNI plugins.
const PLUGIN_FOLDERS: &[&str] = &["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni", "/usr/local/lib/cni"];

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("no CNI plugins (bridge, host-local, portmap) in {}", PLUGIN_FOLDERS.join(", "))]
    NoPlugins,
    #[error("{text:?} is not an IPv4 subnet of /8 to /29")]
    Subnet { text: String },
    #[error("write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// One node's Pod network.
#[derive(Debug, Clone)]
pub struct PodNetwork {
    pub bridge: String,
    pub subnet: Subnet,
    pub plugin_folder: PathBuf,
    pub config_folder: PathBuf,
    pub data_folder: PathBuf,
}

/// An IPv4 subnet in canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    pub fn parse(text: &str) -> Result<Subnet, NetworkError> {
        let refuse = || NetworkError::Subnet { text: text.to_owned() };
        let (address, prefix) = text.split_once('/').ok_or_else(refuse)?;
        let address: Ipv4Addr = address.parse().map_err(|_| refuse())?;
        let prefix: u8 = prefix.parse().map_err(|_| refuse())?;
        if !(8..=29).contains(&prefix) {
            return Err(refuse());
        }
        let mask = u32::MAX << (32 - prefix);
        Ok(Subnet { network: Ipv4Addr::from(u32::from(address) & mask), prefix })
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// A short name that differs between nodes on one machine, made from the node's folder.
pub fn short_name(root_dir: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let hash = Sha256::digest(root_dir.as_os_str().as_bytes());
    crate::pause::hex(&hash[..5])
}

/// `en` and ten hexadecimal digits: the kernel takes 15 bytes.
pub fn bridge_name(root_dir: &Path) -> String {
    format!("en{}", short_name(root_dir))
}

impl PodNetwork {
    pub fn of(root_dir: &Path, pod_cidr: &str) -> Result<PodNetwork, NetworkError> {
        let plugin_folder = PLUGIN_FOLDERS
            .iter()
            .map(PathBuf::from)
            .find(|folder| ["bridge", "host-local", "portmap"].iter().all(|name| folder.join(name).exists()))
            .ok_or(NetworkError::NoPlugins)?;
        Ok(PodNetwork {
            bridge: bridge_name(root_dir),
            subnet: Subnet::parse(pod_cidr)?,
            plugin_folder,
            config_folder: root_dir.join("cni/net.d"),
            data_folder: root_dir.join("cni/data"),
        })
    }

    /// Writes the configuration unless it stands there already.
    pub fn write(&self) -> Result<(), NetworkError> {
        let path = self.config_folder.join("10-everynode.conflist");
        let text = self.conflist();
        if std::fs::read_to_string(&path).is_ok_and(|found| found == text) {
            return Ok(());
        }
        std::fs::create_dir_all(&self.config_folder)
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|source| NetworkError::Write { path, source })
    }

    fn conflist(&self) -> String {
        let list = json!({
            "cniVersion": "0.4.0",
            // Also the name of the iptables chains' comments and of the folder of addresses.
            "name": self.bridge,
            "plugins": [
                {
                    "type": "bridge", "bridge": self.bridge,
                    "isGateway": true, "ipMasq": true, "hairpinMode": true,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": self.data_folder,
                        "ranges": [[{"subnet": self.subnet.to_string()}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
            ],
        });
        format!("{list:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridge_name_fits_the_kernel_and_differs_by_folder() {
        let (one, two) = (bridge_name(Path::new("/var/lib/a")), bridge_name(Path::new("/var/lib/b")));
        assert!(one.len() <= 15 && one.starts_with("en"));
        assert_ne!(one, two);
    }

    #[test]
    fn subnet_is_cut_to_its_prefix_and_nonsense_is_refused() {
        assert_eq!(Subnet::parse("10.88.3.7/24").unwrap().to_string(), "10.88.3.0/24");
        for wrong in ["10.88.3.0", "10.88.3.0/33", "10.88.3.0/30", "fd00::/64", "x/24", ""] {
            assert!(Subnet::parse(wrong).is_err(), "{wrong}");
        }
    }
}
