//! CertificateSigningRequests: who asks is the server's to say, and each door owns its half of the status.
//!
//! Upstream: `pkg/registry/certificates/certificates/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition as Condition,
    CertificateSigningRequestStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::certificate::{APPROVED, DENIED};

/// Nobody makes a request that is already approved.
pub fn certificate_signing_request_create(request: &mut CertificateSigningRequest) {
    request.status = Some(Default::default());
}

pub fn certificate_signing_request_update(
    new: &mut CertificateSigningRequest,
    old: &CertificateSigningRequest,
) {
    new.spec.clone_from(&old.spec);
    new.status.clone_from(&old.status);
}

/// The verdict stays as it is; what is added or missing of it is for validation to refuse.
pub fn certificate_signing_request_status_update(
    new: &mut CertificateSigningRequest,
    old: &CertificateSigningRequest,
    now: Timestamp,
) {
    new.spec.clone_from(&old.spec);
    let before = conditions(old).to_vec();
    let status = new.status.get_or_insert_default();
    for kind in [APPROVED, DENIED] {
        let mut kept = before.iter().filter(|condition| condition.type_ == kind);
        for condition in status.conditions.iter_mut().flatten().filter(|condition| condition.type_ == kind) {
            if let Some(old) = kept.next() {
                condition.clone_from(old);
            }
        }
    }
    stamp(status, &before, now);
}

/// Only the conditions change here.
pub fn certificate_signing_request_approval_update(
    new: &mut CertificateSigningRequest,
    old: &CertificateSigningRequest,
    now: Timestamp,
) {
    new.spec.clone_from(&old.spec);
    let given = new.status.take().and_then(|status| status.conditions);
    let mut status = old.status.clone().unwrap_or_default();
    status.conditions = given;
    stamp(&mut status, conditions(old), now);
    new.status = Some(status);
}

fn conditions(request: &CertificateSigningRequest) -> &[Condition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// Times that the writer left out: of the last change of status, which an unchanged condition keeps.
fn stamp(status: &mut CertificateSigningRequestStatus, before: &[Condition], now: Timestamp) {
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    for condition in status.conditions.iter_mut().flatten() {
        if condition.last_update_time.is_none() {
            condition.last_update_time = Some(now.clone());
        }
        if condition.last_transition_time.is_none() {
            let same =
                before.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
            let kept = same.and_then(|old| old.last_transition_time.clone());
            condition.last_transition_time = Some(kept.unwrap_or_else(|| now.clone()));
        }
    }
}
