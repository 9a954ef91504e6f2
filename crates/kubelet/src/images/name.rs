//! Images as pods name them: the name that is asked of the runtime, the default tag, the default pull policy.

use oci::Reference;

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// The policy; where none is given, `Always` for the tag `latest`.
pub fn pull_policy(given: Option<&str>, image: &str) -> PullPolicy {
    match given {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        Some("IfNotPresent") => PullPolicy::IfNotPresent,
        _ if image.ends_with(":latest") => PullPolicy::Always,
        _ => PullPolicy::IfNotPresent,
    }
}

/// An image's name, read.
#[derive(Debug)]
pub struct Named {
    /// As the pod writes it, `:latest` added where it has neither tag nor digest. Whole names are the runtime's:
    /// it may have other short ones.
    pub asked: String,
    pub reference: Reference,
}

/// Reads an image's name.
///
/// # Errors
/// With upstream's words when the name cannot be one.
pub fn read(image: &str) -> Result<Named, String> {
    let reference: Reference =
        image.parse().map_err(|why| format!("couldn't parse image name {image:?}: {why}"))?;
    let asked = match (reference.tag(), reference.digest()) {
        (None, None) => format!("{image}:latest"),
        _ => image.to_owned(),
    };
    Ok(Named { asked, reference })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalize(image: &str) -> Result<String, String> {
        read(image).map(|named| named.asked)
    }

    #[test]
    fn names_get_their_tag_or_a_refusal() {
        assert_eq!(normalize("nginx").as_deref(), Ok("nginx:latest"));
        assert_eq!(normalize("localhost:5000/a/b").as_deref(), Ok("localhost:5000/a/b:latest"));
        assert_eq!(normalize("nginx:1.25").as_deref(), Ok("nginx:1.25"));
        let digest = format!("nginx@sha256:{}", "a".repeat(64));
        assert_eq!(normalize(&digest).as_deref(), Ok(digest.as_str()));
        let longer = format!("reg.io/nginx@sha512:{}", "a".repeat(128));
        assert_eq!(normalize(&longer).as_deref(), Ok(longer.as_str()));
        for bad in ["", "Nginx", "nginx:", "nginx::1", "a//b", "/a", "a b", "nginx@x", "a:b c", "a___b"] {
            assert!(normalize(bad).is_err(), "{bad:?} must be refused");
        }
        let uppercase = |image: &str| normalize(image).err().unwrap_or_default();
        assert!(uppercase("Nginx").ends_with("repository name (library/Nginx) must be lowercase"));
        assert!(uppercase("Bad/Name:1").ends_with("repository name (Name) must be lowercase"));
        assert_eq!(
            normalize(&"0".repeat(64)),
            Err(format!(
                "couldn't parse image name \"{0}\": invalid repository name ({0}), cannot specify 64-byte \
                 hexadecimal strings",
                "0".repeat(64)
            ))
        );
    }

    #[test]
    fn latest_is_always_pulled_unless_told_otherwise() {
        assert_eq!(pull_policy(None, "a:latest"), PullPolicy::Always);
        assert_eq!(pull_policy(None, "a:1"), PullPolicy::IfNotPresent);
        assert_eq!(pull_policy(Some("Never"), "a:latest"), PullPolicy::Never);
    }
}
