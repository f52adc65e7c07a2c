//! One certificate by request: made, posted, waited for.
//!
//! Upstream: k8s.io/client-go/util/certificate. A new key for each request; the old one goes on until the new one is
//! there. Renewed after four fifths of its life (upstream: at a random moment between 70 and 90 %).

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use process::Clock;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{JoinError, material};

const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";
/// How often an open request is looked at: first soon, then ever less often.
const LOOK_AGAIN_MS_MIN: u64 = 100;
const LOOK_AGAIN_MS_MAX: u64 = 10_000;

/// What a node asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// To be known to the API server as this node.
    Client,
    /// To be known to the API server's own calls, under these addresses.
    Serving { addresses: Vec<IpAddr> },
}

/// A certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Certified {
    pub certificate_pem: String,
    pub key_pem: String,
}

/// From when to when a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl std::fmt::Debug for Certified {
    /// The key stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certified").finish_non_exhaustive()
    }
}

impl Certified {
    pub fn validity(&self) -> Result<Validity, JoinError> {
        let certificate = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes())
            .map_err(material("certificate"))?;
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(material("certificate"))?;
        let at = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(material("certificate"))
        };
        Ok(Validity { from: at(parsed.validity().not_before)?, until: at(parsed.validity().not_after)? })
    }
}

/// When a certificate is to be renewed.
pub fn renewal_at(validity: Validity) -> Timestamp {
    let life_seconds = validity.until.as_second().saturating_sub(validity.from.as_second());
    let seconds = validity.from.as_second().saturating_add(life_seconds / 5 * 4);
    Timestamp::from_second(seconds).unwrap_or(validity.until)
}

/// Asks with this client and waits until the request is signed or refused.
pub async fn certify(
    client: &kube::Client,
    node_name: &str,
    wanted: &Wanted,
    clock: &dyn Clock,
) -> Result<Certified, JoinError> {
    let key = KeyPair::generate().map_err(material("new key"))?;
    let request = request(node_name, wanted, &key)?;
    let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
    let asked = requests.create(&PostParams::default(), &request).await;
    let asked = asked.map_err(|error| JoinError::Ask(Box::new(error)))?;
    let name = asked.metadata.name.clone().unwrap_or_default();
    tracing::info!(request = name, node = node_name, "a certificate was asked for");
    let mut pause_ms = LOOK_AGAIN_MS_MIN;
    loop {
        clock.sleep(Duration::from_millis(pause_ms)).await;
        pause_ms = (pause_ms * 2).min(LOOK_AGAIN_MS_MAX);
        let now = match requests.get_opt(&name).await {
            Ok(Some(now)) => now,
            Ok(None) => return Err(JoinError::Gone { name }),
            Err(error) => {
                tracing::debug!(request = name, %error, "the request cannot be looked at now");
                continue;
            }
        };
        let status = now.status.unwrap_or_default();
        if let Some(refusal) = refusal(status.conditions.as_deref().unwrap_or_default()) {
            return Err(JoinError::Refused { name, message: refusal });
        }
        if let Some(certificate) = status.certificate.filter(|certificate| !certificate.0.is_empty()) {
            let certificate_pem = String::from_utf8(certificate.0).map_err(material("signed certificate"))?;
            return Ok(Certified { certificate_pem, key_pem: key.serialize_pem() });
        }
    }
}

fn refusal(conditions: &[CertificateSigningRequestCondition]) -> Option<String> {
    let refused = conditions.iter().find(|one| matches!(one.type_.as_str(), "Denied" | "Failed"))?;
    Some(format!("{}: {}", refused.type_, refused.message.as_deref().unwrap_or_default()))
}

fn request(node_name: &str, wanted: &Wanted, key: &KeyPair) -> Result<CertificateSigningRequest, JoinError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("system:node:{node_name}"));
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    let (signer, usage) = match wanted {
        Wanted::Client => (CLIENT_SIGNER, "client auth"),
        Wanted::Serving { addresses } => {
            let name = node_name.try_into().map_err(material("node's name"))?;
            params.subject_alt_names.push(SanType::DnsName(name));
            params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
            (SERVING_SIGNER, "server auth")
        }
    };
    let pem = params.serialize_request(key).and_then(|request| request.pem()).map_err(material("request"))?;
    Ok(CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some("csr-".to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(pem.into_bytes()),
            signer_name: signer.to_owned(),
            usages: Some(vec!["digital signature".to_owned(), usage.to_owned()]),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    })
}

#[cfg(test)]
mod tests {
    use x509_parser::certification_request::X509CertificationRequest;

    use super::*;

    #[test]
    fn renewed_after_four_fifths_of_its_life() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(renewal_at(Validity { from: at(1_000), until: at(2_000) }), at(1_800));
        assert_eq!(renewal_at(Validity { from: at(10), until: at(5) }), at(6), "nonsense is renewed at once");
    }

    #[test]
    fn request_is_the_nodes_and_for_one_purpose() {
        let key = KeyPair::generate().unwrap();
        let serving = Wanted::Serving { addresses: vec!["10.0.0.7".parse().unwrap()] };
        for (wanted, signer, names) in [(Wanted::Client, CLIENT_SIGNER, 0), (serving, SERVING_SIGNER, 2)] {
            let made = request("n1", &wanted, &key).unwrap();
            assert_eq!(made.spec.signer_name, signer);
            let pem = x509_parser::pem::parse_x509_pem(&made.spec.request.0).unwrap().1;
            let (_, parsed) = X509CertificationRequest::from_der(&pem.contents).unwrap();
            let subject = &parsed.certification_request_info.subject;
            assert_eq!(subject.iter_common_name().next().unwrap().as_str().unwrap(), "system:node:n1");
            assert_eq!(subject.iter_organization().next().unwrap().as_str().unwrap(), "system:nodes");
            let extensions = parsed.requested_extensions().into_iter().flatten();
            let found: usize = extensions
                .map(|extension| match extension {
                    x509_parser::extensions::ParsedExtension::SubjectAlternativeName(all) => {
                        all.general_names.len()
                    }
                    _ => 0,
                })
                .sum();
            assert_eq!(found, names);
        }
    }

    #[test]
    fn refusals_are_told_with_their_words() {
        let condition = |type_: &str| CertificateSigningRequestCondition {
            type_: type_.to_owned(),
            message: Some("not you".to_owned()),
            ..Default::default()
        };
        assert_eq!(refusal(&[condition("Approved")]), None);
        assert_eq!(refusal(&[condition("Denied")]).as_deref(), Some("Denied: not you"));
    }
}
