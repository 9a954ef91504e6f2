//! Image names: `busybox` → `docker.io/library/busybox:latest`.
//!
//! Owns the grammar and normalization of the distribution project (`reference/normalize.go`,
//! `reference/regexp.go`). Never looks anything up.

use std::fmt;
use std::str::FromStr;

use super::digest::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const NAME_LIMIT_BYTES: usize = 255;
const TAG_LIMIT_BYTES: usize = 128;

/// A normalized image name: repository plus a tag or a digest, never both and never neither.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageName {
    domain: String,
    path: String,
    version: Version,
}

/// What picks one image of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Version {
    Tag(String),
    Digest(Digest),
}

/// Why a text is no image name; the texts are upstream's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    HexName(String),
}

impl ImageName {
    /// The registry's host, with a port where one was given.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The path inside the registry, such as `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn version(&self) -> &Version {
        &self.version
    }

    /// `domain/path` without tag or digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The same repository at `digest`.
    pub fn at_digest(&self, digest: Digest) -> Self {
        Self { version: Version::Digest(digest), ..self.clone() }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Version::Tag(tag) => write!(f, "{}/{}:{tag}", self.domain, self.path),
            Version::Digest(digest) => write!(f, "{}/{}@{digest}", self.domain, self.path),
        }
    }
}

impl FromStr for ImageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NameError::HexName(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|_| NameError::Format)?)),
            None => (text, None),
        };
        let (domain, remainder) = split_domain(rest);
        let (path, tag) = match remainder.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (remainder, None),
        };
        let path = match domain {
            DEFAULT_DOMAIN if !path.contains('/') => format!("library/{path}"),
            _ => path.to_owned(),
        };
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(NameError::Uppercase(path));
        }
        if !valid_domain(domain) || !path.split('/').all(valid_path_component) {
            return Err(NameError::Format);
        }
        if domain.len() + 1 + path.len() > NAME_LIMIT_BYTES {
            return Err(NameError::TooLong);
        }
        let version = match (tag, digest) {
            (Some(tag), _) if !valid_tag(tag) => return Err(NameError::Format),
            (_, Some(digest)) => Version::Digest(digest),
            (Some(tag), None) => Version::Tag(tag.to_owned()),
            (None, None) => Version::Tag("latest".to_owned()),
        };
        Ok(Self { domain: domain.to_owned(), path, version })
    }
}

/// The first component is a domain only when it cannot be a path component of the default registry.
fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (if first == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { first }, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    }
}

fn valid_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, port)) => (address, Some(port.strip_prefix(':').unwrap_or("x"))),
            None => return false,
        },
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let host_ok = if domain.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        host.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
    };
    host_ok && port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

/// Lower-case letters and digits, separated by one `.`, one or two `_`, or any number of `-`.
fn valid_path_component(component: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !is_word(first) || !is_word(last) {
        return false;
    }
    component.split(|c: char| is_word(c as u32 as u8) && c.is_ascii()).all(|separator| {
        separator.is_empty() || matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
    })
}

fn valid_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_LIMIT_BYTES
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        assert_eq!(text.parse::<ImageName>().map(|n| n.to_string()), Ok(want.to_owned()), "{text}");
    }

    #[test]
    fn names_are_normalized_as_by_other_tools() {
        let d = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        check("busybox", "docker.io/library/busybox:latest");
        check("nginx:alpine", "docker.io/library/nginx:alpine");
        check("luksa/kubia", "docker.io/luksa/kubia:latest");
        check("index.docker.io/busybox", "docker.io/library/busybox:latest");
        check("localhost/x:1", "localhost/x:1");
        check("localhost:5000/x", "localhost:5000/x:latest");
        check("[::1]:5000/a/b", "[::1]:5000/a/b:latest");
        check("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10");
        check("a__b/c--d.e", "docker.io/a__b/c--d.e:latest");
        check(&format!("busybox:1@{d}"), &format!("docker.io/library/busybox@{d}"));
    }

    #[test]
    fn malformed_names_are_refused_with_upstream_words() {
        for text in
            ["", ":", "a:", "/a", "a//b", "a b", "a@sha256:12", "-a", "a._b", "a___b", "x/é", "[::1/a"]
        {
            assert_eq!(text.parse::<ImageName>(), Err(NameError::Format), "{text}");
        }
        let upper = "Busybox".parse::<ImageName>().map_err(|e| e.to_string());
        assert_eq!(
            upper,
            Err("invalid reference format: repository name (library/Busybox) must be lowercase".to_owned())
        );
        assert_eq!("a/".repeat(200).trim_end_matches('/').parse::<ImageName>(), Err(NameError::TooLong));
        assert!(matches!("0".repeat(64).parse::<ImageName>(), Err(NameError::HexName(_))));
    }
    proptest::proptest! {
        #[test]
        fn any_text_is_refused_or_stays_the_same_once_normalized(text in "[a-zA-Z0-9./:@_\\[\\] é-]{0,80}|\\PC{0,80}") {
            if let Ok(name) = text.parse::<ImageName>() {
                let printed = name.to_string();
                proptest::prop_assert_eq!(printed.parse::<ImageName>(), Ok(name), "{}", printed);
            }
        }
    }
}
