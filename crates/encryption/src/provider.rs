//! [`Provider`]: one way to encrypt, with its keys. What is written begins with the way and the key's name, so that it
//! is known how to read it: `k8s:enc:aescbc:v1:key1:` and the bytes.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};

use std::sync::Arc;

use crate::kms::{Kms, Opened};
use crate::secretbox;

/// What everything encrypted begins with.
const ENCRYPTED: &[u8] = b"k8s:enc:";
const GCM_NONCE: usize = 12;
const BLOCK: usize = 16;

type Aes192Gcm = AesGcm<Aes192, U12>;

/// How bytes are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    AesGcm,
    AesCbc,
    Secretbox,
}

impl Cipher {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AesGcm => "aesgcm",
            Self::AesCbc => "aescbc",
            Self::Secretbox => "secretbox",
        }
    }

    /// How long a key may be, in bytes.
    pub(crate) fn key_sizes(self) -> &'static [usize] {
        match self {
            Self::AesGcm | Self::AesCbc => &[16, 24, 32],
            Self::Secretbox => &[32],
        }
    }
}

/// A key and what values begin with that it encrypted.
#[derive(Clone)]
pub(crate) struct Key {
    cipher: Cipher,
    prefix: Vec<u8>,
    secret: Vec<u8>,
}

/// One entry of the list of providers. Never shown: it holds keys.
#[derive(Clone)]
pub(crate) enum Provider {
    /// The first key writes.
    Keys(Vec<Key>),
    /// A key management service.
    Kms(Arc<Kms>),
    /// Values as they are.
    Identity,
}

/// What came of reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub value: Vec<u8>,
    /// It would be written otherwise now.
    pub outdated: bool,
}

impl Key {
    /// A key of a size that the cipher takes.
    pub(crate) fn new(cipher: Cipher, name: &str, secret: Vec<u8>) -> Self {
        let prefix = format!("k8s:enc:{}:v1:{name}:", cipher.name()).into_bytes();
        Self { cipher, prefix, secret }
    }

    fn seal(&self, key: &str, value: &[u8]) -> Option<Vec<u8>> {
        let sealed = match self.cipher {
            Cipher::AesGcm => {
                let nonce = base::random::bytes::<GCM_NONCE>();
                let payload = Payload { msg: value, aad: key.as_bytes() };
                let sealed = match self.secret.len() {
                    16 => Aes128Gcm::new_from_slice(&self.secret).ok()?.encrypt(&nonce.into(), payload),
                    24 => Aes192Gcm::new_from_slice(&self.secret).ok()?.encrypt(&nonce.into(), payload),
                    _ => Aes256Gcm::new_from_slice(&self.secret).ok()?.encrypt(&nonce.into(), payload),
                };
                [&nonce[..], &sealed.ok()?].concat()
            }
            Cipher::AesCbc => {
                let iv = base::random::bytes::<BLOCK>();
                let sealed = match self.secret.len() {
                    16 => cbc_seal::<Aes128>(&self.secret, &iv, value),
                    24 => cbc_seal::<Aes192>(&self.secret, &iv, value),
                    _ => cbc_seal::<Aes256>(&self.secret, &iv, value),
                };
                [&iv[..], &sealed?].concat()
            }
            Cipher::Secretbox => {
                let nonce = base::random::bytes::<{ secretbox::NONCE }>();
                [&nonce[..], &secretbox::seal(self.secret.as_slice().try_into().ok()?, &nonce, value)]
                    .concat()
            }
        };
        Some([self.prefix.as_slice(), &sealed].concat())
    }

    /// `None` when the bytes are not what the key has encrypted for this key of the store.
    fn open(&self, key: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        match self.cipher {
            Cipher::AesGcm => {
                let (nonce, sealed) = sealed.split_first_chunk::<GCM_NONCE>()?;
                let payload = Payload { msg: sealed, aad: key.as_bytes() };
                let nonce = (*nonce).into();
                match self.secret.len() {
                    16 => Aes128Gcm::new_from_slice(&self.secret).ok()?.decrypt(&nonce, payload),
                    24 => Aes192Gcm::new_from_slice(&self.secret).ok()?.decrypt(&nonce, payload),
                    _ => Aes256Gcm::new_from_slice(&self.secret).ok()?.decrypt(&nonce, payload),
                }
                .ok()
            }
            Cipher::AesCbc => {
                let (iv, sealed) = sealed.split_first_chunk::<BLOCK>()?;
                match self.secret.len() {
                    16 => cbc_open::<Aes128>(&self.secret, iv, sealed),
                    24 => cbc_open::<Aes192>(&self.secret, iv, sealed),
                    _ => cbc_open::<Aes256>(&self.secret, iv, sealed),
                }
            }
            Cipher::Secretbox => {
                let (nonce, sealed) = sealed.split_first_chunk::<{ secretbox::NONCE }>()?;
                secretbox::open(self.secret.as_slice().try_into().ok()?, nonce, sealed)
            }
        }
    }
}

