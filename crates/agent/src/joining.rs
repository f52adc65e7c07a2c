//! How a machine becomes a node of a cluster: it finds the cluster's CA by its hash, asks for a certificate with its
//! token, and renews what it got before it ends.
//!
//! Upstream: the kubelet's TLS bootstrap and certificate manager, kubeadm's discovery by hash. The token is shown to a
//! server only after its certificate was checked against the CA whose hash the operator has given.
//! It does not know where files lie or what a flag is called.

mod authority;
mod certificate;
mod rotating;

pub use authority::{CaHash, CaHashError, find_ca};
pub use certificate::{Certified, Validity, Wanted, certify, renewal_at};
pub use rotating::Rotating;

/// Why a machine does not become a node. The text is for its operator.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("{0:?} is not the URL of an API server: it looks like https://HOST:6443")]
    Server(String),
    #[error("connect to {server}")]
    Connect {
        server: String,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{server} shows no certificate authority with the hash {wanted}; it shows {shown}. Copy the hash that `everynode token create` prints on the server"
    )]
    Hash { server: String, wanted: String, shown: String },
    #[error("{what} cannot be used")]
    Material {
        what: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("ask for a certificate")]
    Ask(#[source] Box<kube::Error>),
    #[error("the request {name} for a certificate was refused: {message}")]
    Refused { name: String, message: String },
    #[error("the request {name} for a certificate is gone before it was signed")]
    Gone { name: String },
}

fn material<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    what: &'static str,
) -> impl FnOnce(E) -> JoinError {
    move |source| JoinError::Material { what, source: source.into() }
}
