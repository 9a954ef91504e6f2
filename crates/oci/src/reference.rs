//! [`Reference`]: an image's name cut into its parts, whole names from short ones (upstream
//! `distribution/reference`, `normalize.go`).

use std::fmt;
use std::str::FromStr;

use crate::error::ReferenceError;
use crate::grammar::{check_digest, is_domain, is_path_component, is_tag};

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library";
const PATH_LIMIT_BYTES: usize = 255;

/// An image's name with its registry: `busybox:1` is `docker.io/library/busybox:1`.
///
/// Has the tag and the digest that the text gives, each may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    /// The registry's host, with a port where one was given.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The path inside the registry, such as `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// `sha256:`, `sha384:` or `sha512:` and the hexadecimal digits.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// `domain/path` without tag or digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::HexName(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let remainder = match domain {
            DEFAULT_DOMAIN if !remainder.contains('/') => format!("{OFFICIAL}/{remainder}"),
            _ => remainder.to_owned(),
        };
        // As upstream, whose message shows a digest's algorithm as a part of the name.
        let shown = remainder.split(':').next().unwrap_or_default();
        if shown.to_lowercase() != shown {
            return Err(ReferenceError::Uppercase(shown.to_owned()));
        }
        let (named, digest) = cut(&remainder, '@');
        let (path, tag) = cut(named, ':');
        if !is_domain(domain) || !path.split('/').all(is_path_component) || !tag.is_none_or(is_tag) {
            return Err(ReferenceError::Format);
        }
        // A malformed digest makes the whole text malformed, one of the wrong kind is told after the length.
        let checked = digest.map_or(Ok(()), check_digest);
        if checked == Err(ReferenceError::Format) {
            return Err(ReferenceError::Format);
        }
        if path.len() > PATH_LIMIT_BYTES {
            return Err(ReferenceError::TooLong);
        }
        checked?;
        Ok(Self {
            domain: domain.to_owned(),
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

/// What lies before the first `at`, and what lies after it.
fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// The first component is a domain only when it cannot be a path component of the default registry.
///
/// `a_b.c/d` is refused for its host. Upstream takes it for a path without a domain, which no registry serves.
fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((LEGACY_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, want: &str) {
        assert_eq!(text.parse::<Reference>().map(|n| n.to_string()), Ok(want.to_owned()), "{text}");
    }

    fn refused(text: &str, want: ReferenceError) {
        assert_eq!(text.parse::<Reference>(), Err(want), "{text}");
    }

    #[test]
    fn short_names_become_whole() {
        let sha256 = format!("sha256:{}", "0a".repeat(32));
        let sha512 = format!("sha512:{}", "0a".repeat(64));
        check("busybox", "docker.io/library/busybox");
        check("nginx:alpine", "docker.io/library/nginx:alpine");
        check("docker.io/nginx", "docker.io/library/nginx");
        check("luksa/kubia", "docker.io/luksa/kubia");
        check("index.docker.io/busybox", "docker.io/library/busybox");
        check("localhost/x:1", "localhost/x:1");
        check("localhost:5000", "docker.io/library/localhost:5000");
        check("localhost:5000/x", "localhost:5000/x");
        check("[::1]:5000/a/b", "[::1]:5000/a/b");
        check("UPPER/x", "UPPER/x");
        check("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10");
        check("a__b/c--d.e", "docker.io/a__b/c--d.e");
        check(&format!("busybox:1@{sha256}"), &format!("docker.io/library/busybox:1@{sha256}"));
        check(&format!("reg.io/a@{sha512}"), &format!("reg.io/a@{sha512}"));
    }

    #[test]
    fn parts_are_read_apart() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let name: Reference = format!("reg.io:5000/a/b:1@{digest}").parse().expect("a whole name");
        assert_eq!((name.domain(), name.path()), ("reg.io:5000", "a/b"));
        assert_eq!((name.tag(), name.digest()), (Some("1"), Some(digest.as_str())));
        assert_eq!(name.repository(), "reg.io:5000/a/b");
    }

    #[test]
    fn malformed_names_are_refused_with_upstreams_words() {
        for text in [
            "",
            ":",
            "a:",
            "/a",
            "a//b",
            "a b",
            "a@sha256:12",
            "-a",
            "a._b",
            "a___b",
            "x/é",
            "[::1/a",
            "a::1",
            "a@x",
            "a.b:/c",
            "[::1]x/a",
            "a_b.c/d",
            "a:b@",
            "a@b@c",
            "a:b/c",
        ] {
            refused(text, ReferenceError::Format);
        }
        refused("Busybox", ReferenceError::Uppercase("library/Busybox".to_owned()));
        refused("Bad/Name:1", ReferenceError::Uppercase("Name".to_owned()));
        refused(&"0".repeat(64), ReferenceError::HexName("0".repeat(64)));
        refused(&format!("a:{}", "t".repeat(129)), ReferenceError::Format);
    }

    #[test]
    fn a_path_has_255_bytes_at_most() {
        let of = |bytes: usize| format!("registry.example/{}", "a".repeat(bytes));
        check(&of(255), &of(255));
        refused(&of(256), ReferenceError::TooLong);
    }

    #[test]
    fn digests_have_a_known_algorithm_and_its_length() {
        for (digest, want) in [
            (format!("sha256:{}", "0".repeat(63)), ReferenceError::DigestLength),
            (format!("sha512:{}", "0".repeat(64)), ReferenceError::DigestLength),
            (format!("sha256:{}", "A".repeat(64)), ReferenceError::DigestFormat),
            (format!("md5:{}", "0".repeat(32)), ReferenceError::DigestUnsupported),
            (format!("a+b.C:{}", "0".repeat(32)), ReferenceError::DigestFormat),
        ] {
            refused(&format!("reg.io/a:1@{digest}"), want);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_stays_the_same_once_whole(
            text in "[a-zA-Z0-9./:@_\\[\\] é-]{0,80}|\\PC{0,80}|[a-c.]{1,4}/[a-c_-]{1,6}(:[a-z]{1,3})?(@sha256:[0-9a-f]{64})?"
        ) {
            if let Ok(name) = text.parse::<Reference>() {
                let printed = name.to_string();
                prop_assert_eq!(printed.parse::<Reference>(), Ok(name), "{}", printed);
            }
        }
    }
}
