//! NaCl's secretbox (XSalsa20 and Poly1305): the authenticator, then the encrypted bytes. Put together here, as the crate
//! that has the whole of it stands on older versions of everything.
//!
//! Source: <https://nacl.cr.yp.to/secretbox.html>.

use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use subtle::ConstantTimeEq;

/// In bytes.
pub(crate) const NONCE: usize = 24;
const KEY: usize = 32;
const TAG: usize = 16;

/// The cipher after its first bytes, which are the authenticator's key.
fn begin(key: &[u8; KEY], nonce: &[u8; NONCE]) -> (XSalsa20, Poly1305) {
    let mut cipher = XSalsa20::new(key.into(), nonce.into());
    let mut first = [0; KEY];
    cipher.apply_keystream(&mut first);
    (cipher, Poly1305::new((&first).into()))
}

pub(crate) fn seal(key: &[u8; KEY], nonce: &[u8; NONCE], value: &[u8]) -> Vec<u8> {
    let (mut cipher, authenticator) = begin(key, nonce);
    let mut sealed = value.to_vec();
    cipher.apply_keystream(&mut sealed);
    let tag = authenticator.compute_unpadded(&sealed);
    [tag.as_slice(), &sealed].concat()
}

/// `None` when the bytes were not sealed with this key and nonce.
pub(crate) fn open(key: &[u8; KEY], nonce: &[u8; NONCE], sealed: &[u8]) -> Option<Vec<u8>> {
    let (tag, sealed) = sealed.split_first_chunk::<TAG>()?;
    let (mut cipher, authenticator) = begin(key, nonce);
    let own = authenticator.compute_unpadded(sealed);
    if !bool::from(own.as_slice().ct_eq(tag)) {
        return None;
    }
    let mut value = sealed.to_vec();
    cipher.apply_keystream(&mut value);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"hello, and more than one block of sixty-four bytes so that the counter moves on";

    /// As the `crypto_secretbox` crate (0.1.1) seals the text with the key 0x07 × 32 and the nonce 0x09 × 24.
    const SEALED: [u8; 95] = [
        0x3c, 0x7f, 0x4d, 0x7f, 0xcc, 0xae, 0xd6, 0x3e, 0x14, 0x5c, 0x81, 0xee, 0x61, 0xee, 0x0d, 0xba, 0xe4,
        0x2f, 0x7f, 0x9a, 0x50, 0x7d, 0x12, 0x8d, 0x6a, 0x10, 0x32, 0x85, 0xc5, 0x46, 0xd0, 0x72, 0x14, 0xf5,
        0xef, 0x5c, 0x74, 0x20, 0xa0, 0xb8, 0xa8, 0x44, 0x80, 0x61, 0x84, 0xaf, 0x70, 0x07, 0x2a, 0xf5, 0xde,
        0xe6, 0xaf, 0xe7, 0x07, 0x09, 0x64, 0x84, 0x6f, 0x2a, 0x7c, 0xef, 0xe5, 0x0e, 0x5e, 0x10, 0xac, 0xd6,
        0xfb, 0x0a, 0x36, 0x3b, 0x0a, 0xe0, 0x61, 0x85, 0xc6, 0x91, 0x7d, 0xc4, 0x05, 0x48, 0x5e, 0xee, 0x95,
        0xf6, 0xe6, 0x14, 0xd0, 0xa4, 0xe0, 0x06, 0x8c, 0x28, 0xf4,
    ];

    #[test]
    fn it_is_what_others_have_sealed() {
        assert_eq!(seal(&[7; 32], &[9; 24], TEXT), SEALED);
        assert_eq!(open(&[7; 32], &[9; 24], &SEALED).as_deref(), Some(TEXT));
        assert_eq!(open(&[7; 32], &[8; 24], &SEALED), None);
        assert_eq!(open(&[7; 32], &[9; 24], &SEALED[..10]), None);
    }
}
