//! Image names as pods write them: the default tag, the default pull policy.

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

/// The name with its tag: `:latest` where it has neither tag nor digest.
///
/// # Errors
/// With upstream's words when the name cannot be one.
pub fn normalize(image: &str) -> Result<String, String> {
    let refuse = |why: &str| format!("couldn't parse image name {image:?}: {why}");
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let (repository, tag) = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    };
    let (host, path) = match repository.split_once('/') {
        Some((host, path)) if is_host(host) => (Some(host), path),
        _ => (None, repository),
    };
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        let library = if host.is_none() && !path.contains('/') { "library/" } else { "" };
        return Err(refuse(&format!(
            "invalid reference format: repository name ({library}{path}) must be lowercase"
        )));
    }
    let part_ok = |part: &str| {
        let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        ends(part.bytes().next())
            && ends(part.bytes().last())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    let tag_ok = |tag: &str| {
        (1..=128).contains(&tag.len())
            && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && !tag.starts_with(['.', '-'])
    };
    let digest_ok = |digest: &str| {
        digest.split_once(':').is_some_and(|(kind, hex)| {
            !kind.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
        })
    };
    let host_ok = host.is_none_or(|h| {
        !h.is_empty() && h.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
    });
    if !host_ok
        || !path.split('/').all(part_ok)
        || !tag.is_none_or(tag_ok)
        || !digest.is_none_or(digest_ok)
        || repository.len() > 255
    {
        return Err(refuse("invalid reference format"));
    }
    Ok(if tag.is_none() && digest.is_none() { format!("{image}:latest") } else { image.to_owned() })
}

/// A first component that no repository of Docker's registry can begin with.
fn is_host(component: &str) -> bool {
    component.contains(['.', ':'])
        || component == "localhost"
        || component.bytes().any(|b| b.is_ascii_uppercase())
}

/// Where an image lies: its registry's host (Docker's where the name has none) and its path there, without
/// tag and digest.
pub fn place(image: &str) -> (&str, String) {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let name = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    };
    match name.split_once('/') {
        Some((host, path)) if is_host(host) => (host, path.to_owned()),
        Some(_) => ("docker.io", name.to_owned()),
        None => ("docker.io", format!("library/{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_tag_or_a_refusal() {
        assert_eq!(normalize("nginx").as_deref(), Ok("nginx:latest"));
        assert_eq!(normalize("localhost:5000/a/b").as_deref(), Ok("localhost:5000/a/b:latest"));
        assert_eq!(normalize("nginx:1.25").as_deref(), Ok("nginx:1.25"));
        let digest = format!("nginx@sha256:{}", "a".repeat(64));
        assert_eq!(normalize(&digest).as_deref(), Ok(digest.as_str()));
        for bad in ["", "Nginx", "nginx:", "nginx::1", "a//b", "/a", "a b", "nginx@x", "a:b c"] {
            assert!(normalize(bad).is_err(), "{bad:?} must be refused");
        }
        let uppercase = |image: &str| normalize(image).err().unwrap_or_default();
        assert!(uppercase("Nginx").ends_with("repository name (library/Nginx) must be lowercase"));
        assert!(uppercase("Bad/Name:1").ends_with("repository name (Name) must be lowercase"));
    }

    #[test]
    fn latest_is_always_pulled_unless_told_otherwise() {
        assert_eq!(pull_policy(None, "a:latest"), PullPolicy::Always);
        assert_eq!(pull_policy(None, "a:1"), PullPolicy::IfNotPresent);
        assert_eq!(pull_policy(Some("Never"), "a:latest"), PullPolicy::Never);
    }
}
