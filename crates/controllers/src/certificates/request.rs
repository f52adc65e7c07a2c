//! What a certificate request asks for, and whether its signer takes it.
//!
//! The rules of the three signers that the API server and nodes meet: a client's certificate, a kubelet's client
//! certificate, a kubelet's serving certificate. Pure. Upstream: pkg/apis/certificates/helpers.go and the signer's
//! `isKubeletServing` and its like.

use api::certificate::{
    KUBE_APISERVER_CLIENT_KUBELET_SIGNER, KUBE_APISERVER_CLIENT_SIGNER, KUBELET_SERVING_SIGNER,
};
use std::collections::BTreeSet;
use std::net::IpAddr;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

const NODES_GROUP: &str = "system:nodes";
const NODE_USER_PREFIX: &str = "system:node:";
const CLIENT_AUTH: &str = "client auth";
const SERVER_AUTH: &str = "server auth";
const DIGITAL_SIGNATURE: &str = "digital signature";
const KEY_ENCIPHERMENT: &str = "key encipherment";

/// A request's subject and names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    pub common_name: String,
    pub organizations: Vec<String>,
    /// The names and addresses themselves, of those that are counted below.
    pub dns_names: BTreeSet<String>,
    pub ips: BTreeSet<IpAddr>,
    pub dns: usize,
    pub emails: usize,
    pub addresses: usize,
    pub uris: usize,
}

/// Why a request cannot be read or is not one for its signer. The texts are upstream's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    Pem,
    #[error("the request is not a PKCS #10 certification request")]
    Der,
    #[error("the request's signature is not its own")]
    Signature,
    #[error("subject organization is not system:nodes")]
    Organization,
    #[error("subject common name does not begin with system:node:")]
    CommonName,
    #[error("DNS subjectAltNames are not allowed")]
    Dns,
    #[error("Email subjectAltNames are not allowed")]
    Email,
    #[error("IP subjectAltNames are not allowed")]
    Address,
    #[error("URI subjectAltNames are not allowed")]
    Uri,
    #[error("DNS or IP subjectAltName is required")]
    NoName,
    #[error("usages did not match {allowed}")]
    Usages { allowed: String },
    #[error("invalid usage for client certificate: {0}")]
    UsageNotForClients(String),
    #[error("missing required usage for client certificate: client auth")]
    NoClientAuth,
}