fn cbc_seal<C>(secret: &[u8], iv: &[u8], value: &[u8]) -> Option<Vec<u8>>
where
    C: BlockCipherEncrypt + aes::cipher::KeyInit,
{
    let encryptor = cbc::Encryptor::<C>::new_from_slices(secret, iv).ok()?;
    Some(encryptor.encrypt_padded_vec::<Pkcs7>(value))
}

fn cbc_open<C>(secret: &[u8], iv: &[u8], sealed: &[u8]) -> Option<Vec<u8>>
where
    C: BlockCipherDecrypt + aes::cipher::KeyInit,
{
    let decryptor = cbc::Decryptor::<C>::new_from_slices(secret, iv).ok()?;
    decryptor.decrypt_padded_vec::<Pkcs7>(sealed).ok()
}

/// Whether a value was written by any way but `identity`.
pub(crate) fn is_encrypted(stored: &[u8]) -> bool {
    stored.starts_with(ENCRYPTED)
}

/// Encrypts with the first provider.
///
/// # Errors
/// When the bytes cannot be encrypted, which only their size can cause.
pub(crate) fn seal(providers: &[Provider], key: &str, value: &[u8]) -> Result<Vec<u8>, String> {
    match providers.first() {
        Some(Provider::Keys(keys)) => {
            let sealed = keys.first().and_then(|first| first.seal(key, value));
            sealed.ok_or_else(|| format!("the value of {key} cannot be encrypted"))
        }
        Some(Provider::Kms(kms)) => {
            let sealed = kms.seal(key, value);
            sealed.ok_or_else(|| {
                format!("kmsv2 Provider {} gives no key to encrypt the value of {key} with", kms.name())
            })
        }
        Some(Provider::Identity) | None => Ok(value.to_vec()),
    }
}

/// Sees to it that values can be encrypted: a key management service may have to be asked.
///
/// # Errors
/// When it gives no key.
pub(crate) async fn ready_to_seal(providers: &[Provider]) -> Result<(), String> {
    match providers.first() {
        Some(Provider::Kms(kms)) => kms.get_ready().await,
        _ => Ok(()),
    }
}

/// Sees to it that bytes can be decrypted, as [`ready_to_seal`].
///
/// # Errors
/// When the service does not decrypt the key.
pub(crate) async fn ready_to_open(providers: &[Provider], stored: &[u8]) -> Result<(), String> {
    let service = providers.iter().find_map(|provider| match provider {
        Provider::Kms(kms) if kms.is_of(stored) => Some(kms),
        _ => None,
    });
    match service {
        Some(kms) => kms.learn(stored).await,
        None => Ok(()),
    }
}

