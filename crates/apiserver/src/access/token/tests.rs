//! Tokens: their signature, their times, and what they depend on.

use std::cell::RefCell;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use super::*;

/// The objects of a small cluster: `kind namespace name` → life.
#[derive(Default)]
struct Cluster(RefCell<BTreeMap<String, Life>>);

impl Cluster {
    fn with(self, what: &str, uid: &str) -> Cluster {
        self.0.borrow_mut().insert(what.to_owned(), Life { uid: uid.to_owned(), deleted_at: None });
        self
    }
}

impl Living for Cluster {
    fn find(&self, holder: Holder, namespace: &str, name: &str) -> Option<Life> {
        self.0.borrow().get(&format!("{holder:?} {namespace} {name}")).cloned()
    }
}

fn cluster() -> Cluster {
    Cluster::default()
        .with("ServiceAccount logs shipper", "sa1")
        .with("Pod logs shipper-x", "p1")
        .with("Secret logs old", "s1")
        .with("Node  n1", "n1")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn reference(name: &str, uid: &str) -> Option<Reference> {
    Some(Reference { name: name.to_owned(), uid: uid.to_owned() })
}

fn claims(bound: Bound) -> Claims {
    let account = Reference { name: "shipper".into(), uid: "sa1".into() };
    let bound = Bound { namespace: "logs".into(), account, ..bound };
    Claims::new(ISSUER, "id-1".into(), vec![ISSUER.into(), "vault".into()], bound, at(0), 600)
}

fn used(claims: &Claims, cluster: &Cluster, second: i64) -> Result<User, TokenError> {
    claims.user(ISSUER, &[ISSUER.to_owned()], cluster, at(second)).map(|(user, _)| user)
}

#[test]
fn token_says_what_upstreams_says_and_reads_back() {
    let issuer = Issuer::ephemeral().unwrap();
    let claims =
        claims(Bound { pod: reference("shipper-x", "p1"), node: reference("n1", ""), ..Bound::default() });
    let token = issuer.sign(&claims).unwrap();
    let part = |index: usize| -> Value {
        serde_json::from_slice(&BASE64.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
    };
    assert_eq!(part(0)["alg"], "ES256");
    assert_eq!(part(0)["kid"], issuer.key.published()["keys"][0]["kid"]);
    assert_eq!(
        part(1),
        json!({
            "aud": [ISSUER, "vault"], "exp": 1_000_600, "iat": 1_000_000, "nbf": 1_000_000, "iss": ISSUER, "jti": "id-1",
            "kubernetes.io": {
                "namespace": "logs", "pod": {"name": "shipper-x", "uid": "p1"}, "node": {"name": "n1"},
                "serviceaccount": {"name": "shipper", "uid": "sa1"},
            },
            "sub": "system:serviceaccount:logs:shipper",
        })
    );
    assert_eq!(*issuer.read(&token).unwrap(), claims);
    assert_eq!(*issuer.read(&token).unwrap(), claims, "and again, now remembered");
}

#[test]
fn forged_tokens_are_refused_whatever_they_look_like() {
    let issuer = Issuer::ephemeral().unwrap();
    let other = Issuer::ephemeral().unwrap();
    let token = issuer.sign(&claims(Bound::default())).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let none = BASE64.encode(r#"{"alg":"none"}"#);
    let hmac = BASE64.encode(r#"{"alg":"HS256"}"#);
    for forged in [
        other.sign(&claims(Bound::default())).unwrap(),
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{hmac}.{}.{}", parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], &parts[2][1..]),
        format!("{}.{}x.{}", parts[0], parts[1], parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}.{}", parts[2]),
        "..".to_owned(),
        String::new(),
        "x".repeat(100_000),
        "\u{fffd}.\u{fffd}.\u{fffd}".to_owned(),
    ] {
        assert_eq!(issuer.read(&forged).unwrap_err(), TokenError::NotOurs, "{forged:.60}");
    }
    issuer.read(&token).unwrap();
}

#[test]
fn kept_key_signs_what_it_signed_before() {
    let pem = crate::pki::authority::new_key_pem().unwrap();
    let first = Issuer::new(SigningKey::from_pem(&pem).unwrap(), ISSUER, "");
    let second = Issuer::new(SigningKey::from_pem(&pem).unwrap(), ISSUER, "");
    let token = first.sign(&claims(Bound::default())).unwrap();
    second.read(&token).unwrap();
    assert!(SigningKey::from_pem("no key").is_err());
}

#[test]
fn bearer_is_the_account_with_its_groups_and_where_it_runs() {
    let claims =
        claims(Bound { pod: reference("shipper-x", "p1"), node: reference("n1", "n1"), ..Bound::default() });
    let user = used(&claims, &cluster(), 0).unwrap();
    assert_eq!(user.name, "system:serviceaccount:logs:shipper");
    assert_eq!(user.uid.as_deref(), Some("sa1"));
    assert_eq!(
        user.groups,
        ["system:serviceaccounts", "system:serviceaccounts:logs", "system:authenticated"]
    );
    let extra: Vec<(&str, &str)> =
        user.extra.iter().map(|(key, all)| (key.as_str(), all[0].as_str())).collect();
    assert_eq!(
        extra,
        [
            ("authentication.kubernetes.io/credential-id", "JTI=id-1"),
            ("authentication.kubernetes.io/node-name", "n1"),
            ("authentication.kubernetes.io/node-uid", "n1"),
            ("authentication.kubernetes.io/pod-name", "shipper-x"),
            ("authentication.kubernetes.io/pod-uid", "p1"),
        ]
    );
}

#[test]
fn token_counts_within_its_time_and_for_its_audiences() {
    let claims = claims(Bound::default());
    let cluster = cluster();
    used(&claims, &cluster, 0).unwrap();
    used(&claims, &cluster, 600 + LEEWAY_SECONDS).unwrap();
    assert_eq!(used(&claims, &cluster, 601 + LEEWAY_SECONDS).unwrap_err(), TokenError::Expired);
    used(&claims, &cluster, -LEEWAY_SECONDS).unwrap();
    assert_eq!(used(&claims, &cluster, -LEEWAY_SECONDS - 1).unwrap_err(), TokenError::NotYet);
    let asked = |audience: &str| claims.user(ISSUER, &[audience.to_owned()], &cluster, at(0));
    assert_eq!(asked("vault").unwrap().1, ["vault"]);
    assert!(matches!(asked("bank"), Err(TokenError::Audience { .. })));
    let mut foreign = claims.clone();
    foreign.issuer = "https://elsewhere".into();
    assert_eq!(used(&foreign, &cluster, 0).unwrap_err(), TokenError::NotOurs);
    let mut other = claims.clone();
    other.subject = "system:serviceaccount:kube-system:admin".into();
    assert_eq!(used(&other, &cluster, 0).unwrap_err(), TokenError::NotOurs);
}

#[test]
fn token_ends_with_its_account_and_with_what_it_is_bound_to() {
    let of_pod =
        claims(Bound { pod: reference("shipper-x", "p1"), node: reference("n1", "n1"), ..Bound::default() });
    let of_secret = claims(Bound { secret: reference("old", "s1"), ..Bound::default() });
    let of_node = claims(Bound { node: reference("n1", "n1"), ..Bound::default() });
    for claims in [&of_pod, &of_secret, &of_node] {
        used(claims, &cluster(), 0).unwrap();
        let cluster = cluster();
        cluster.0.borrow_mut().remove("ServiceAccount logs shipper");
        assert!(matches!(used(claims, &cluster, 0), Err(TokenError::AccountMissing { .. })));
        let cluster = cluster.with("ServiceAccount logs shipper", "made-anew");
        assert!(matches!(used(claims, &cluster, 0), Err(TokenError::Uid { .. })));
    }
    for (claims, holder) in
        [(&of_pod, "Pod logs shipper-x"), (&of_secret, "Secret logs old"), (&of_node, "Node  n1")]
    {
        let cluster = cluster();
        let life = cluster.0.borrow()[holder].clone();
        // On its way out an object still counts for a moment, a Pod with grace until its end.
        let leaving = Life { deleted_at: Some(at(30)), ..life };
        cluster.0.borrow_mut().insert(holder.to_owned(), leaving);
        used(claims, &cluster, 30 + LEEWAY_SECONDS).unwrap();
        assert_eq!(used(claims, &cluster, 31 + LEEWAY_SECONDS).unwrap_err(), TokenError::Invalidated);
        cluster.0.borrow_mut().remove(holder);
        assert_eq!(used(claims, &cluster, 0).unwrap_err(), TokenError::Invalidated);
        let cluster = cluster.with(holder, "another");
        assert!(matches!(used(claims, &cluster, 0), Err(TokenError::Uid { .. })), "{holder}");
    }
    let cluster = cluster();
    cluster.0.borrow_mut().remove("Node  n1");
    used(&of_pod, &cluster, 0).expect("a Pod's token does not ask for the node");
}
