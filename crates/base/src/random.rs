//! Identifiers made of randomness from the operating system.

use getrandom::fill;

/// The alphabet upstream uses for generated names: no vowels, no characters that look alike
/// (`k8s.io/apimachinery/pkg/util/rand`).
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// `n` random bytes.
///
/// # Panics
/// When the operating system has no randomness to give: nothing secure can be done then.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0u8; N];
    fill(&mut out).expect("the operating system must provide randomness");
    out
}

/// A random version-4 UUID in the usual lower-case hyphenated form.
pub fn uuid() -> String {
    let mut b: [u8; 16] = bytes();
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let mut out = String::with_capacity(36);
    for (i, byte) in b.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    out
}

/// A random suffix of `len` (at most 32) characters for a generated name (`nginx-x7k2p`).
pub fn name_suffix(len: usize) -> String {
    let raw: [u8; 32] = bytes();
    raw.iter().take(len).map(|b| NAME_ALPHABET[usize::from(*b) % NAME_ALPHABET.len()] as char).collect()
}

/// A random number in `0..bound`; 0 for a bound of 0.
pub fn below(bound: u64) -> u64 {
    if bound == 0 {
        return 0;
    }
    u64::from_le_bytes(bytes()) % bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_has_version_and_variant() {
        let id = uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"));
    }

    #[test]
    fn suffix_uses_the_safe_alphabet() {
        assert!(name_suffix(5).bytes().all(|b| NAME_ALPHABET.contains(&b)));
        assert_eq!(name_suffix(5).len(), 5);
    }
}
