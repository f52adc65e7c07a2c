//! The signing key, and the three parts of a signed token (RFC 7515, compact, `ES256`).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use sha2::{Digest, Sha256};

pub(super) const ALGORITHM: &str = "ES256";
/// Longest token that is looked at: the longest of ours, with names at their limits, has less than a third of it.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// What stands before a P-256 point in its SubjectPublicKeyInfo.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the service accounts' key is no PEM of a PKCS #8 key")]
    Pem(#[source] rustls_pki_types::pem::Error),
    #[error("the service accounts' key is no ECDSA P-256 key: {0}")]
    NotP256(String),
    #[error("no randomness for a key or a signature")]
    Random,
    #[error("a token cannot be encoded")]
    Encode,
}

/// An ECDSA P-256 key.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    /// Upstream's: the SHA-256 of the public key.
    id: String,
    random: SystemRandom,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

impl SigningKey {
    pub fn from_pem(pem: &str) -> Result<SigningKey, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(KeyError::Pem)?;
        SigningKey::from_pkcs8(der.secret_pkcs8_der())
    }

    pub fn generate() -> Result<SigningKey, KeyError> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| KeyError::Random)?;
        SigningKey::from_pkcs8(pkcs8.as_ref())
    }

    fn from_pkcs8(der: &[u8]) -> Result<SigningKey, KeyError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
            .map_err(|why| KeyError::NotP256(why.to_string()))?;
        let mut hash = Sha256::new();
        hash.update(P256_PREFIX);
        hash.update(pair.public_key().as_ref());
        Ok(SigningKey { id: BASE64.encode(hash.finalize()), pair, random })
    }

    pub(super) fn sign(&self, payload: &[u8]) -> Result<String, KeyError> {
        let header = format!("{{\"alg\":\"{ALGORITHM}\",\"kid\":\"{}\"}}", self.id);
        let mut token = BASE64.encode(header);
        token.push('.');
        BASE64.encode_string(payload, &mut token);
        let signature = self.pair.sign(&self.random, token.as_bytes()).map_err(|_| KeyError::Random)?;
        token.push('.');
        BASE64.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }

    /// The payload of a token that this key has signed.
    pub(super) fn verify(&self, token: &str) -> Option<Vec<u8>> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&BASE64.decode(header).ok()?).ok()?;
        if header.alg != ALGORITHM {
            return None;
        }
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        public.verify(signed.as_bytes(), &BASE64.decode(signature).ok()?).ok()?;
        BASE64.decode(payload).ok()
    }

    /// `/openid/v1/jwks`
    pub fn published(&self) -> serde_json::Value {
        let point = self.pair.public_key().as_ref();
        // An uncompressed point: a leading 4, then both coordinates.
        let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
        serde_json::json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": ALGORITHM,
            "x": BASE64.encode(x), "y": BASE64.encode(y),
        }]})
    }
}
