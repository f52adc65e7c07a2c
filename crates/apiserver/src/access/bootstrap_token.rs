//! Bootstrap tokens: how a machine without a certificate asks for its first one.
//!
//! Decides whether a Secret of `kube-system` answers for a token `ID.SECRET`, and who its bearer is. Matches upstream's
//! plugin/pkg/auth/authenticator/token/bootstrap and cluster-bootstrap/token/util: the Secret's name, type, usages,
//! expiration and extra groups. Which Secrets there are is the caller's to know; time is an argument.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use super::User;

pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
pub const SECRET_PREFIX: &str = "bootstrap-token-";
const USER_PREFIX: &str = "system:bootstrap:";
const GROUP: &str = "system:bootstrappers";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 16;
/// Of an extra group after `system:bootstrappers:`, as upstream's pattern bounds it.
const GROUP_BYTES_MAX: usize = 256;

/// A token of the right form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BootstrapToken<'t> {
    pub id: &'t str,
    secret: &'t str,
}

impl<'t> BootstrapToken<'t> {
    /// `abcdef.0123456789abcdef`; everything else is another kind of token.
    pub fn parse(token: &'t str) -> Option<BootstrapToken<'t>> {
        let (id, secret) = token.split_once('.')?;
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let formed = id.len() == ID_BYTES && secret.len() == SECRET_BYTES && plain(id) && plain(secret);
        formed.then_some(BootstrapToken { id, secret })
    }

    pub fn secret_name(&self) -> String {
        format!("{SECRET_PREFIX}{}", self.id)
    }

    /// The bearer, if this Secret answers for the token now.
    pub fn user(&self, secret: &Secret, now: Timestamp) -> Option<User> {
        let data = secret.data.as_ref()?;
        let value = |key: &str| {
            data.get(key).and_then(|value| std::str::from_utf8(&value.0).ok()).unwrap_or_default()
        };
        let known = secret.type_.as_deref() == Some(SECRET_TYPE)
            && secret.metadata.deletion_timestamp.is_none()
            && value("token-id") == self.id
            && same(value("token-secret").as_bytes(), self.secret.as_bytes())
            && value("usage-bootstrap-authentication") == "true"
            && !has_expired(value("expiration"), now);
        let groups = extra_groups(value("auth-extra-groups")).filter(|_| known)?;
        Some(User::authenticated(format!("{USER_PREFIX}{}", self.id), groups))
    }
}

/// Whether the time has come; one that cannot be read has.
pub fn has_expired(expiration: &str, now: Timestamp) -> bool {
    !expiration.is_empty() && !expiration.parse::<Timestamp>().is_ok_and(|end| now < end)
}

/// In a time that does not tell how much of it is right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// `system:bootstrappers` and the Secret's own; nothing if one of these is not under it.
fn extra_groups(listed: &str) -> Option<Vec<String>> {
    let mut groups = vec![GROUP.to_owned()];
    for group in listed.split(',').filter(|group| !group.is_empty()) {
        let rest = group.strip_prefix(GROUP)?.strip_prefix(':')?;
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let formed = rest.len() <= GROUP_BYTES_MAX
            && rest.bytes().all(|byte| word(byte) || byte == b':' || byte == b'-')
            && rest.bytes().last().is_some_and(word);
        if !formed {
            return None;
        }
        if !groups.iter().any(|known| known == group) {
            groups.push(group.to_owned());
        }
    }
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use serde_json::json;

    fn secret(change: &[(&str, &str)]) -> Secret {
        let mut secret: Secret = serde_json::from_value(
            json!({"type": SECRET_TYPE, "metadata": {"name": "bootstrap-token-abcdef"}}),
        )
        .unwrap();
        let data = secret.data.get_or_insert_default();
        let right = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("expiration", "2030-01-01T00:00:00Z"),
        ];
        for (key, value) in right.iter().chain(change) {
            data.insert((*key).to_owned(), ByteString(value.as_bytes().to_vec()));
        }
        secret
    }

    fn user(token: &str, secret: &Secret) -> Option<User> {
        BootstrapToken::parse(token)?.user(secret, "2029-12-31T23:59:59Z".parse().unwrap())
    }

    #[test]
    fn bearer_is_named_after_the_token_and_grouped_as_the_secret_says() {
        let groups = secret(&[("auth-extra-groups", "system:bootstrappers:kubeadm:default-node-token")]);
        let found = user("abcdef.0123456789abcdef", &groups).unwrap();
        assert_eq!(found.name, "system:bootstrap:abcdef");
        assert_eq!(
            found.groups,
            [
                "system:bootstrappers",
                "system:bootstrappers:kubeadm:default-node-token",
                "system:authenticated"
            ]
        );
    }

    #[test]
    fn anything_that_is_not_right_lets_nobody_in() {
        let right = secret(&[]);
        assert!(user("abcdef.0123456789abcdef", &right).is_some());
        for token in [
            "abcdef.0123456789abcdee",
            "abcdeg.0123456789abcdef",
            "abcdef",
            "ABCDEF.0123456789abcdef",
            "a.b",
            "",
        ] {
            assert!(user(token, &right).is_none(), "{token}");
        }
        for change in [
            ("token-id", "abcdeg"),
            ("usage-bootstrap-authentication", "false"),
            ("expiration", "2029-12-31T23:59:59Z"),
            ("expiration", "soon"),
            ("auth-extra-groups", "system:masters"),
            ("auth-extra-groups", "system:bootstrappers:Bad"),
            ("auth-extra-groups", "system:bootstrappers:bad-"),
        ] {
            assert!(user("abcdef.0123456789abcdef", &secret(&[change])).is_none(), "{change:?}");
        }
        let mut other = secret(&[]);
        other.type_ = Some("Opaque".into());
        assert!(user("abcdef.0123456789abcdef", &other).is_none());
        assert!(user("abcdef.0123456789abcdef", &secret(&[("expiration", "")])).is_some(), "without an end");
    }
}
