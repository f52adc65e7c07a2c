//! Labels and taints as the kubelet's flags write them.
//!
//! Upstream: `--node-labels`, `--register-with-taints`; labels of kubernetes.io and k8s.io are Kubernetes' own, and a node
//! may give itself only some of them.

use k8s_openapi::api::core::v1::Taint;

/// `key=value,key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels(pub Vec<(String, String)>);

/// `key=value:Effect,key:Effect`.
#[derive(Debug, Clone, PartialEq)]
pub struct Taints(pub Vec<Taint>);

/// Labels of Kubernetes' own domains that a kubelet may set.
const OWN_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];
/// Whole domains, with all below them.
const OWN_DOMAINS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

pub fn labels(text: &str) -> Result<Labels, String> {
    let mut labels = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not KEY=VALUE"))?;
        check(api::names::qualified_name(key), key)?;
        check(api::names::label_value(value), value)?;
        if !may_set(key) {
            return Err(format!(
                "unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [{key}]; --node-labels in \
                 the 'kubernetes.io' namespace must begin with an allowed prefix ({}) or be in the specifically \
                 allowed set ({})",
                OWN_DOMAINS.join(", "),
                OWN_LABELS.join(", ")
            ));
        }
        labels.push((key.to_owned(), value.to_owned()));
    }
    Ok(Labels(labels))
}

fn may_set(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return true };
    let below = |parent: &&str| domain == *parent || domain.ends_with(&format!(".{parent}"));
    let is_kubernetes = ["kubernetes.io", "k8s.io"].iter().any(&below);
    !is_kubernetes || OWN_LABELS.contains(&key) || OWN_DOMAINS.iter().any(below)
}

pub fn taints(text: &str) -> Result<Taints, String> {
    let mut taints: Vec<Taint> = Vec::new();
    for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let invalid = || format!("invalid taint spec: {one}; it looks like KEY=VALUE:EFFECT");
        let (pair, effect) = one.rsplit_once(':').ok_or_else(invalid)?;
        let (key, value) = match pair.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (pair, None),
        };
        check(api::names::qualified_name(key), key)?;
        check(value.map(api::names::label_value).unwrap_or_default(), value.unwrap_or_default())?;
        if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            return Err(format!("invalid taint spec: {one}, unsupported taint effect"));
        }
        if taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            return Err(format!("duplicated taints with the same key and effect: {one}"));
        }
        taints.push(Taint {
            key: key.to_owned(),
            value: value.map(str::to_owned),
            effect: effect.to_owned(),
            ..Taint::default()
        });
    }
    Ok(Taints(taints))
}

fn check(faults: Vec<String>, what: &str) -> Result<(), String> {
    match faults.into_iter().next() {
        None => Ok(()),
        Some(fault) => Err(format!("{what:?}: {fault}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs_and_kubernetes_own_are_kept_for_it() {
        let pairs =
            labels("a=1, disk.example/type=ssd,node.kubernetes.io/x=y,topology.kubernetes.io/zone=z,e=")
                .unwrap();
        assert_eq!(pairs.0.len(), 5);
        assert_eq!(pairs.0[1], ("disk.example/type".to_owned(), "ssd".to_owned()));
        assert!(labels("a").unwrap_err().contains("KEY=VALUE"));
        assert!(labels("a b=c").is_err() && labels("a=b c").is_err());
        for own in ["node-role.kubernetes.io/master=", "x.k8s.io/a=b", "kubernetes.io/role=x"] {
            assert!(
                labels(own).unwrap_err().starts_with("unknown 'kubernetes.io' or 'k8s.io' labels"),
                "{own}"
            );
        }
    }

    #[test]
    fn taints_have_a_key_and_an_effect() {
        let made = taints("dedicated=gpu:NoSchedule,maintenance:NoExecute").unwrap().0;
        assert_eq!((made[0].key.as_str(), made[0].value.as_deref()), ("dedicated", Some("gpu")));
        assert_eq!((made[1].value.clone(), made[1].effect.as_str()), (None, "NoExecute"));
        assert!(taints("a=b").unwrap_err().starts_with("invalid taint spec"));
        assert!(taints("a=b:Never").unwrap_err().contains("unsupported taint effect"));
        assert!(taints("a=b:NoExecute,a=c:NoExecute").unwrap_err().starts_with("duplicated taints"));
    }
}
