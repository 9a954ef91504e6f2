//! Image names: `busybox` → `docker.io/library/busybox:latest`.
//!
//! Owns what the runtime makes of an `oci::Reference`: one version, a tag or a SHA-256 digest. Never looks
//! anything up.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use oci::{Reference, ReferenceError};

use crate::digest::Digest;

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
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let name: Reference = text.parse()?;
        let domain = name.domain();
        if domain.starts_with('[') && !has_ipv6_address(domain) {
            return Err(ReferenceError::Format);
        }
        let version = match (name.digest(), name.tag()) {
            (Some(digest), _) => {
                Version::Digest(digest.parse().map_err(|_| ReferenceError::DigestUnsupported)?)
            }
            (None, tag) => Version::Tag(tag.unwrap_or("latest").to_owned()),
        };
        Ok(Self { domain: domain.to_owned(), path: name.path().to_owned(), version })
    }
}

/// The grammar takes any hexadecimal digits and colons in brackets; a registry needs an address.
fn has_ipv6_address(domain: &str) -> bool {
    let address = domain.trim_start_matches('[').split(']').next().unwrap_or_default();
    address.parse::<Ipv6Addr>().is_ok()
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
            assert_eq!(text.parse::<ImageName>(), Err(ReferenceError::Format), "{text}");
        }
        let upper = "Busybox".parse::<ImageName>().map_err(|e| e.to_string());
        assert_eq!(
            upper,
            Err("invalid reference format: repository name (library/Busybox) must be lowercase".to_owned())
        );
        assert_eq!("a/".repeat(200).trim_end_matches('/').parse::<ImageName>(), Err(ReferenceError::TooLong));
        assert!(matches!("0".repeat(64).parse::<ImageName>(), Err(ReferenceError::HexName(_))));
    }

    #[test]
    fn only_what_a_registry_and_the_content_store_can_serve_is_a_name() {
        let sha512 = format!("a@sha512:{}", "0".repeat(128));
        assert_eq!(sha512.parse::<ImageName>(), Err(ReferenceError::DigestUnsupported));
        assert_eq!("[abc]/x".parse::<ImageName>(), Err(ReferenceError::Format));
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
