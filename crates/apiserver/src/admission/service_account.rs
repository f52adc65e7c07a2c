//! ServiceAccount: every pod runs as one. Tokens are not mounted.

use api::well_known::pod_annotation::CONFIG_MIRROR;
use k8s_openapi::api::core::v1::Pod;

use super::{Admission, pods};
use crate::error::ApiError;

/// The account of a pod that names none.
const DEFAULT: &str = "default";

pub fn admit(pod: &mut Pod, admission: &Admission<'_>) -> Result<(), ApiError> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let mirror = pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(CONFIG_MIRROR));
    let Some(spec) = &mut pod.spec else { return Ok(()) };
    let account = spec.service_account_name.clone().or_else(|| spec.service_account.clone());
    let account = account.filter(|account| !account.is_empty());
    if mirror {
        return match account {
            None => Ok(()),
            Some(_) => {
                Err(ApiError::forbidden(pods(), &name, "a mirror pod may not reference service accounts"))
            }
        };
    }
    let account = account.unwrap_or_else(|| DEFAULT.to_owned());
    let known = admission.windows.window("serviceaccounts");
    let known = known.is_some_and(|window| window.get(&format!("{namespace}/{account}")).is_some());
    // DIFFERS(ServiceAccount): the default account of a new namespace is made by a controller; a pod need not wait for it,
    // because nothing is mounted from it.
    if !known && account != DEFAULT {
        let why = format!(
            "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
        );
        return Err(ApiError::forbidden(pods(), &name, why));
    }
    spec.service_account = Some(account.clone());
    spec.service_account_name = Some(account);
    Ok(())
}
