//! Reviews: questions to the authorizer and about oneself, asked as creations of objects that are never stored.

use bytes::Bytes;
use http::{Response, StatusCode};
use k8s_openapi::api::authentication::v1::{
    SelfSubjectReview, SelfSubjectReviewStatus, TokenReview, TokenReviewStatus, UserInfo,
};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, NonResourceRule, ResourceAttributes, ResourceRule,
    SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec,
    SubjectAccessReviewStatus, SubjectRulesReviewStatus,
};

use api::field::{FieldError, Path};

use super::Call;
use crate::access::{Attributes, Decision, User};
use crate::answer;
use crate::authenticate;
use crate::body::Body;
use crate::decode::{Payload, decode};
use crate::error::ApiError;
use crate::options::WriteOptions;

impl Call {
    pub(super) fn review(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        let options = WriteOptions::parse(&self.query, "CreateOptions")?;
        let payload = Payload::read(&self.headers, body, self.resource.kind)?;
        payload.expect_kind(self.resource)?;
        let mut warn = |text| self.warn(text);
        match self.resource.kind {
            "SelfSubjectAccessReview" => {
                let mut review: SelfSubjectAccessReview =
                    decode(&payload, self.resource, options.field_validation, &mut warn)?;
                let spec = &review.spec;
                let asked = self.asked(
                    self.user.clone(),
                    spec.resource_attributes.as_ref(),
                    spec.non_resource_attributes.as_ref(),
                )?;
                review.status = Some(self.decide(&asked));
                answer::json_response(StatusCode::CREATED, &review)
            }
            "SubjectAccessReview" => {
                let mut review: SubjectAccessReview =
                    decode(&payload, self.resource, options.field_validation, &mut warn)?;
                review.status = Some(self.subject_access(&review.spec)?);
                answer::json_response(StatusCode::CREATED, &review)
            }
            "LocalSubjectAccessReview" => {
                let mut review: LocalSubjectAccessReview =
                    decode(&payload, self.resource, options.field_validation, &mut warn)?;
                self.check_local(&mut review)?;
                review.status = Some(self.subject_access(&review.spec)?);
                answer::json_response(StatusCode::CREATED, &review)
            }
            "TokenReview" => {
                let mut review: TokenReview =
                    decode(&payload, self.resource, options.field_validation, &mut warn)?;
                review.status = Some(self.token_status(&review)?);
                answer::json_response(StatusCode::CREATED, &review)
            }
            "SelfSubjectRulesReview" => {
                let mut review: SelfSubjectRulesReview =
                    decode(&payload, self.resource, options.field_validation, &mut warn)?;
                let namespace = review.spec.namespace.clone().unwrap_or_default();
                if namespace.is_empty() {
                    return Err(ApiError::bad_request("no namespace on request"));
                }
                review.status = Some(self.rules_in(&namespace));
                answer::json_response(StatusCode::CREATED, &review)
            }
            "SelfSubjectReview" => {
                let mut review: SelfSubjectReview =
                    decode(&payload, self.resource, options.field_validation, &mut warn)?;
                review.status = Some(SelfSubjectReviewStatus { user_info: Some(described(&self.user)) });
                answer::json_response(StatusCode::CREATED, &review)
            }
            _ => Err(ApiError::unknown_path()),
        }
    }

