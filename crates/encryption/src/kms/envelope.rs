//! [`Envelope`]: what lies in the store: an encrypted value, and the encrypted seed of its key. [`Seed`] encrypts and
//! decrypts: for each value a key is derived from the seed and random bytes, which lie before the value.
//!
//! Source of the bytes: upstream's `encrypt/envelope/kmsv2/v2/api.proto` and `encrypt/aes/aes_extended_nonce.go`.

use std::collections::BTreeMap;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use prost::Message;
use ring::hmac;

const NONCE: usize = 12;
/// The bytes before a value, of which its key is derived.
const INFO: usize = 32;
const SEED: usize = 32;
const MAX_KEY_ID: usize = 1024;
const MAX_SEED: usize = 1024;
const MAX_ANNOTATIONS: usize = 32 * 1024;

/// An encrypted seed, and what the service needs to decrypt it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub key_id: String,
    pub encrypted: Vec<u8>,
    pub annotations: BTreeMap<String, Vec<u8>>,
    /// Whether keys are derived from it; else it is the key itself, as early servers of upstream wrote.
    pub is_seed: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub source: Source,
    pub data: Vec<u8>,
}

/// The message as it lies in the store.
#[derive(Clone, PartialEq, Message)]
struct EncryptedObject {
    #[prost(bytes = "vec", tag = "1")]
    encrypted_data: Vec<u8>,
    #[prost(string, tag = "2")]
    key_id: String,
    #[prost(bytes = "vec", tag = "3")]
    encrypted_dek_source: Vec<u8>,
    #[prost(btree_map = "string, bytes", tag = "4")]
    annotations: BTreeMap<String, Vec<u8>>,
    /// 0: a key for AES-GCM; 1: a seed for HKDF with SHA-256.
    #[prost(int32, tag = "5")]
    encrypted_dek_source_type: i32,
}

/// What is wrong with the name that a service gives to its key.
pub(super) fn check_key_id(id: &str) -> Result<(), String> {
    match id.len() {
        0 => Err("keyID is empty".to_owned()),
        length if length > MAX_KEY_ID => {
            Err(format!("keyID is {length} bytes, which exceeds the max size of {MAX_KEY_ID}"))
        }
        _ => Ok(()),
    }
}

impl Source {
    /// What is wrong with a source.
    pub fn check(&self) -> Result<(), String> {
        let length = self.encrypted.len();
        if length == 0 {
            return Err("failed to validate encrypted DEK source: encrypted DEK source is empty".to_owned());
        }
        if length > MAX_SEED {
            return Err(format!(
                "failed to validate encrypted DEK source: encrypted DEK source is {length} bytes, which exceeds the \
                 max size of {MAX_SEED}"
            ));
        }
        check_key_id(&self.key_id).map_err(|why| format!("failed to validate key id: {why}"))?;
        let size: usize = self.annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
        let wrong = self.annotations.keys().find(|key| !key.contains('.') || !api_names_subdomain(key));
        if let Some(key) = wrong {
            return Err(format!(
                "failed to validate annotations: annotations: Invalid value: {key:?}: should be a domain with at least \
                 two segments separated by dots"
            ));
        }
        if size > MAX_ANNOTATIONS {
            return Err(format!(
                "failed to validate annotations: total size of annotations is {size}, which exceeds the max size of \
                 {MAX_ANNOTATIONS}"
            ));
        }
        Ok(())
    }

    /// Whether what either encrypts is encrypted alike: by the same key of the service.
    pub fn is_by_key_of(&self, other: &Source) -> bool {
        self.key_id == other.key_id && self.is_seed == other.is_seed
    }
}

