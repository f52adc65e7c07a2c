//! Approves nodes' requests for client certificates, where the requester may ask for them, and for certificates of their
//! own API.
//!
//! May is RBAC's word, asked by SubjectAccessReview: `create` on the subresource `selfnodeclient` for the renewal of
//! one's own, on `nodeclient` for anyone's first. Everything else waits for a person. Upstream:
//! pkg/controller/certificates/approver.
//! DIFFERS(serving-approval): upstream leaves serving certificates to people or to add-ons. Here a node's own is approved
//! if it names the node and addresses that its Node object has and neither another Node nor the API server
//! ([`super::serving`]): logs and exec work on a machine that joined with one command.

use std::sync::Arc;

use api::certificate::{APPROVED, DENIED, has_condition};
use client::queue::Outcome;
use client::write::Class;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition as Condition,
};
use kube::Api;
use kube::api::PostParams;

use super::request::Asked;
use super::{after_failure, serving};
use crate::Context;

/// What a request is recognized as: the right that it needs, and what is said when it is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Recognized {
    subresource: &'static str,
    message: &'static str,
}

const SELF_NODE_CLIENT: Recognized = Recognized {
    subresource: "selfnodeclient",
    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
};
const NODE_CLIENT: Recognized = Recognized {
    subresource: "nodeclient",
    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
};

/// Not asked of RBAC: the request is judged by the Node that it is for.
const SERVING: Recognized = Recognized {
    subresource: "",
    message: "Auto approving kubelet serving certificate for the node's own addresses.",
};

pub async fn run(context: Context) {
    let scope = context.scope();
    super::each(scope.context(), |request| look(scope.context().clone(), request)).await;
}

async fn look(context: Context, request: Arc<CertificateSigningRequest>) -> Outcome {
    let name = request.metadata.name.clone().unwrap_or_default();
    let issued = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    if issued.is_some_and(|certificate| !certificate.0.is_empty())
        || has_condition(&request, APPROVED)
        || has_condition(&request, DENIED)
    {
        return Outcome::Done;
    }
    match serving::is_granted(&context, &request).await {
        Ok(Some(true)) => return approve(&context, &request, &SERVING).await,
        Ok(Some(false)) => {
            tracing::info!(request = name, "not approved: it names what its Node does not have, or not yet");
            // As below: the Node may be there later.
            return Outcome::Failed;
        }
        Ok(None) => {}
        Err(error) => return not_asked(&error),
    }
    let recognized = recognize(&request);
    for recognized in &recognized {
        match may(&context, &request, recognized.subresource).await {
            Ok(true) => return approve(&context, &request, recognized).await,
            Ok(false) => {}
            Err(error) => return not_asked(&error),
        }
    }
    if !recognized.is_empty() {
        let tried: Vec<&str> = recognized.iter().map(|recognized| recognized.subresource).collect();
        tracing::info!(request = name, ?tried, "recognized, but the subject access review was not approved");
        // A right that is granted later changes nothing here, so the request is looked at again, ever less often.
        return Outcome::Failed;
    }
    Outcome::Done
}

/// What the verdict needs could not be read.
fn not_asked(error: &kube::Error) -> Outcome {
    match Class::of(error) {
        Class::Retry(after) => Outcome::FailedFor(after),
        _ => Outcome::Failed,
    }
}

/// In the order in which they are tried.
fn recognize(request: &CertificateSigningRequest) -> Vec<Recognized> {
    let spec = &request.spec;
    let Ok(asked) = Asked::read(&spec.request.0) else { return Vec::new() };
    if !asked.is_node_client(&spec.signer_name, spec.usages.as_deref().unwrap_or_default()) {
        return Vec::new();
    }
    if spec.username.as_deref() == Some(asked.common_name.as_str()) {
        return vec![SELF_NODE_CLIENT, NODE_CLIENT];
    }
    vec![NODE_CLIENT]
}

async fn may(
    context: &Context,
    request: &CertificateSigningRequest,
    subresource: &str,
) -> Result<bool, kube::Error> {
    let spec = &request.spec;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("certificates.k8s.io".to_owned()),
                resource: Some("certificatesigningrequests".to_owned()),
                verb: Some("create".to_owned()),
                subresource: Some(subresource.to_owned()),
                version: Some("*".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(context.client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

async fn approve(context: &Context, request: &CertificateSigningRequest, recognized: &Recognized) -> Outcome {
    let name = request.metadata.name.clone().unwrap_or_default();
    let mut approved = request.clone();
    let status = approved.status.get_or_insert_default();
    status.conditions.get_or_insert_default().push(Condition {
        type_: APPROVED.to_owned(),
        status: "True".to_owned(),
        reason: Some("AutoApproved".to_owned()),
        message: Some(recognized.message.to_owned()),
        ..Condition::default()
    });
    let requests: Api<CertificateSigningRequest> = Api::all(context.client.clone());
    let written = requests.replace_subresource("approval", &name, &PostParams::default(), &approved).await;
    match written {
        Ok(_) => {
            tracing::info!(request = name, "{}", recognized.message);
            Outcome::Done
        }
        Err(error) => after_failure(&name, &error),
    }
}
