//! The grammar of the parts of an image's name (upstream `distribution/reference`, `regexp.go`; digests by
//! `opencontainers/go-digest`, `digest.go`).
//!
//! Every function judges one part. Never cuts a name into its parts: that is `reference`'s.

use crate::error::ReferenceError;

const TAG_LIMIT_BYTES: usize = 128;
const DIGEST_LEAST_DIGITS: usize = 32;

/// A host's name, IPv4 address or bracketed IPv6 address, with a port or without.
pub fn is_domain(domain: &str) -> bool {
    let (host_ok, port) = match domain.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (is_ipv6(address), port),
            None => return false,
        },
        None => {
            let end = domain.find(':').unwrap_or(domain.len());
            let (host, port) = domain.split_at(end);
            (host.split('.').all(is_label), port)
        }
    };
    let port_ok = |port: &str| {
        port.strip_prefix(':').is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
    };
    host_ok && (port.is_empty() || port_ok(port))
}

/// As upstream, any row of hexadecimal digits and colons.
fn is_ipv6(address: &str) -> bool {
    !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Lower-case letters and digits, separated by one `.`, one or two `_`, or any number of `-`.
pub fn is_path_component(component: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    component.starts_with(is_word)
        && component.ends_with(is_word)
        && component.split(is_word).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

pub fn is_tag(tag: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_LIMIT_BYTES
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|b| is_word(b) || b == b'.' || b == b'-')
}

/// `ALGORITHM:HEX` with as many digits as the algorithm makes.
pub fn check_digest(digest: &str) -> Result<(), ReferenceError> {
    let (algorithm, hex) = digest.split_once(':').ok_or(ReferenceError::Format)?;
    let component_ok = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    if !algorithm.split(['-', '_', '+', '.']).all(component_ok)
        || hex.len() < DIGEST_LEAST_DIGITS
        || !hex.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return Err(ReferenceError::Format);
    }
    let digits = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ if algorithm.bytes().any(|b| b.is_ascii_uppercase()) => return Err(ReferenceError::DigestFormat),
        _ => return Err(ReferenceError::DigestUnsupported),
    };
    if hex.len() != digits {
        return Err(ReferenceError::DigestLength);
    }
    if hex.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ReferenceError::DigestFormat);
    }
    Ok(())
}
