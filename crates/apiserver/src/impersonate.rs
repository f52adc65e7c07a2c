//! `kubectl --as`: a caller who may act as somebody else becomes that somebody for one request.
//!
//! Each part of the wanted identity is asked of the authorizer with the verb `impersonate`; one that is refused
//! refuses the request. Upstream: apiserver/pkg/endpoints/filters/impersonation.

use http::HeaderMap;

use crate::access::user::{ANONYMOUS, SERVICE_ACCOUNT_USER_PREFIX, UNAUTHENTICATED};
use crate::access::{Attributes, User};
use crate::error::ApiError;

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION_GROUP: &str = "authentication.k8s.io";

/// Who the request is to be: the caller, or whom the headers name if `authorize` allows each part.
pub fn become_wanted(
    caller: User,
    headers: &HeaderMap,
    authorize: impl Fn(&Attributes) -> Result<(), ApiError>,
) -> Result<User, ApiError> {
    let values = |name: &str| -> Vec<String> {
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    };
    let extra: Vec<(String, String)> = headers
        .iter()
        .filter_map(|(name, value)| {
            let key = name.as_str().strip_prefix(EXTRA)?;
            Some((key.to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect();
    let (name, uid, groups) = (values(USER).pop(), values(UID).pop(), values(GROUP));
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        if uid.is_none() && groups.is_empty() && extra.is_empty() {
            return Ok(caller);
        }
        let text = "requested impersonation of groups, a uid or extra data without impersonating a user";
        return Err(ApiError::bad_request(text.to_owned()));
    };
    let ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        authorize(&Attributes {
            user: caller.clone(),
            verb: "impersonate".to_owned(),
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        })
    };
    match name.strip_prefix(SERVICE_ACCOUNT_USER_PREFIX).and_then(|rest| rest.split_once(':')) {
        Some((namespace, account)) => ask("", "serviceaccounts", "", namespace, account)?,
        None => ask("", "users", "", "", &name)?,
    }
    for group in &groups {
        ask("", "groups", "", "", group)?;
    }
    if let Some(uid) = &uid {
        ask(AUTHENTICATION_GROUP, "uids", "", "", uid)?;
    }
    for (key, value) in &extra {
        ask(AUTHENTICATION_GROUP, "userextras", key, "", value)?;
    }
    let groups = match name.strip_prefix(SERVICE_ACCOUNT_USER_PREFIX).and_then(|rest| rest.split_once(':')) {
        // A service account that comes with a token has these groups.
        Some((namespace, _)) if groups.is_empty() => {
            vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
        }
        _ => groups,
    };
    let mut wanted = if name == ANONYMOUS {
        User { name, groups: vec![UNAUTHENTICATED.to_owned()], ..User::default() }
    } else {
        User::authenticated(name, groups)
    };
    wanted.uid = uid;
    for (key, value) in extra {
        wanted.extra.entry(key).or_default().push(value);
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn without_the_headers_the_caller_stays_who_it_is() {
        let refused = |_: &Attributes| panic!("nothing is asked");
        let user = become_wanted(User::admin(), &HeaderMap::new(), refused).unwrap();
        assert_eq!(user, User::admin());
    }

    #[test]
    fn every_part_of_the_wanted_identity_is_asked_for() {
        let asked = parking_lot::Mutex::new(Vec::new());
        let note = |attributes: &Attributes| {
            assert_eq!(
                (attributes.verb.as_str(), attributes.user.name.as_str()),
                ("impersonate", "kubernetes-admin")
            );
            asked.lock().push(format!("{} {}", attributes.resource, attributes.name));
            Ok(())
        };
        let headers = headers(&[(USER, "jane"), (GROUP, "dev"), (GROUP, "ops")]);
        let user = become_wanted(User::admin(), &headers, note).unwrap();
        assert_eq!(user, User::authenticated("jane", ["dev", "ops"]));
        assert_eq!(*asked.lock(), ["users jane", "groups dev", "groups ops"]);
    }

    #[test]
    fn a_service_account_is_asked_for_as_such_and_has_its_groups() {
        let allowed = |attributes: &Attributes| {
            let asked = [&*attributes.resource, &*attributes.namespace, &*attributes.name];
            assert_eq!(asked, ["serviceaccounts", "logs", "shipper"]);
            Ok(())
        };
        let headers = headers(&[(USER, "system:serviceaccount:logs:shipper")]);
        let user = become_wanted(User::admin(), &headers, allowed).unwrap();
        assert_eq!(
            user.groups,
            ["system:serviceaccounts", "system:serviceaccounts:logs", "system:authenticated"]
        );
    }

    #[test]
    fn a_refused_part_refuses_the_request_and_groups_alone_are_a_bad_request() {
        let refuse_groups = |attributes: &Attributes| {
            if attributes.resource == "groups" { Err(ApiError::unauthorized()) } else { Ok(()) }
        };
        let both = headers(&[(USER, "jane"), (GROUP, "system:masters")]);
        assert!(become_wanted(User::admin(), &both, refuse_groups).is_err());
        assert!(become_wanted(User::admin(), &headers(&[(GROUP, "dev")]), |_| Ok(())).is_err());
    }
}
