//! Who asks, from the client certificate that the TLS layer has verified against the cluster's CA.
//!
//! Upstream's x509 rule: the subject's common name is the user's name, its organizations are the groups.
//! What becomes of a request without a certificate is the router's decision.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::User;

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("the client certificate cannot be read")]
    Unreadable(#[source] x509_parser::error::X509Error),
    #[error("the client certificate's subject has no common name")]
    NoName,
}

/// The user of a verified certificate, with `system:authenticated` added.
pub fn user_from_certificate(der: &[u8]) -> Result<User, CertificateError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| {
        CertificateError::Unreadable(match error {
            x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error,
            x509_parser::nom::Err::Incomplete(_) => x509_parser::error::X509Error::InvalidCertificate,
        })
    })?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default();
    if name.is_empty() {
        return Err(CertificateError::NoName);
    }
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
    Ok(User::authenticated(name, groups))
}
