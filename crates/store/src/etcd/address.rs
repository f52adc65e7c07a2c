//! Which etcd: `etcd://host:port,host:port/prefix`, and with TLS `etcds://…`.

use std::str::FromStr;

/// Where the keys begin when the address does not say.
pub const PREFIX: &str = "/everynode";

const PORT: u16 = 2379;

/// An etcd cluster's members and the prefix of our keys in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub tls: bool,
    /// Never empty.
    pub members: Vec<Member>,
    pub prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("{0} is no etcd address; it looks like etcd://host:2379 or etcds://a:2379,b:2379/prefix")]
    Scheme(String),
    #[error("{0} names no member of the etcd cluster")]
    NoMember(String),
    #[error("{0} is no host:port of an etcd member")]
    Member(String),
    #[error("the prefix {0} of the keys ends with a slash or has an empty part")]
    Prefix(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let (tls, rest) = match (text.strip_prefix("etcd://"), text.strip_prefix("etcds://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            (None, None) => return Err(AddressError::Scheme(text.to_owned())),
        };
        let (members, prefix) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, PREFIX),
        };
        if members.is_empty() {
            return Err(AddressError::NoMember(text.to_owned()));
        }
        if prefix[1..].split('/').any(str::is_empty) {
            return Err(AddressError::Prefix(prefix.to_owned()));
        }
        let members = members.split(',').map(member).collect::<Result<_, _>>()?;
        Ok(Address { tls, members, prefix: prefix.to_owned() })
    }
}

fn member(text: &str) -> Result<Member, AddressError> {
    let wrong = || AddressError::Member(text.to_owned());
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(legal) {
        return Err(wrong());
    }
    let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| wrong()))?;
    Ok(Member { host: host.to_owned(), port })
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// As it was given, but for what was left out.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let members: Vec<String> = self.members.iter().map(Member::to_string).collect();
        write!(f, "{}://{}{}", if self.tls { "etcds" } else { "etcd" }, members.join(","), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_names_members_and_prefix() {
        for (text, shown) in [
            ("etcd://a", "etcd://a:2379/everynode"),
            ("etcd://127.0.0.1:1,b.c:2", "etcd://127.0.0.1:1,b.c:2/everynode"),
            ("etcds://[::1]:2379,[fe80::1]/x/y", "etcds://[::1]:2379,[fe80::1]:2379/x/y"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn wrong_address_is_told_with_what_is_wrong() {
        let wrong = |text: &str| text.parse::<Address>().unwrap_err();
        assert_eq!(wrong("http://a"), AddressError::Scheme("http://a".into()));
        assert_eq!(wrong("etcd:///x"), AddressError::NoMember("etcd:///x".into()));
        for text in ["etcd://a,", "etcd://a:b", "etcd://:1", "etcd://[::1", "etcd://[::1]2", "etcd://a b"] {
            assert!(matches!(wrong(text), AddressError::Member(_)), "{text}");
        }
        for text in ["etcd://a/", "etcd://a/x/", "etcd://a//x"] {
            assert!(matches!(wrong(text), AddressError::Prefix(_)), "{text}");
        }
    }
}