    /// What somebody else may do.
    fn subject_access(&self, spec: &SubjectAccessReviewSpec) -> Result<SubjectAccessReviewStatus, ApiError> {
        let user = User {
            name: spec.user.clone().unwrap_or_default(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone().unwrap_or_default(),
            extra: spec.extra.clone().unwrap_or_default(),
        };
        if user.name.is_empty() && user.groups.is_empty() {
            let path = Path::new("spec").child("user");
            let error = FieldError::required(&path, "at least one of user or group must be specified");
            return Err(ApiError::invalid(self.resource.group, self.resource.kind, "", &[error]));
        }
        let (resource, path) = (spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref());
        Ok(self.decide(&self.asked(user, resource, path)?))
    }

    /// A question about one namespace, the URL's.
    fn check_local(&self, review: &mut LocalSubjectAccessReview) -> Result<(), ApiError> {
        let namespace = self.target.namespace.as_str();
        let asked = review.spec.resource_attributes.as_ref();
        let asked = asked.and_then(|asked| asked.namespace.as_deref()).unwrap_or_default();
        if asked != namespace {
            let text = format!(
                "namespace on request {namespace:?} must match spec.resourceAttributes.namespace: {asked:?}"
            );
            return Err(ApiError::bad_request(text));
        }
        let named = review.metadata.namespace.get_or_insert_with(|| namespace.to_owned());
        if named != namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if review.spec.non_resource_attributes.is_some() {
            let path = Path::new("spec").child("nonResourceAttributes");
            let detail = "disallowed on this kind of request";
            let error = FieldError::invalid(&path, serde_json::Value::Null, detail);
            return Err(ApiError::invalid(self.resource.group, self.resource.kind, "", &[error]));
        }
        Ok(())
    }

    /// Whose token it is.
    fn token_status(&self, review: &TokenReview) -> Result<TokenReviewStatus, ApiError> {
        let token = review.spec.token.as_deref().unwrap_or_default();
        if token.is_empty() {
            return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
        }
        let asked = review.spec.audiences.clone().filter(|audiences| !audiences.is_empty());
        let audiences = asked.unwrap_or_else(|| self.server.issuer.own_audiences());
        Ok(match authenticate::bearer(&self.server, token, &audiences) {
            Ok((user, audiences)) => TokenReviewStatus {
                authenticated: Some(true),
                audiences: Some(audiences),
                user: Some(described(&user)),
                error: None,
            },
            Err(error) => {
                TokenReviewStatus { error: Some(error.to_string()), ..TokenReviewStatus::default() }
            }
        })
    }

    fn asked(
        &self,
        user: User,
        resource: Option<&ResourceAttributes>,
        path: Option<&NonResourceAttributes>,
    ) -> Result<Attributes, ApiError> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        match (resource, path) {
            (Some(resource), None) => Ok(Attributes {
                user,
                verb: text(&resource.verb),
                group: text(&resource.group),
                version: text(&resource.version),
                resource: text(&resource.resource),
                subresource: text(&resource.subresource),
                namespace: text(&resource.namespace),
                name: text(&resource.name),
                ..Attributes::default()
            }),
            (None, Some(path)) => Ok(Attributes {
                user,
                verb: text(&path.verb),
                path: text(&path.path),
                ..Attributes::default()
            }),
            _ => {
                let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                let path = Path::new("spec").child("resourceAttributes");
                let error = FieldError::invalid(&path, serde_json::Value::Null, detail);
                Err(ApiError::invalid(self.resource.group, self.resource.kind, "", &[error]))
            }
        }
    }

    /// Every rule that holds for the user; those of the roles only, for the node authorizer has none to show.
    fn rules_in(&self, namespace: &str) -> SubjectRulesReviewStatus {
        let held = self.server.authorizer.rules_for(&self.user, namespace);
        let mut status = SubjectRulesReviewStatus::default();
        let mut errors = held.errors;
        if self.user.node_name().is_some() {
            errors.push("node authorizer does not support user rule resolution".to_owned());
        }
        for rule in held.rules {
            if let Some(paths) = rule.non_resource_urls.filter(|paths| !paths.is_empty()) {
                status
                    .non_resource_rules
                    .push(NonResourceRule { non_resource_urls: Some(paths), verbs: rule.verbs.clone() });
            }
            if let Some(resources) = rule.resources.filter(|resources| !resources.is_empty()) {
                status.resource_rules.push(ResourceRule {
                    api_groups: rule.api_groups,
                    resource_names: rule.resource_names,
                    resources: Some(resources),
                    verbs: rule.verbs,
                });
            }
        }
        status.incomplete = !errors.is_empty();
        status.evaluation_error = (!errors.is_empty()).then(|| errors.join(", "));
        status
    }

    fn decide(&self, asked: &Attributes) -> SubjectAccessReviewStatus {
        match self.server.authorizer.authorize(asked) {
            Decision::Allow => SubjectAccessReviewStatus { allowed: true, ..Default::default() },
            Decision::Deny { message } => {
                SubjectAccessReviewStatus { allowed: false, reason: Some(message), ..Default::default() }
            }
        }
    }
}

fn described(user: &User) -> UserInfo {
    UserInfo {
        username: Some(user.name.clone()),
        uid: user.uid.clone(),
        groups: Some(user.groups.clone()),
        extra: (!user.extra.is_empty()).then(|| user.extra.clone()),
    }
}
