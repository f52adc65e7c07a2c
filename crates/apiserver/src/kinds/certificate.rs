//! CertificateSigningRequest: who asks is the server's word; a verdict and a certificate each need leave for the signer.
//!
//! Admission: CertificateApproval, CertificateSigning, CertificateSubjectRestriction.
//! Upstream: `pkg/registry/certificates`, `plugin/pkg/admission/certificates`.

use std::collections::BTreeMap;

use api::certificate::{FAILED, KUBE_APISERVER_CLIENT_SIGNER, has_condition};
use api::field::{FieldError, FieldErrors, Path};
use api::validate::CertificateDoor;
use api::{strategy, validate};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

use super::{Kind, Part, Seen, fields};
use crate::access::Attributes;
use crate::access::user::MASTERS;
use crate::admission::Admission;
use crate::error::ApiError;

const GROUP: &str = "certificates.k8s.io";

impl Kind for CertificateSigningRequest {
    const SELECTABLE: &'static [&'static str] = &["spec.signerName"];

    fn selectable(&self) -> BTreeMap<String, String> {
        fields([("spec.signerName", Some(self.spec.signer_name.clone()))])
    }

    /// The requestor, whatever the body says; and nobody becomes a master by asking.
    fn admit_create(&mut self, admission: &Admission<'_>) -> Result<(), ApiError> {
        let user = admission.user;
        self.spec.username = Some(user.name.clone());
        self.spec.uid = user.uid.clone();
        self.spec.groups = (!user.groups.is_empty()).then(|| user.groups.clone());
        self.spec.extra = (!user.extra.is_empty()).then(|| user.extra.clone());
        if self.spec.signer_name == KUBE_APISERVER_CLIENT_SIGNER && asks_for_masters(&self.spec.request.0) {
            let why =
                format!("use of {KUBE_APISERVER_CLIENT_SIGNER} signer with {MASTERS} group is not allowed");
            return Err(refused(self, why));
        }
        Ok(())
    }

    fn admit_part(&mut self, old: &Self, part: Part, admission: &Admission<'_>) -> Result<(), ApiError> {
        let signer = old.spec.signer_name.as_str();
        match part {
            Part::Main => strategy::certificate_signing_request_update(self, old),
            Part::Own => {
                strategy::certificate_signing_request_approval_update(self, old, admission.now);
                if !may(admission, "approve", signer) {
                    let why = format!("user not permitted to approve requests with signerName {signer:?}");
                    return Err(refused(old, why));
                }
            }
            Part::Status => {
                strategy::certificate_signing_request_status_update(self, old, admission.now);
                let certificate = |request: &Self| request.status.clone().unwrap_or_default().certificate;
                let signs = certificate(self) != certificate(old)
                    || has_condition(self, FAILED) != has_condition(old, FAILED);
                if signs && !may(admission, "sign", signer) {
                    let why = format!("user not permitted to sign requests with signerName {signer:?}");
                    return Err(refused(old, why));
                }
            }
        }
        Ok(())
    }

    fn prepare_create(&mut self) -> Result<(), ApiError> {
        strategy::certificate_signing_request_create(self);
        Ok(())
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        let mut errors = validate::certificate_signing_request_create(self);
        let path = Path::new("spec.request");
        let given = &self.spec.request.0;
        if let Some(why) = request_problem(given).filter(|_| !given.is_empty()) {
            errors.insert(0, FieldError::invalid(&path, api::field::shown_value(&self.spec.request), why));
        }
        errors
    }

    fn validate_update(&self, old: &Self, part: Part, _seen: &Seen<'_>) -> FieldErrors {
        let door = match part {
            Part::Main => CertificateDoor::Main,
            Part::Status => CertificateDoor::Status,
            Part::Own => CertificateDoor::Approval,
        };
        let mut errors = validate::certificate_signing_request_update(self, old, door);
        let certificate = |request: &Self| request.status.clone().unwrap_or_default().certificate;
        let given = certificate(self).unwrap_or_default().0;
        if part == Part::Status && !given.is_empty() && certificate(self) != certificate(old) {
            let path = Path::new("status.certificate");
            errors.extend(
                certificate_problem(&given).map(|why| FieldError::invalid(&path, "<certificate data>", why)),
            );
        }
        errors
    }
}

fn refused(request: &CertificateSigningRequest, why: String) -> ApiError {
    let resource = api::scheme::find(GROUP, "v1", "certificatesigningrequests");
    let name = request.metadata.name.as_deref().unwrap_or_default();
    ApiError::forbidden(resource.unwrap_or(&api::scheme::RESOURCES[0]), name, why)
}

/// Leave for one signer, or for all signers of its domain.
fn may(admission: &Admission<'_>, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    [signer.to_owned(), format!("{domain}/*")].into_iter().any(|name| {
        let asked = Attributes {
            user: admission.user.clone(),
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: "signers".to_owned(),
            name,
            ..Attributes::default()
        };
        admission.authorizer.authorize(&asked).is_allowed()
    })
}

/// The blocks of a PEM text.
fn blocks(pem: &[u8]) -> Option<Vec<Pem>> {
    Pem::iter_from_buffer(pem).collect::<Result<Vec<_>, _>>().ok()
}

fn request_problem(pem: &[u8]) -> Option<String> {
    let wrong_block = || Some("PEM block type must be CERTIFICATE REQUEST".to_owned());
    let Some(block) = blocks(pem).and_then(|blocks| blocks.into_iter().next()) else { return wrong_block() };
    if block.label != "CERTIFICATE REQUEST" {
        return wrong_block();
    }
    match X509CertificationRequest::from_der(&block.contents) {
        Ok(([], request)) => {
            let checked = request.verify_signature();
            checked.err().map(|error| format!("x509: the request's signature is not its own: {error}"))
        }
        Ok(_) => Some("asn1: syntax error: trailing data".to_owned()),
        Err(error) => Some(format!("asn1: structure error: {error}")),
    }
}

fn asks_for_masters(pem: &[u8]) -> bool {
    let Some(block) = blocks(pem).and_then(|blocks| blocks.into_iter().next()) else { return false };
    let Ok((_, request)) = X509CertificationRequest::from_der(&block.contents) else { return false };
    request
        .certification_request_info
        .subject
        .iter_organization()
        .any(|organization| organization.as_str().is_ok_and(|name| name == MASTERS))
}

fn certificate_problem(pem: &[u8]) -> Option<String> {
    let Some(blocks) = blocks(pem).filter(|blocks| !blocks.is_empty()) else {
        return Some("must contain at least one CERTIFICATE PEM block".to_owned());
    };
    blocks.iter().find_map(|block| {
        if block.label != "CERTIFICATE" {
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        let parsed = x509_parser::parse_x509_certificate(&block.contents);
        parsed.err().map(|error| format!("x509: malformed certificate: {error}"))
    })
}
