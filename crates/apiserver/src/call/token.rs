//! `serviceaccounts/token`: a token for an account, if wanted bound to a Pod, a Secret or a Node.
//!
//! Upstream: pkg/registry/core/serviceaccount/storage/token.go and, for nodes, noderestriction's rules on token
//! requests. Nothing is stored, so a dry run differs in nothing.

use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use api::field::{FieldError, Path};
use api::scheme::Resource;

use super::Stored;
use super::subresource::body_kind;
use crate::access::Attributes;
use crate::access::restriction::{self, PodOfToken};
use crate::access::token::{Bound, Claims, EXTENDED_SECONDS, Reference, WARN_ONLY_SECONDS};
use crate::answer;
use crate::body::Body;
use crate::decode::{Payload, decode};
use crate::error::ApiError;
use crate::object::Object;
use crate::options::WriteOptions;
use crate::pipeline::typed;

const GROUP: &str = "authentication.k8s.io";
const SECONDS_DEFAULT: i64 = 3_600;
/// Upstream's bounds.
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;

impl Stored<'_> {
    pub(super) async fn token(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        let options = WriteOptions::parse(&self.call.query, "CreateOptions")?;
        let payload = Payload::read(&self.call.headers, body, "TokenRequest")?;
        let described = body_kind(GROUP, "TokenRequest");
        payload.expect_kind(&described)?;
        // Go clients send an empty status along, with a time that is null.
        let mut value = payload.into_value("TokenRequest")?;
        if let Some(object) = value.as_object_mut() {
            object.remove("status");
        }
        let payload = Payload::Value(value);
        let mut asked: TokenRequest =
            decode(&payload, &described, options.field_validation, &mut |text| self.call.warn(text))?;
        let name = self.call.target.name.as_str();
        self.check_metadata(&asked)?;
        let account = self.current(name).await?;
        let issuer = &self.call.server.issuer;
        let now = self.call.now();

        if asked.spec.audiences.is_empty() {
            asked.spec.audiences = issuer.own_audiences();
        }
        let seconds = *asked.spec.expiration_seconds.get_or_insert(SECONDS_DEFAULT);
        asked.metadata.name = Some(name.to_owned());
        asked.metadata.namespace = Some(self.namespace().to_owned());
        asked.metadata.creation_timestamp =
            Some(Time(Timestamp::from_second(now.as_second()).unwrap_or(now)));
        asked.status = None;
        check_seconds(seconds)?;
        self.restrict_node(&asked)?;

        let mut bound = match &asked.spec.bound_object_ref {
            None => Bound::default(),
            Some(reference) => self.bind_to(reference)?,
        };
        bound.namespace = self.namespace().to_owned();
        bound.account = Reference { name: name.to_owned(), uid: account.header.uid().to_owned() };
        let mut lives_seconds = seconds;
        let for_us = asked.spec.audiences.iter().all(|audience| *audience == issuer.name);
        // What admission mounts lives on for programs that never read their token again (upstream's
        // --service-account-extend-token-expiration).
        if bound.pod.is_some() && seconds == WARN_ONLY_SECONDS && for_us {
            bound.warn_after_second = Some(now.as_second() + seconds);
            lives_seconds = EXTENDED_SECONDS;
        }
        let id = uuid::Uuid::new_v4().to_string();
        let claims = Claims::new(&issuer.name, id, asked.spec.audiences.clone(), bound, now, lives_seconds);
        let token = issuer.sign(&claims).map_err(|error| {
            tracing::error!(%error, "a token cannot be signed");
            ApiError::internal("failed to create token")
        })?;
        let until = now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        let until = Timestamp::from_second(until.as_second()).unwrap_or(until);
        asked.status = Some(TokenRequestStatus { token, expiration_timestamp: Time(until) });
        answer::json_response(StatusCode::CREATED, &asked)
    }

    /// A body that names another account than the URL is refused.
    fn check_metadata(&self, asked: &TokenRequest) -> Result<(), ApiError> {
        let name = self.call.target.name.as_str();
        let meta = Path::new("metadata");
        for (field, given, own, text) in [
            ("name", &asked.metadata.name, name, "must match the service account name if specified"),
            (
                "namespace",
                &asked.metadata.namespace,
                self.namespace(),
                "must match the service account namespace if specified",
            ),
        ] {
            let given = given.as_deref().unwrap_or_default();
            if !given.is_empty() && given != own {
                let error = FieldError::invalid(&meta.child(field), given, text);
                return Err(ApiError::invalid(GROUP, "TokenRequest", name, &[error]));
            }
        }
        Ok(())
    }

    /// The object that the token is to end with, as it is now.
    fn bind_to(&self, reference: &BoundObjectReference) -> Result<Bound, ApiError> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (version, kind) = (text(&reference.api_version), text(&reference.kind));
        let name = text(&reference.name);
        let plural = match (version.as_str(), kind.as_str()) {
            ("v1", "Pod") => "pods",
            ("v1", "Secret") => "secrets",
            ("v1", "Node") => "nodes",
            _ => {
                let (group, version) = version.rsplit_once('/').unwrap_or(("", &version));
                let text = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
                return Err(ApiError::bad_request(text));
            }
        };
        let object = self.other(plural, &name)?;
        let own = Some(Reference { name: name.clone(), uid: object.header.uid().to_owned() });
        let mut bound = Bound::default();
        match plural {
            "pods" => {
                let account = self.call.target.name.as_str();
                if object.header.field("spec.serviceAccountName") != Some(account) {
                    let text = format!(
                        "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                    );
                    return Err(ApiError::bad_request(text));
                }
                bound.node = object.header.field("spec.nodeName").map(|node| {
                    let found = self.call.server.windows.window("nodes").and_then(|window| window.get(node));
                    let uid = found.map(|node| node.header.uid().to_owned()).unwrap_or_default();
                    Reference { name: node.to_owned(), uid }
                });
                bound.pod = own;
            }
            "secrets" => bound.secret = own,
            _ => bound.node = own,
        }
        let wanted = text(&reference.uid);
        if !wanted.is_empty() && wanted != object.header.uid() {
            let why = format!(
                "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might \
                 have been deleted and then recreated"
            );
            // Upstream names the kind where a resource stands elsewhere.
            return Err(ApiError::conflict_of(self.resource, &kind, &name, why));
        }
        Ok(bound)
    }

    fn other(&self, plural: &'static str, name: &str) -> Result<std::sync::Arc<Object>, ApiError> {
        let resource: &Resource = api::scheme::find("", "v1", plural).unwrap_or(self.resource);
        let key = if resource.namespaced { format!("{}/{name}", self.namespace()) } else { name.to_owned() };
        let found = self.call.server.windows.window(plural).and_then(|window| window.get(&key));
        found.ok_or_else(|| ApiError::not_found(resource, name))
    }

    /// A node asks only for its own Pods, and only for audiences that they name.
    fn restrict_node(&self, asked: &TokenRequest) -> Result<(), ApiError> {
        let Some(node) = self.call.user.node_name() else { return Ok(()) };
        let name = self.call.target.name.as_str();
        let refused = |why| ApiError::forbidden(self.resource, name, why);
        let reference = asked.spec.bound_object_ref.as_ref();
        let pod = restriction::pod_of_token(reference).map_err(refused)?;
        let PodOfToken { name: pod_name, uid } = pod;
        let pod: Pod = typed(&*self.other("pods", pod_name)?)?;
        restriction::token_for_pod(node, uid, &pod).map_err(refused)?;
        let own = self.call.server.issuer.own_audiences();
        let audiences: &[String] =
            if asked.spec.audiences == own { &[] } else { asked.spec.audiences.as_slice() };
        let allowed = |audience: &str| {
            let attributes = Attributes {
                user: self.call.user.clone(),
                verb: "request-serviceaccounts-token-audience".to_owned(),
                version: "v1".to_owned(),
                resource: audience.to_owned(),
                namespace: self.namespace().to_owned(),
                name: name.to_owned(),
                ..Attributes::default()
            };
            self.call.server.authorizer.authorize(&attributes).is_allowed()
        };
        restriction::token_audiences(audiences, &pod, allowed).map_err(refused)
    }
}

fn check_seconds(seconds: i64) -> Result<(), ApiError> {
    let path = Path::new("spec").child("expirationSeconds");
    let text = match seconds {
        ..SECONDS_MIN => "may not specify a duration less than 10 minutes",
        SECONDS_MIN..=SECONDS_MAX => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    Err(ApiError::invalid(GROUP, "TokenRequest", "", &[FieldError::invalid(&path, seconds, text)]))
}
