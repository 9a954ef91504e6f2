//! Registry credentials from a pod's `imagePullSecrets`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cri::v1::AuthConfig;
use k8s_openapi::api::core::v1::{Pod, Secret};

use super::name;
use crate::pod_api::PodApi;

/// The credentials for an image's registry, from the first pull secret that has some. A secret that is
/// missing or malformed is passed over, as upstream does: the pull then tells what is wrong.
pub async fn find(api: &dyn PodApi, pod: &Pod, image: &str) -> Option<AuthConfig> {
    let namespace = pod.metadata.namespace.as_deref()?;
    let references = pod.spec.as_ref()?.image_pull_secrets.iter().flatten();
    for reference in references {
        match api.secret(namespace, &reference.name).await {
            Ok(secret) => {
                if let Some(auth) = from_secret(&secret, name::registry(image)) {
                    return Some(auth);
                }
            }
            Err(error) => {
                tracing::warn!(%error, secret = reference.name, "an image pull secret cannot be read");
            }
        }
    }
    None
}

fn from_secret(secret: &Secret, registry: &str) -> Option<AuthConfig> {
    let data = secret.data.as_ref()?;
    let read = |key: &str| -> Option<serde_json::Value> { serde_json::from_slice(&data.get(key)?.0).ok() };
    let auths = match read(".dockerconfigjson") {
        Some(mut config) => config.get_mut("auths")?.take(),
        None => read(".dockercfg")?,
    };
    let entries = auths.as_object()?;
    let entry = entries.iter().find(|(server, _)| matches(server, registry))?.1;
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

/// Whether a key of `auths` names the registry; keys may carry a scheme and a path.
fn matches(server: &str, registry: &str) -> bool {
    let bare = server.trim_start_matches("https://").trim_start_matches("http://");
    let host = bare.split('/').next().unwrap_or(bare);
    let docker = |h: &str| matches!(h, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    host == registry || (docker(host) && docker(registry))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn both_secret_formats_are_understood() {
        let auth = STANDARD.encode("joe:s3:cret");
        let new = format!(r#"{{"auths":{{"https://reg.example:5000/v2/":{{"auth":"{auth}"}}}}}}"#);
        let old = r#"{"https://index.docker.io/v1/":{"username":"ann","password":"x"}}"#.to_owned();
        let secret = |key: &str, text: String| Secret {
            data: Some([(key.to_owned(), ByteString(text.into_bytes()))].into()),
            ..Secret::default()
        };
        let found = from_secret(&secret(".dockerconfigjson", new), "reg.example:5000").expect("listed");
        assert_eq!((found.username.as_str(), found.password.as_str()), ("joe", "s3:cret"));
        let found = from_secret(&secret(".dockercfg", old), "docker.io").expect("listed");
        assert_eq!(found.username, "ann");
        assert!(from_secret(&secret(".dockercfg", "not json".into()), "docker.io").is_none());
    }
}
