//! The text of a kubeconfig with everything in it, for kubectl and client libraries.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Identity;

/// One cluster, one user, one context that joins them and is current.
/// `server` is a URL such as `https://127.0.0.1:6443`; `user` names the entry, not who the certificate is.
pub fn kubeconfig(server: &str, ca_pem: &str, user: &str, identity: &Identity) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let ca = STANDARD.encode(ca_pem);
    let certificate = STANDARD.encode(&identity.certificate_pem);
    let key = STANDARD.encode(&identity.key_pem);
    let (server, user) = (quoted(server), quoted(user));
    // A JSON string is a YAML string, whatever is in it.
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: everynode\n\
         \x20 cluster:\n\
         \x20   server: {server}\n\
         \x20   certificate-authority-data: {ca}\n\
         users:\n\
         - name: {user}\n\
         \x20 user:\n\
         \x20   client-certificate-data: {certificate}\n\
         \x20   client-key-data: {key}\n\
         contexts:\n\
         - name: everynode\n\
         \x20 context:\n\
         \x20   cluster: everynode\n\
         \x20   user: {user}\n\
         current-context: everynode\n"
    )
}