impl Asked {
    pub fn read(pem: &[u8]) -> Result<Asked, Unfit> {
        let block = Pem::iter_from_buffer(pem).next().and_then(Result::ok).ok_or(Unfit::Pem)?;
        if block.label != "CERTIFICATE REQUEST" {
            return Err(Unfit::Pem);
        }
        let (_, request) = X509CertificationRequest::from_der(&block.contents).map_err(|_| Unfit::Der)?;
        request.verify_signature().map_err(|_| Unfit::Signature)?;
        let subject = &request.certification_request_info.subject;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().map(str::to_owned).unwrap_or_default()
        };
        let mut asked = Asked {
            // Of several the last counts, as in Go's x509.
            common_name: subject.iter_common_name().last().map(text).unwrap_or_default(),
            organizations: subject.iter_organization().map(text).collect(),
            ..Asked::default()
        };
        let extensions = request.requested_extensions().into_iter().flatten();
        for extension in extensions {
            let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(name) => {
                        asked.dns += 1;
                        asked.dns_names.insert((*name).to_owned());
                    }
                    GeneralName::RFC822Name(_) => asked.emails += 1,
                    GeneralName::IPAddress(bytes) => {
                        asked.addresses += 1;
                        asked.ips.extend(address(bytes));
                    }
                    GeneralName::URI(_) => asked.uris += 1,
                    // Go's parser does not see the others either.
                    _ => {}
                }
            }
        }
        Ok(asked)
    }

    /// A node's request for the certificate by which it is known.
    pub fn is_node_client(&self, signer: &str, usages: &[String]) -> bool {
        signer == KUBE_APISERVER_CLIENT_KUBELET_SIGNER && self.node_client(usages).is_ok()
    }

    /// A node's request for the certificate that its own API shows: the node's name.
    pub fn serving_node(&self, signer: &str, usages: &[String]) -> Option<&str> {
        let fits = signer == KUBELET_SERVING_SIGNER && self.node_serving(usages).is_ok();
        self.common_name.strip_prefix(NODE_USER_PREFIX).filter(|_| fits)
    }

    fn node(&self) -> Result<(), Unfit> {
        if self.organizations != [NODES_GROUP] {
            return Err(Unfit::Organization);
        }
        if !self.common_name.starts_with(NODE_USER_PREFIX) {
            return Err(Unfit::CommonName);
        }
        Ok(())
    }

    fn node_client(&self, usages: &[String]) -> Result<(), Unfit> {
        self.node()?;
        for (count, unfit) in [
            (self.dns, Unfit::Dns),
            (self.emails, Unfit::Email),
            (self.addresses, Unfit::Address),
            (self.uris, Unfit::Uri),
        ] {
            if count > 0 {
                return Err(unfit);
            }
        }
        exactly(usages, CLIENT_AUTH)
    }

    fn node_serving(&self, usages: &[String]) -> Result<(), Unfit> {
        self.node()?;
        if self.emails > 0 {
            return Err(Unfit::Email);
        }
        if self.uris > 0 {
            return Err(Unfit::Uri);
        }
        if self.dns == 0 && self.addresses == 0 {
            return Err(Unfit::NoName);
        }
        exactly(usages, SERVER_AUTH)
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The signature, this usage, and if wanted the encipherment of keys, which RSA needs.
fn exactly(usages: &[String], main: &str) -> Result<(), Unfit> {
    let given: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let without = BTreeSet::from([DIGITAL_SIGNATURE, main]);
    let with = BTreeSet::from([DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, main]);
    if given == without || given == with {
        return Ok(());
    }
    Err(Unfit::Usages { allowed: format!("{:?}", with.into_iter().collect::<Vec<_>>()) })
}

fn client_usages(usages: &[String]) -> Result<(), Unfit> {
    for usage in usages {
        if ![CLIENT_AUTH, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT].contains(&usage.as_str()) {
            return Err(Unfit::UsageNotForClients(usage.clone()));
        }
    }
    if usages.iter().any(|usage| usage == CLIENT_AUTH) { Ok(()) } else { Err(Unfit::NoClientAuth) }
}

/// Whether one of our signers takes the request; `None` where the signer is another's.
pub fn fits(signer: &str, asked: &Asked, usages: &[String]) -> Option<Result<(), Unfit>> {
    match signer {
        KUBE_APISERVER_CLIENT_SIGNER => Some(client_usages(usages)),
        KUBE_APISERVER_CLIENT_KUBELET_SIGNER => Some(asked.node_client(usages)),
        KUBELET_SERVING_SIGNER => Some(asked.node_serving(usages)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn pem(common_name: &str, organization: &str, names: Vec<SanType>) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.subject_alt_names = names;
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    }

    fn usages(all: &[&str]) -> Vec<String> {
        all.iter().map(|usage| (*usage).to_owned()).collect()
    }

    #[test]
    fn each_signer_takes_its_own_requests_only() {
        let dns = || vec![SanType::DnsName("n1".try_into().unwrap())];
        let client = [DIGITAL_SIGNATURE, CLIENT_AUTH];
        let serving = [DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, SERVER_AUTH];
        let (kubelet, kubelet_serving, any) =
            (KUBE_APISERVER_CLIENT_KUBELET_SIGNER, KUBELET_SERVING_SIGNER, KUBE_APISERVER_CLIENT_SIGNER);
        for (signer, name, organization, names, asked, said) in [
            (kubelet, "system:node:n1", "system:nodes", vec![], &client[..], "ok"),
            (kubelet, "system:node:n1", "nodes", vec![], &client, "subject organization is not system:nodes"),
            (
                kubelet,
                "n1",
                "system:nodes",
                vec![],
                &client,
                "subject common name does not begin with system:node:",
            ),
            (
                kubelet,
                "system:node:n1",
                "system:nodes",
                dns(),
                &client,
                "DNS subjectAltNames are not allowed",
            ),
            (
                kubelet,
                "system:node:n1",
                "system:nodes",
                vec![],
                &serving,
                "usages did not match [\"client auth\", \"digital signature\", \"key encipherment\"]",
            ),
            (kubelet_serving, "system:node:n1", "system:nodes", dns(), &serving, "ok"),
            (
                kubelet_serving,
                "system:node:n1",
                "system:nodes",
                vec![],
                &serving,
                "DNS or IP subjectAltName is required",
            ),
            (
                kubelet_serving,
                "system:node:n1",
                "system:nodes",
                vec![SanType::URI("spiffe://a".try_into().unwrap())],
                &serving,
                "URI subjectAltNames are not allowed",
            ),
            (any, "anna", "people", vec![], &client, "ok"),
            (any, "anna", "people", vec![], &serving, "invalid usage for client certificate: server auth"),
            (
                any,
                "anna",
                "people",
                vec![],
                &client[..1],
                "missing required usage for client certificate: client auth",
            ),
        ] {
            let read = Asked::read(pem(name, organization, names).as_bytes()).unwrap();
            let found = fits(signer, &read, &usages(asked)).unwrap();
            assert_eq!(found.map_or_else(|why| why.to_string(), |()| "ok".to_owned()), said);
        }
        assert_eq!(fits("example.com/own", &Asked::default(), &[]), None);
    }

    #[test]
    fn what_is_no_request_is_not_read() {
        let whole = pem("anna", "people", vec![]);
        let mut parts = Pem::iter_from_buffer(whole.as_bytes()).next().unwrap().unwrap().contents;
        for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(Asked::read(text.as_bytes()).unwrap_err(), Unfit::Pem);
        }
        // The name changes, the signature does not.
        let at = parts.windows(4).position(|bytes| bytes == b"anna").unwrap();
        parts[at] = b'h';
        let forged = rcgen_pem(&parts);
        assert_eq!(Asked::read(forged.as_bytes()).unwrap_err(), Unfit::Signature);
    }

    fn rcgen_pem(der: &[u8]) -> String {
        let encoded = serde_json::to_value(k8s_openapi::ByteString(der.to_vec())).unwrap();
        let encoded = encoded.as_str().unwrap();
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{encoded}\n-----END CERTIFICATE REQUEST-----\n")
    }
}
