//! [`SigningKey`]: an elliptic key (P-256) that signs tokens by ES256.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use ring::digest::{SHA256, digest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read the service account key: {0}")]
    Unreadable(String),
    #[error("the service account key is not an elliptic key on the curve P-256")]
    Algorithm,
}

/// A private key and what is needed to check its signatures. Never shown in full.
pub struct SigningKey {
    /// Names the key in tokens and in the key set.
    id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// The point, without compression: 0x04, x, y.
    point: Vec<u8>,
    pem: String,
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unreadable)?;
        Self::of(&pair)
    }

    /// Reads a key from PKCS #8 in PEM.
    ///
    /// # Errors
    /// When it cannot be read or is of another sort.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        Self::of(&KeyPair::from_pem(pem).map_err(unreadable)?)
    }

    fn of(pair: &KeyPair) -> Result<Self, KeyError> {
        if !pair.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            return Err(KeyError::Algorithm);
        }
        let pem = pair.serialize_pem();
        let point = pair.der_bytes().to_vec();
        // The name is derived from the public key, as upstream does.
        let id = digest(&SHA256, &pair.subject_public_key_info());
        Ok(Self {
            id: BASE64_URL_SAFE_NO_PAD.encode(id),
            encoding: EncodingKey::from_ec_pem(pem.as_bytes()).map_err(unreadable)?,
            decoding: DecodingKey::from_ec_der(&point),
            point,
            pem,
        })
    }

    /// The private key as PKCS #8 in PEM, to be kept in a file that nobody else reads.
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn sign(&self, claims: &impl Serialize) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = None;
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding)
    }

    /// What the token says if this key signed it. Times, issuer and audience are for the caller to check.
    pub(super) fn check<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        jsonwebtoken::decode(token, &self.decoding, &validation).ok().map(|data| data.claims)
    }

    /// The public key as a member of a JSON Web Key Set.
    pub(super) fn jwk(&self) -> Value {
        let (x, y) = self.point[1..].split_at((self.point.len() - 1) / 2);
        json!({
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": BASE64_URL_SAFE_NO_PAD.encode(x), "y": BASE64_URL_SAFE_NO_PAD.encode(y),
        })
    }
}

fn unreadable(error: impl std::fmt::Display) -> KeyError {
    KeyError::Unreadable(error.to_string())
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}
