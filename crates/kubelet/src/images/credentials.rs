//! Registry credentials from a pod's `imagePullSecrets`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cri::v1::AuthConfig;
use k8s_openapi::api::core::v1::{Pod, Secret};
use oci::Reference;

use crate::pod_api::PodApi;

/// What a pod's pull secrets hold for one image.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// To be tried one after the other; empty where the image is to be pulled without any.
    pub credentials: Vec<AuthConfig>,
    /// Names of secrets that could not be read.
    pub unread: Vec<String>,
}

/// Reads the pod's pull secrets. One that is missing or malformed is passed over, as upstream does: the
/// pull then tells what is wrong.
pub async fn find(api: &dyn PodApi, pod: &Pod, image: &Reference) -> Found {
    let mut found = Found::default();
    let (Some(namespace), Some(spec)) = (pod.metadata.namespace.as_deref(), pod.spec.as_ref()) else {
        return found;
    };
    let mut entries = Vec::new();
    for reference in spec.image_pull_secrets.iter().flatten().filter(|r| !r.name.is_empty()) {
        match api.secret(namespace, &reference.name).await {
            Ok(secret) => entries.extend(entries_of(&secret)),
            Err(error) => {
                tracing::warn!(%error, secret = reference.name, "an image pull secret cannot be read");
                found.unread.push(reference.name.clone());
            }
        }
    }
    found.credentials = for_image(entries, image);
    found
}

/// One line of a secret: where it is good for, and what to say there.
struct Entry {
    /// `HOST` or `HOST/PATH`; a host's parts may be patterns.
    place: String,
    auth: AuthConfig,
}

fn entries_of(secret: &Secret) -> Vec<Entry> {
    let read = || -> Option<serde_json::Map<String, serde_json::Value>> {
        let data = secret.data.as_ref()?;
        let json =
            |key: &str| -> Option<serde_json::Value> { serde_json::from_slice(&data.get(key)?.0).ok() };
        let auths = match json(".dockerconfigjson") {
            Some(mut config) => config.get_mut("auths")?.take(),
            None => json(".dockercfg")?,
        };
        match auths {
            serde_json::Value::Object(entries) => Some(entries),
            _ => None,
        }
    };
    let entries = read().unwrap_or_default();
    entries.iter().filter_map(|(key, value)| Some(Entry { place: place(key), auth: auth(value)? })).collect()
}

fn auth(entry: &serde_json::Value) -> Option<AuthConfig> {
    let text = |key: &str| entry.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    let (mut username, mut password) = (text("username"), text("password"));
    if username.is_empty() {
        let decoded = STANDARD.decode(text("auth")).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (user, pass) = decoded.split_once(':')?;
        (username, password) = (user.to_owned(), pass.trim_end_matches('\0').to_owned());
    }
    Some(AuthConfig { username, password, identity_token: text("identitytoken"), ..AuthConfig::default() })
}

/// A key of `auths` without its scheme and without the API's version, which names no repository.
fn place(key: &str) -> String {
    let bare = key.trim_start_matches("https://").trim_start_matches("http://");
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = path.strip_prefix("v1/").or_else(|| path.strip_prefix("v2/")).unwrap_or(path);
    if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") }
}

/// The credentials whose place the image lies in, the most particular first (upstream
/// `pkg/credentialprovider/keyring.go`).
fn for_image(mut entries: Vec<Entry>, image: &Reference) -> Vec<AuthConfig> {
    entries.sort_by(|a, b| b.place.cmp(&a.place));
    let (host, path) = (image.domain(), image.path());
    let is_default = |place: &str| host == "docker.io" && place == "index.docker.io";
    let wanted = entries.into_iter().filter(|e| is_default(&e.place) || covers(&e.place, host, path));
    wanted.map(|entry| entry.auth).collect()
}

