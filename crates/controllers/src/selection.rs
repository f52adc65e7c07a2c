//! Which controllers run, as upstream's `--controllers` says it: names, `*` for all, `-name` for all but that one.
//!
//! The names are upstream's (`kube-controller-manager`), its older short ones included, so that a fleet's flags carry over.
//! An empty list runs none: another control plane's controllers take their place.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::Controller;

impl Controller {
    /// Upstream's name.
    pub const fn name(self) -> &'static str {
        match self {
            Controller::DaemonSet => "daemonset-controller",
            Controller::GarbageCollector => "garbage-collector-controller",
            Controller::NodeLifecycle => "node-lifecycle-controller",
            Controller::PodGc => "pod-garbage-collector-controller",
            Controller::Namespace => "namespace-controller",
            Controller::ServiceAccount => "serviceaccount-controller",
            Controller::RootCa => "root-ca-certificate-publisher-controller",
            Controller::RoleAggregation => "clusterrole-aggregation-controller",
            Controller::CertificateApproving => "certificatesigningrequest-approving-controller",
            Controller::CertificateSigning => "certificatesigningrequest-signing-controller",
            Controller::CertificateCleaner => "certificatesigningrequest-cleaner-controller",
            Controller::TokenCleaner => "token-cleaner-controller",
            Controller::AccountTokens => "serviceaccount-token-controller",
            Controller::Disruption => "disruption-controller",
            Controller::Endpoints => "endpoints-controller",
            Controller::EndpointSlice => "endpointslice-controller",
            Controller::EndpointSliceMirroring => "endpointslice-mirroring-controller",
        }
    }

    /// By upstream's name, or the one that it had before 1.28 (`daemonset`, `podgc` …).
    fn by_name(name: &str) -> Option<Controller> {
        let old = match name {
            "garbagecollector" => Some(Controller::GarbageCollector),
            "nodelifecycle" => Some(Controller::NodeLifecycle),
            "podgc" => Some(Controller::PodGc),
            "endpoint" => Some(Controller::Endpoints),
            "endpointslicemirroring" => Some(Controller::EndpointSliceMirroring),
            "root-ca-cert-publisher" => Some(Controller::RootCa),
            "csrapproving" => Some(Controller::CertificateApproving),
            "csrsigning" => Some(Controller::CertificateSigning),
            "csrcleaner" => Some(Controller::CertificateCleaner),
            "serviceaccount-token" => Some(Controller::AccountTokens),
            "tokencleaner" => Some(Controller::TokenCleaner),
            _ => None,
        };
        let is = |controller: &Controller| {
            controller.name() == name || controller.name().strip_suffix("-controller") == Some(name)
        };
        old.or_else(|| Controller::ALL.into_iter().find(is))
    }
}

/// The chosen controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(pub BTreeSet<Controller>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a controller; there are: *, {}", names().join(", "))]
pub struct UnknownController {
    pub name: String,
}

fn names() -> Vec<&'static str> {
    Controller::ALL.iter().map(|controller| controller.name()).collect()
}

impl FromStr for Selection {
    type Err = UnknownController;

    /// As upstream: what is named runs, what is named with `-` does not, and `*` runs the others.
    fn from_str(list: &str) -> Result<Selection, UnknownController> {
        let (mut all, mut named, mut refused) = (false, BTreeSet::new(), BTreeSet::new());
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if item == "*" {
                all = true;
                continue;
            }
            let (set, name) = match item.strip_prefix('-') {
                Some(name) => (&mut refused, name),
                None => (&mut named, item),
            };
            let unknown = || UnknownController { name: name.to_owned() };
            set.insert(Controller::by_name(name).ok_or_else(unknown)?);
        }
        if all {
            named.extend(Controller::ALL.into_iter().filter(|controller| !refused.contains(controller)));
        }
        Ok(Selection(named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(list: &str) -> Vec<Controller> {
        list.parse::<Selection>().unwrap().0.into_iter().collect()
    }

    #[test]
    fn stars_names_and_exceptions_choose_as_upstreams_flag_does() {
        assert_eq!(chosen("*"), Controller::ALL);
        assert_eq!(chosen(""), []);
        assert_eq!(chosen("daemonset-controller, podgc"), [Controller::DaemonSet, Controller::PodGc]);
        let others: Vec<_> = Controller::ALL.into_iter().filter(|c| *c != Controller::DaemonSet).collect();
        assert_eq!(chosen("*,-daemonset-controller"), others);
        assert_eq!(chosen("*,-daemonset"), others, "the old name");
    }

    #[test]
    fn unknown_names_are_told_with_those_that_there_are() {
        let error = "*,-deployment-controller".parse::<Selection>().unwrap_err().to_string();
        assert!(
            error.starts_with(
                "\"deployment-controller\" is not a controller; there are: *, daemonset-controller, "
            ),
            "{error}"
        );
    }

    #[test]
    fn every_name_finds_its_controller() {
        for controller in Controller::ALL {
            assert_eq!(Controller::by_name(controller.name()), Some(controller));
        }
    }
}
