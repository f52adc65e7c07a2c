//! The CA and what it signs: ECDSA P-256 keys, X.509 certificates.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{RENEW_DAYS, ServingNames};
use crate::access::authn;

/// As kubeadm's: a CA outlives the machines it is made for.
const CA_YEARS: i16 = 10;
const LEAF_YEARS: i16 = 1;
const CA_NAME: &str = "everynode-ca";

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("the certificate cannot be made")]
    Make(#[source] rcgen::Error),
    #[error("the certificate cannot be read")]
    Certificate(#[source] rustls_pki_types::pem::Error),
    #[error("the key cannot be read")]
    Key(#[source] rcgen::Error),
    #[error("the certificate is not an X.509 certificate")]
    NotX509,
    #[error("the key does not belong to the certificate")]
    KeyOfAnother,
    #[error("the date {0} is out of range")]
    Date(Timestamp),
}

/// Why a kept certificate does not serve any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stale {
    #[error("it cannot be read")]
    Unreadable,
    #[error("its key is another's")]
    KeyOfAnother,
    #[error("it is signed by another CA")]
    Issuer,
    #[error("it is for another user")]
    Subject,
    #[error("the names it must carry have changed")]
    Names,
    #[error("it ends soon or has ended")]
    Ends,
}

/// What a leaf certificate is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub name: String,
    pub group: Option<String>,
    pub purpose: Purpose,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    Client,
    Serving(ServingNames),
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate_pem: String,
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

impl Identity {
    pub fn certificate(&self) -> Result<CertificateDer<'static>, AuthorityError> {
        CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).map_err(AuthorityError::Certificate)
    }

    pub fn key(&self) -> Result<PrivateKeyDer<'static>, AuthorityError> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(AuthorityError::Certificate)
    }
}

pub struct Authority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn generate(now: Timestamp) -> Result<Authority, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let key_pem = key.serialize_pem();
        let mut params = params(CA_NAME, None, now, CA_YEARS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(AuthorityError::Make)?;
        Authority::from_pem(certificate.pem(), &key_pem)
    }

    pub fn from_pem(certificate_pem: String, key_pem: &str) -> Result<Authority, AuthorityError> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(AuthorityError::Certificate)?;
        let key = KeyPair::from_pem(key_pem).map_err(AuthorityError::Key)?;
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| AuthorityError::NotX509)?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
            return Err(AuthorityError::KeyOfAnother);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(AuthorityError::Make)?;
        Ok(Authority { certificate, certificate_pem, key_pem: key_pem.to_owned(), issuer })
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// For who signs certificate requests.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// A new key and a certificate for it, valid from yesterday (clocks differ) for a year.
    pub fn issue(&self, leaf: &Leaf, now: Timestamp) -> Result<Identity, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let mut params = params(&leaf.name, leaf.group.as_deref(), now, LEAF_YEARS)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        match &leaf.purpose {
            Purpose::Client => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            Purpose::Serving(names) => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                let dns = names
                    .dns
                    .iter()
                    .map(|name| name.as_str().try_into().map(SanType::DnsName).map_err(AuthorityError::Make));
                let addresses = names.addresses.iter().map(|address| Ok(SanType::IpAddress(*address)));
                params.subject_alt_names = dns.chain(addresses).collect::<Result<_, AuthorityError>>()?;
            }
        }
        let certificate = params.signed_by(&key, &self.issuer).map_err(AuthorityError::Make)?;
        Ok(Identity { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// A kept certificate, if it says what `leaf` says, is ours and has time left.
    pub(super) fn reuse(
        &self,
        certificate_pem: String,
        key_pem: String,
        leaf: &Leaf,
        now: Timestamp,
    ) -> Result<Identity, Stale> {
        let identity = Identity { certificate_pem, key_pem };
        let der = identity.certificate().map_err(|_| Stale::Unreadable)?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| Stale::Unreadable)?;
        let key = KeyPair::from_pem(&identity.key_pem).map_err(|_| Stale::Unreadable)?;
        if certificate.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
            return Err(Stale::KeyOfAnother);
        }
        let (_, ca) = X509Certificate::from_der(&self.certificate).map_err(|_| Stale::Issuer)?;
        if certificate.verify_signature(Some(ca.public_key())).is_err() {
            return Err(Stale::Issuer);
        }
        let user = authn::user_from_certificate(&der).map_err(|_| Stale::Unreadable)?;
        if user.name != leaf.name || !leaf.group.iter().all(|group| user.is_in(group)) {
            return Err(Stale::Subject);
        }
        let names = serving_names(&certificate);
        let wanted = match &leaf.purpose {
            Purpose::Client => ServingNames::default(),
            Purpose::Serving(names) => names.clone(),
        };
        if names != wanted {
            return Err(Stale::Names);
        }
        let left = certificate.validity().not_after.timestamp() - now.as_second();
        if left < RENEW_DAYS * 24 * 60 * 60 {
            return Err(Stale::Ends);
        }
        Ok(identity)
    }
}

/// A fresh ECDSA P-256 key as PKCS #8 PEM.
pub(crate) fn new_key_pem() -> Result<String, AuthorityError> {
    Ok(KeyPair::generate().map_err(AuthorityError::Make)?.serialize_pem())
}

fn params(
    name: &str,
    group: Option<&str>,
    now: Timestamp,
    years: i16,
) -> Result<CertificateParams, AuthorityError> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let out_of_range = |_| AuthorityError::Date(now);
    let begin = today.checked_sub(Span::new().days(1)).map_err(out_of_range)?;
    let end = today.checked_add(Span::new().years(years)).map_err(out_of_range)?;
    let date = |date: jiff::civil::Date| {
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let mut params = CertificateParams::default();
    params.not_before = date(begin);
    params.not_after = date(end);
    params.distinguished_name = DistinguishedName::new();
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn serving_names(certificate: &X509Certificate<'_>) -> ServingNames {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let mut found = ServingNames { dns: BTreeSet::new(), addresses: BTreeSet::new() };
    for name in names {
        match name {
            GeneralName::DNSName(name) => {
                found.dns.insert((*name).to_owned());
            }
            GeneralName::IPAddress(bytes) => {
                let address = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let address = address.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                found.addresses.extend(address);
            }
            // None of ours; its presence does not hurt.
            _ => {}
        }
    }
    found
}