fn covers(place: &str, host: &str, path: &str) -> bool {
    let (pattern, prefix) = place.split_once('/').unwrap_or((place, ""));
    let with_port = |host: &str| -> (String, String) {
        host.rsplit_once(':').map_or((host.to_owned(), String::new()), |(h, p)| (h.to_owned(), p.to_owned()))
    };
    let ((pattern, pattern_port), (host, port)) = (with_port(pattern), with_port(host));
    let (patterns, parts): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern_port == port
        && patterns.len() == parts.len()
        && patterns.iter().zip(&parts).all(|(pattern, part)| is_like(pattern, part))
        && path.starts_with(prefix)
}

/// Whether `text` fits a pattern whose `*` stand for anything. Linear and without recursion: patterns are users'.
fn is_like(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let (middle, end) = tail.rsplit_once('*').unwrap_or(("", tail));
    let Some(mut rest) = text.strip_prefix(head).and_then(|rest| rest.strip_suffix(end)) else {
        return false;
    };
    // The leftmost place of each part leaves the most for those after it.
    middle.split('*').all(|part| {
        let found = rest.split_once(part);
        if let Some((_, after)) = found {
            rest = after;
        }
        found.is_some()
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(key: &str, text: String) -> Secret {
        Secret { data: Some([(key.to_owned(), ByteString(text.into_bytes()))].into()), ..Secret::default() }
    }

    fn users(entries: Vec<Entry>, image: &str) -> Vec<String> {
        for_image(entries, &image.parse().expect("an image's name"))
            .into_iter()
            .map(|auth| auth.username)
            .collect()
    }

    #[test]
    fn both_secret_formats_are_understood() {
        let auth = STANDARD.encode("joe:s3:cret");
        let new = format!(r#"{{"auths":{{"https://reg.example:5000/v2/":{{"auth":"{auth}"}}}}}}"#);
        let old = r#"{"https://index.docker.io/v1/":{"username":"ann","password":"x"}}"#.to_owned();
        let image = "reg.example:5000/a:1".parse().expect("an image's name");
        let found = for_image(entries_of(&secret(".dockerconfigjson", new)), &image);
        assert_eq!((found[0].username.as_str(), found[0].password.as_str()), ("joe", "s3:cret"));
        assert_eq!(users(entries_of(&secret(".dockercfg", old)), "nginx:1"), ["ann"]);
        assert!(entries_of(&secret(".dockercfg", "not json".into())).is_empty());
    }

    #[test]
    fn the_most_particular_place_comes_first_and_others_get_nothing() {
        let auths = ["reg.io", "reg.io/team", "reg.io/team/app", "*.reg.io", "reg.io:5000", "docker.io"];
        let entries = || -> Vec<Entry> {
            let auth = |user: &str| AuthConfig { username: user.to_owned(), ..AuthConfig::default() };
            auths.iter().map(|key| Entry { place: place(key), auth: auth(key) }).collect()
        };
        assert_eq!(users(entries(), "reg.io/team/app:1"), ["reg.io/team/app", "reg.io/team", "reg.io"]);
        assert_eq!(users(entries(), "reg.io/other"), ["reg.io"]);
        assert_eq!(users(entries(), "eu.reg.io/team/app"), ["*.reg.io"]);
        assert_eq!(users(entries(), "a.b.reg.io/x"), Vec::<String>::new());
        let digest = format!("reg.io:5000/x@sha256:{}", "0".repeat(64));
        assert_eq!(users(entries(), &digest), ["reg.io:5000"]);
        assert_eq!(users(entries(), "busybox"), ["docker.io"]);
        assert_eq!(users(entries(), "index.docker.io/busybox"), ["docker.io"]);
        assert!(is_like("a*b*", "axxbyy") && !is_like("a*b", "axxbyy"));
        assert!(is_like("*", "") && is_like("a**c", "abc") && !is_like("ab*bc", "abc"));
        assert!(is_like("*b*b*", "abab") && !is_like("*b*b*b*", "abab"));
        assert!(!is_like(&"*a".repeat(100_000), &"a".repeat(63)), "soon, and with little stack");
    }
}