/// Reads what any of the providers has written.
///
/// # Errors
/// In upstream's words.
pub(crate) fn open(providers: &[Provider], key: &str, stored: &[u8]) -> Result<Read, String> {
    for (place, provider) in providers.iter().enumerate() {
        let keys = match provider {
            Provider::Keys(keys) => keys,
            Provider::Kms(kms) if kms.is_of(stored) => {
                return match kms.open(key, stored)? {
                    Opened::Value { value, outdated } => Ok(Read { value, outdated: outdated || place > 0 }),
                    Opened::Unknown => Err("the DEK was not asked for".to_owned()),
                };
            }
            Provider::Kms(_) => continue,
            Provider::Identity if is_encrypted(stored) => continue,
            Provider::Identity => return Ok(Read { value: stored.to_vec(), outdated: place > 0 }),
        };
        for (number, one) in keys.iter().enumerate() {
            let Some(sealed) = stored.strip_prefix(one.prefix.as_slice()) else { continue };
            let value = one.open(key, sealed).ok_or("message authentication failed")?;
            return Ok(Read { value, outdated: place > 0 || number > 0 });
        }
    }
    let identity = providers.iter().any(|provider| matches!(provider, Provider::Identity));
    let why = match identity && is_encrypted(stored) {
        true => "identity transformer tried to read encrypted data",
        false => "no matching prefix found",
    };
    Err(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(cipher: Cipher, sizes: &[usize]) -> Provider {
        let key = |(i, size): (usize, &usize)| Key::new(cipher, &format!("key{i}"), vec![7 + i as u8; *size]);
        Provider::Keys(sizes.iter().enumerate().map(key).collect())
    }

    const KEY: &str = "/registry/secrets/default/s";

    #[test]
    fn what_is_sealed_is_opened_and_hidden() {
        for cipher in [Cipher::AesGcm, Cipher::AesCbc, Cipher::Secretbox] {
            for size in cipher.key_sizes() {
                let providers = [keys(cipher, &[*size])];
                for value in [&b""[..], b"sixteen bytes ab", b"a password and more of it"] {
                    let sealed = seal(&providers, KEY, value).expect("sealed");
                    assert!(sealed.starts_with(format!("k8s:enc:{}:v1:key0:", cipher.name()).as_bytes()));
                    assert!(value.is_empty() || !sealed.windows(value.len()).any(|part| part == value));
                    assert_ne!(sealed, seal(&providers, KEY, value).expect("sealed"), "never alike");
                    let read = open(&providers, KEY, &sealed).expect("opened");
                    assert_eq!(read, Read { value: value.to_vec(), outdated: false });
                }
            }
        }
    }

    /// AES-256-CBC of "hello" with PKCS #7, the key 0x07 × 32 and an IV of zeros, as openssl computes it.
    #[test]
    fn bytes_of_others_are_read() {
        let sealed = [b"k8s:enc:aescbc:v1:key0:".as_slice(), &[0; 16], &OPENSSL_HELLO].concat();
        let read = open(&[keys(Cipher::AesCbc, &[32])], KEY, &sealed).expect("opened");
        assert_eq!(read.value, b"hello");
    }

    const OPENSSL_HELLO: [u8; 16] =
        [0x54, 0x71, 0x61, 0x09, 0x2a, 0x56, 0x77, 0xdc, 0xc9, 0x06, 0x79, 0xe2, 0xb0, 0x0e, 0xd9, 0x6f];

    #[test]
    fn changed_moved_and_foreign_bytes_are_refused() {
        for cipher in [Cipher::AesGcm, Cipher::Secretbox] {
            let providers = [keys(cipher, &[32])];
            let sealed = seal(&providers, KEY, b"value").expect("sealed");
            let mut changed = sealed.clone();
            *changed.last_mut().expect("bytes") ^= 1;
            let why = open(&providers, KEY, &changed).expect_err("refused");
            assert_eq!(why, "message authentication failed");
            assert!(open(&providers, KEY, &sealed[..30]).is_err());
        }
        let providers = [keys(Cipher::AesGcm, &[32])];
        let sealed = seal(&providers, KEY, b"value").expect("sealed");
        assert!(open(&providers, "/registry/secrets/default/other", &sealed).is_err(), "of another object");
        assert!(open(&providers, KEY, b"{}").expect_err("plain").ends_with("no matching prefix found"));
        let identity = open(&[Provider::Identity], KEY, &sealed).expect_err("encrypted");
        assert!(identity.ends_with("identity transformer tried to read encrypted data"));
    }

    #[test]
    fn what_would_be_written_otherwise_now_is_outdated() {
        let old = [keys(Cipher::AesCbc, &[32])];
        let two = Provider::Keys(vec![
            Key::new(Cipher::AesCbc, "new", vec![1; 32]),
            Key::new(Cipher::AesCbc, "key0", vec![7; 32]),
        ]);
        let sealed = seal(&old, KEY, b"value").expect("sealed");
        let providers = [two, Provider::Identity];
        assert!(open(&providers, KEY, &sealed).expect("opened").outdated);
        assert!(open(&providers, KEY, b"{}").expect("plain").outdated);
        let fresh = seal(&providers, KEY, b"value").expect("sealed");
        assert!(!open(&providers, KEY, &fresh).expect("opened").outdated);
    }
}