/// A domain in lower case.
fn api_names_subdomain(name: &str) -> bool {
    let label = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

impl Envelope {
    pub fn encode(self) -> Vec<u8> {
        let Source { key_id, encrypted, annotations, is_seed } = self.source;
        let message = EncryptedObject {
            encrypted_data: self.data,
            key_id,
            encrypted_dek_source: encrypted,
            annotations,
            encrypted_dek_source_type: i32::from(is_seed),
        };
        message.encode_to_vec()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let message = EncryptedObject::decode(bytes).map_err(|error| error.to_string())?;
        let is_seed = match message.encrypted_dek_source_type {
            0 => false,
            1 => true,
            other => return Err(format!("unknown encryptedDEKSourceType: {other}")),
        };
        if message.encrypted_data.is_empty() {
            return Err("encrypted data is empty".to_owned());
        }
        let source = Source {
            key_id: message.key_id,
            encrypted: message.encrypted_dek_source,
            annotations: message.annotations,
            is_seed,
        };
        source.check()?;
        Ok(Self { source, data: message.encrypted_data })
    }
}

/// What keys are made of. Never shown.
pub(super) enum Seed {
    Derives(hmac::Key),
    /// The key of all values, in the way of early servers.
    Key(Box<Aes256Gcm>),
}

impl Seed {
    /// A new one, and its bytes for the service.
    pub fn make() -> (Self, [u8; SEED]) {
        let secret = base::random::bytes::<SEED>();
        (Self::Derives(hmac::Key::new(hmac::HMAC_SHA256, &secret)), secret)
    }

    /// One that the service has decrypted.
    pub fn read(source: &Source, secret: Vec<u8>) -> Result<Self, String> {
        if !source.is_seed {
            let key = Aes256Gcm::new_from_slice(&secret);
            let key = key.map_err(|_| format!("crypto/aes: invalid key size {}", secret.len()))?;
            return Ok(Self::Key(Box::new(key)));
        }
        if secret.len() < SEED {
            return Err(format!("invalid seed length {} used for key generation", secret.len()));
        }
        Ok(Self::Derives(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// The key of a value: HKDF-Expand (RFC 5869) of one block.
    fn derived(key: &hmac::Key, info: &[u8; INFO]) -> Option<Aes256Gcm> {
        let mut context = hmac::Context::with_key(key);
        context.update(info);
        context.update(&[1]);
        Aes256Gcm::new_from_slice(context.sign().as_ref()).ok()
    }

    /// `None` where the seed only reads, or the value is too large for the cipher.
    pub fn seal(&self, key: &str, value: &[u8]) -> Option<Vec<u8>> {
        let Self::Derives(secret) = self else { return None };
        let (info, nonce) = (base::random::bytes::<INFO>(), base::random::bytes::<NONCE>());
        let payload = Payload { msg: value, aad: key.as_bytes() };
        let sealed = Self::derived(secret, &info)?.encrypt(&nonce.into(), payload).ok()?;
        Some([&info[..], &nonce[..], &sealed].concat())
    }

    pub fn open(&self, key: &str, data: &[u8]) -> Result<Vec<u8>, String> {
        let short = || "the stored data was shorter than the required size".to_owned();
        let refused = || "cipher: message authentication failed".to_owned();
        let payload = |sealed| Payload { msg: sealed, aad: key.as_bytes() };
        match self {
            Self::Key(cipher) => {
                let (nonce, sealed) = data.split_first_chunk::<NONCE>().ok_or_else(short)?;
                cipher.decrypt(&(*nonce).into(), payload(sealed)).map_err(|_| refused())
            }
            Self::Derives(secret) => {
                let (info, rest) = data.split_first_chunk::<INFO>().ok_or_else(short)?;
                let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or_else(short)?;
                let cipher = Self::derived(secret, info).ok_or_else(refused)?;
                cipher.decrypt(&(*nonce).into(), payload(sealed)).map_err(|_| refused())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_derived_as_hkdf_expands() {
        let secret: Vec<u8> = (0..32).collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let mut context = hmac::Context::with_key(&key);
        context.update(&[7; INFO]);
        context.update(&[1]);
        let ours = context.sign();
        struct Length;
        impl ring::hkdf::KeyType for Length {
            fn len(&self) -> usize {
                32
            }
        }
        let expander = ring::hkdf::Prk::new_less_safe(ring::hkdf::HKDF_SHA256, &secret);
        let mut expanded = [0; 32];
        let info = [&[7; INFO][..]];
        expander.expand(&info, Length).and_then(|key| key.fill(&mut expanded)).expect("expanded");
        assert_eq!(ours.as_ref(), expanded);
    }

    fn source() -> Source {
        Source {
            key_id: "key-1".to_owned(),
            encrypted: b"sealed".to_vec(),
            annotations: BTreeMap::from([("a.example.com".to_owned(), b"x".to_vec())]),
            is_seed: true,
        }
    }

    /// The bytes, field by field, as protobuf writes upstream's message.
    #[test]
    fn envelopes_have_upstreams_bytes() {
        let envelope = Envelope { source: source(), data: b"data".to_vec() };
        let bytes = envelope.encode();
        let wanted = b"\x0a\x04data\x12\x05key-1\x1a\x06sealed\x22\x12\x0a\x0da.example.com\x12\x01x\x28\x01";
        assert_eq!(bytes, wanted);
        assert_eq!(Envelope::decode(&bytes), Ok(Envelope { source: source(), data: b"data".to_vec() }));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let wrong = |change: fn(&mut Envelope)| {
            let mut envelope = Envelope { source: source(), data: b"data".to_vec() };
            change(&mut envelope);
            Envelope::decode(&envelope.encode()).expect_err("refused")
        };
        assert_eq!(wrong(|envelope| envelope.data.clear()), "encrypted data is empty");
        assert!(wrong(|envelope| envelope.source.key_id.clear()).ends_with("keyID is empty"));
        assert!(wrong(|envelope| envelope.source.key_id = "k".repeat(1025)).contains("1025 bytes"));
        assert!(wrong(|envelope| envelope.source.encrypted.clear()).ends_with("DEK source is empty"));
        assert!(wrong(|envelope| envelope.source.encrypted = vec![0; 1025]).contains("1025 bytes"));
        assert!(
            wrong(|envelope| {
                envelope.source.annotations.insert("odd".to_owned(), Vec::new());
            })
            .contains("\"odd\"")
        );
        assert!(Envelope::decode(b"\xff\xff").is_err());
        let (seed, _) = Seed::make();
        let sealed = seed.seal("/key", b"value").expect("sealed");
        assert_eq!(seed.open("/key", &sealed), Ok(b"value".to_vec()));
        assert!(seed.open("/other", &sealed).is_err() && seed.open("/key", &sealed[..40]).is_err());
        assert!(Seed::read(&source(), vec![0; 31]).is_err());
    }
}
