//! CertificateSigningRequests, but for what is in their PEM: that is read where certificates are read.
//!
//! Three doors change a request after its creation: the object itself (metadata only), `/status` (the certificate, not the
//! verdict) and `/approval` (the verdict, not the certificate). Upstream: `pkg/apis/certificates/validation`.

use std::collections::BTreeSet;

use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};

use super::Complaints;
use super::metadata::{NameSyntax, Scope, object_meta_create, object_meta_update};
use crate::certificate::{APPROVED, DENIED, FAILED, LEGACY_UNKNOWN_SIGNER};
use crate::field::{FieldError, FieldErrors, Path};
use crate::names;

/// The shortest life that may be asked for, in seconds.
const LIFE_SECONDS_MIN: i32 = 600;
/// What fits into a file name beside the domain, as upstream counts.
const SIGNER_PATH_BYTES_MAX: usize = 571;

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// Which door an update comes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateDoor {
    Main,
    Status,
    Approval,
}

pub fn certificate_signing_request_create(request: &CertificateSigningRequest) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&request.metadata, Scope::Cluster, NameSyntax::PathSegment, &path);
    let spec = &request.spec;
    let path = Path::new("spec");
    if spec.request.0.is_empty() {
        errors.push(FieldError::invalid(
            &path.child("request"),
            "",
            "PEM block type must be CERTIFICATE REQUEST",
        ));
    }
    let usages_path = path.child("usages");
    let usages = spec.usages.as_deref().unwrap_or_default();
    if usages.is_empty() {
        errors.push(FieldError::required(&usages_path, ""));
    }
    for (i, usage) in usages.iter().enumerate() {
        errors.one_of(&usages_path.index(i), usage, &USAGES);
        if usages[..i].contains(usage) {
            errors.push(FieldError::duplicate(&usages_path.index(i), usage.as_str()));
        }
    }
    let signer_path = path.child("signerName");
    if spec.signer_name == LEGACY_UNKNOWN_SIGNER {
        let detail = "the legacy signerName is not allowed via this API version";
        errors.push(FieldError::invalid(&signer_path, spec.signer_name.as_str(), detail));
    } else {
        errors.extend(signer_name(&spec.signer_name, &signer_path));
    }
    if let Some(seconds) = spec.expiration_seconds.filter(|seconds| *seconds < LIFE_SECONDS_MIN) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid(&path.child("expirationSeconds"), seconds, detail));
    }
    errors
}

pub fn certificate_signing_request_update(
    new: &CertificateSigningRequest,
    old: &CertificateSigningRequest,
    door: CertificateDoor,
) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    let path = Path::new("status.conditions");
    errors.extend(conditions(found(new), &path));
    for kind in [APPROVED, DENIED, FAILED] {
        let of =
            |list: &[CertificateSigningRequestCondition]| list.iter().filter(|c| c.type_ == kind).count();
        let (after, before) = (of(found(new)), of(found(old)));
        if after < before {
            let detail = format!("updates may not remove a condition of type {kind:?}");
            errors.push(FieldError::forbidden(&path, detail));
        }
        if after > before && kind != FAILED && door != CertificateDoor::Approval {
            let detail = format!("updates may not add a condition of type {kind:?}");
            errors.push(FieldError::forbidden(&path, detail));
        }
    }
    let certificate = |request: &CertificateSigningRequest| {
        let status = request.status.as_ref().and_then(|status| status.certificate.clone());
        status.unwrap_or_default().0
    };
    let (after, before) = (certificate(new), certificate(old));
    let path = Path::new("status.certificate");
    if after != before {
        if door != CertificateDoor::Status {
            errors.push(FieldError::forbidden(&path, "updates may not set certificate content"));
        } else if !before.is_empty() {
            let detail = "updates may not modify existing certificate content";
            errors.push(FieldError::forbidden(&path, detail));
        }
    }
    errors
}

fn found(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

fn conditions(found: &[CertificateSigningRequestCondition], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut seen = BTreeSet::new();
    for (i, condition) in found.iter().enumerate() {
        let path = path.index(i);
        let kind = condition.type_.as_str();
        errors.required_text(&path.child("type"), kind);
        let status_path = path.child("status");
        if matches!(kind, APPROVED | DENIED | FAILED) {
            errors.one_of(&status_path, &condition.status, &["True"]);
        } else if errors.required_text(&status_path, &condition.status) {
            errors.one_of(&status_path, &condition.status, &["False", "True", "Unknown"]);
        }
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(&path.child("type"), kind));
        }
        let other = match kind {
            APPROVED => DENIED,
            DENIED => APPROVED,
            _ => continue,
        };
        if seen.contains(other) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(&path.child("type"), kind, detail));
        }
    }
    errors
}

/// `example.com/signer-name`.
fn signer_name(name: &str, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if !errors.required_text(path, name) {
        return errors;
    }
    let segments: Vec<&str> = name.split('/').collect();
    let [domain, rest] = segments.as_slice() else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(FieldError::invalid(path, name, detail));
        return errors;
    };
    let labels = |part: &str| {
        let complain = |label: &str| {
            names::dns1123_label(label)
                .into_iter()
                .map(|why| format!("validating label {label:?}: {why}"))
                .collect::<Vec<String>>()
        };
        part.split('.').flat_map(complain).collect::<Vec<String>>()
    };
    let complaints = labels(domain);
    if complaints.is_empty() && !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, *domain, detail));
    }
    errors.syntax(path, domain, complaints);
    errors.syntax(path, rest, labels(rest));
    if rest.len() > SIGNER_PATH_BYTES_MAX {
        errors.push(FieldError::too_long(path, SIGNER_PATH_BYTES_MAX));
    }
    errors
}
