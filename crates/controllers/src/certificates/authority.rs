//! The key that signs certificate requests.
//!
//! What is signed is the request's key, subject and names, with the usages that the object names and a life that the
//! authority bounds; nothing else of the request is taken over. Upstream: pkg/controller/certificates/authority and
//! `signer.duration`.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber,
};
use x509_parser::pem::Pem;

/// Upstream's `--cluster-signing-duration`.
const LIFE_SECONDS: i64 = 365 * 24 * 60 * 60;
/// The shortest life, which the API also refuses to be asked for less than.
const LIFE_SECONDS_MIN: i64 = 600;
/// Clocks differ: a certificate counts from this long before it was made.
const BACKDATE_SECONDS: i64 = 5 * 60;
/// Lives below this are not shortened by the backdating (upstream's `short`).
const SHORT_SECONDS: i64 = 8 * 60 * 60;

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("the signing certificate cannot be read")]
    Certificate,
    #[error("the signing key cannot be read")]
    Key(#[source] rcgen::Error),
    #[error("the request cannot be signed")]
    Request(#[source] rcgen::Error),
    #[error("the request's subject names several organizations; this signer takes one")]
    Subject,
    #[error("the signing certificate has ended")]
    Ended,
}

/// What is to be certified beside what the request says.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    pub usages: &'a [String],
    pub asked_seconds: Option<i64>,
    /// Different for each certificate.
    pub serial: &'a [u8],
    pub now: Timestamp,
}

/// A CA's certificate and key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ends_second: i64,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("ends_second", &self.ends_second).finish_non_exhaustive()
    }
}

impl Authority {
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Authority, AuthorityError> {
        let block = Pem::iter_from_buffer(certificate_pem.as_bytes()).next().and_then(Result::ok);
        let block = block.ok_or(AuthorityError::Certificate)?;
        let parsed = block.parse_x509().map_err(|_| AuthorityError::Certificate)?;
        let ends_second = parsed.validity().not_after.timestamp();
        let key = KeyPair::from_pem(key_pem).map_err(AuthorityError::Key)?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key).map_err(AuthorityError::Key)?;
        Ok(Authority { issuer, ends_second })
    }

    /// The certificate as PEM.
    pub fn sign(&self, request_pem: &str, terms: &Terms<'_>) -> Result<String, AuthorityError> {
        let mut request =
            CertificateSigningRequestParams::from_pem(request_pem).map_err(AuthorityError::Request)?;
        let (from, until) = life(terms.asked_seconds, terms.now.as_second(), self.ends_second)
            .ok_or(AuthorityError::Ended)?;
        let params = &mut request.params;
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let since = |second: i64| Duration::from_secs(u64::try_from(second).unwrap_or(0));
        params.not_before = epoch + since(from);
        params.not_after = epoch + since(until);
        params.is_ca = IsCa::ExplicitNoCa;
        params.serial_number = Some(SerialNumber::from_slice(terms.serial));
        params.use_authority_key_identifier_extension = true;
        (params.key_usages, params.extended_key_usages) = purposes(terms.usages);
        Ok(request.signed_by(&self.issuer).map_err(AuthorityError::Request)?.pem())
    }
}

/// First and last second of a certificate's life; nothing once the authority itself has ended.
fn life(asked_seconds: Option<i64>, now: i64, authority_ends: i64) -> Option<(i64, i64)> {
    let wanted = asked_seconds.unwrap_or(LIFE_SECONDS).clamp(LIFE_SECONDS_MIN, LIFE_SECONDS);
    let from = now - BACKDATE_SECONDS;
    let until = if wanted < SHORT_SECONDS { now + wanted } else { from + wanted };
    (authority_ends > now).then(|| (from, until.min(authority_ends)))
}

fn purposes(usages: &[String]) -> (Vec<KeyUsagePurpose>, Vec<ExtendedKeyUsagePurpose>) {
    let mut plain = Vec::new();
    let mut extended = Vec::new();
    for usage in usages {
        match usage.as_str() {
            "digital signature" | "signing" => plain.push(KeyUsagePurpose::DigitalSignature),
            "key encipherment" => plain.push(KeyUsagePurpose::KeyEncipherment),
            "client auth" => extended.push(ExtendedKeyUsagePurpose::ClientAuth),
            "server auth" => extended.push(ExtendedKeyUsagePurpose::ServerAuth),
            // No signer of ours takes a request with another.
            _ => {}
        }
    }
    (plain, extended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_is_what_was_asked_for_within_bounds_and_never_longer_than_the_authority() {
        let (now, year) = (10_000_000, LIFE_SECONDS);
        let far = now + 10 * year;
        assert_eq!(life(None, now, far), Some((now - 300, now - 300 + year)));
        assert_eq!(life(Some(600), now, far), Some((now - 300, now + 600)));
        assert_eq!(life(Some(1), now, far), Some((now - 300, now + 600)));
        assert_eq!(life(Some(2 * year), now, far), Some((now - 300, now - 300 + year)));
        assert_eq!(life(None, now, now + 50), Some((now - 300, now + 50)));
        assert_eq!(life(None, now, now), None);
    }
}
