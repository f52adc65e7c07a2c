//! Who may call: read from the client's certificate, which the TLS layer has already checked against the CA.

use x509_parser::prelude::{FromDer, X509Certificate};

/// Members may do everything.
const MASTERS: &str = "system:masters";
/// The API server's identity towards nodes.
const API_SERVER: &str = "kube-apiserver-kubelet-client";

/// Whether the certificate's subject may use this API.
pub fn may_call(certificate_der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate_der) else { return false };
    let subject = certificate.subject();
    let is_master =
        subject.iter_organization().filter_map(|name| name.as_str().ok()).any(|name| name == MASTERS);
    let is_api_server =
        subject.iter_common_name().filter_map(|name| name.as_str().ok()).any(|name| name == API_SERVER);
    is_master || is_api_server
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(common_name: &str, organization: &str) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn masters_and_the_api_server_may_call_and_nodes_may_not() {
        assert!(may_call(&certificate("kubernetes-admin", "system:masters")));
        assert!(may_call(&certificate("kube-apiserver-kubelet-client", "x")));
        assert!(!may_call(&certificate("system:node:n1", "system:nodes")));
        assert!(!may_call(b"nonsense"));
    }
}
