//! Signs approved requests of the three signers that every cluster has.
//!
//! A request that its signer does not take fails with the reason in a condition; one for another signer is left alone.
//! Upstream: pkg/controller/certificates/signer.

use std::sync::Arc;

use api::certificate::{APPROVED, FAILED, has_condition};
use client::queue::Outcome;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition as Condition,
};
use kube::Api;
use kube::api::PostParams;

use super::after_failure;
use super::authority::{Authority, Terms};
use super::request::{Asked, fits};
use crate::Context;

/// What is to be written to a request's status.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Leave,
    Certificate(String),
    Fail(String),
}

pub async fn run(context: Context, authority: Arc<Authority>) {
    let scope = context.scope();
    super::each(scope.context(), |request| look(scope.context().clone(), Arc::clone(&authority), request))
        .await;
}

async fn look(
    context: Context,
    authority: Arc<Authority>,
    request: Arc<CertificateSigningRequest>,
) -> Outcome {
    let name = request.metadata.name.clone().unwrap_or_default();
    let mut signed = CertificateSigningRequest::clone(&request);
    let status = signed.status.get_or_insert_default();
    match judge(&request, &authority, context.clock.now()) {
        Verdict::Leave => return Outcome::Done,
        Verdict::Certificate(pem) => {
            tracing::info!(request = name, signer = request.spec.signer_name, "signed");
            status.certificate = Some(ByteString(pem.into_bytes()));
        }
        Verdict::Fail(why) => {
            tracing::info!(request = name, signer = request.spec.signer_name, why, "not signed");
            status.conditions.get_or_insert_default().push(Condition {
                type_: FAILED.to_owned(),
                status: "True".to_owned(),
                reason: Some("SignerValidationFailure".to_owned()),
                message: Some(why),
                ..Condition::default()
            });
        }
    }
    let requests: Api<CertificateSigningRequest> = Api::all(context.client.clone());
    match requests.replace_status(&name, &PostParams::default(), &signed).await {
        Ok(_) => Outcome::Done,
        Err(error) => after_failure(&name, &error),
    }
}

fn judge(request: &CertificateSigningRequest, authority: &Authority, now: Timestamp) -> Verdict {
    let spec = &request.spec;
    let issued = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    if !has_condition(request, APPROVED)
        || has_condition(request, FAILED)
        || issued.is_some_and(|certificate| !certificate.0.is_empty())
    {
        return Verdict::Leave;
    }
    let usages = spec.usages.as_deref().unwrap_or_default();
    if fits(&spec.signer_name, &Asked::default(), usages).is_none() {
        return Verdict::Leave;
    }
    let asked = match Asked::read(&spec.request.0) {
        Ok(asked) => asked,
        Err(why) => return Verdict::Fail(why.to_string()),
    };
    if let Some(Err(why)) = fits(&spec.signer_name, &asked, usages) {
        return Verdict::Fail(why.to_string());
    }
    if asked.organizations.len() > 1 {
        return Verdict::Fail(super::authority::AuthorityError::Subject.to_string());
    }
    let uid = request.metadata.uid.clone().unwrap_or_default();
    let terms =
        Terms { usages, asked_seconds: spec.expiration_seconds.map(i64::from), serial: &serial(&uid), now };
    match authority.sign(&String::from_utf8_lossy(&spec.request.0), &terms) {
        Ok(pem) => Verdict::Certificate(pem),
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Verdict::Fail(format!("{error}{cause}"))
        }
    }
}

/// A request is signed once and its uid is random, so the uid's bytes are a serial number.
fn serial(uid: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        uid.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
    let bytes = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).take(16);
    // Positive, and never empty.
    std::iter::once(1).chain(bytes).collect()
}
