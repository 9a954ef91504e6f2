//! What a driver is told beside a volume's own attributes: secrets, the pod, and tokens of the pod's account.
//!
//! None of it is ever logged.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Secret, SecretReference};
use kube::Api;
use serde_json::json;

use super::super::sources::TokenKey;
use super::Csi;
use super::asked::Asked;
use super::terms::Terms;

const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// Of one call.
#[derive(Default)]
pub struct Told {
    pub context: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, String>,
}

impl Csi {
    /// What a driver is told when a volume is published for a pod.
    ///
    /// # Errors
    /// Why it cannot be had, in words.
    pub(super) async fn told(&self, pod: &Pod, asked: &Asked, terms: &Terms) -> Result<Told, String> {
        let mut told = Told {
            context: asked.attributes.clone(),
            secrets: self.secret("NodePublishSecretRef", asked.publish_secret.as_ref()).await?,
        };
        told.context.extend(terms.pod_attributes(pod, asked.lifecycle));
        if let Some(tokens) = self.account_tokens(pod, terms).await? {
            let place = if terms.tokens_in_secrets { &mut told.secrets } else { &mut told.context };
            place.insert(TOKENS.to_owned(), tokens);
        }
        Ok(told)
    }

    /// The content of a Secret that a volume names.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(super) async fn secret(
        &self,
        field: &str,
        reference: Option<&SecretReference>,
    ) -> Result<BTreeMap<String, String>, String> {
        let Some(reference) = reference else { return Ok(BTreeMap::new()) };
        let name = reference.name.as_deref().unwrap_or_default();
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        let fail =
            |why: String| format!("fetching {field} {namespace}/{name} failed: kubernetes.io/csi: {why}");
        let api: Api<Secret> = Api::namespaced(self.deps.client.clone(), namespace);
        let secret = api.get(name).await.map_err(|error| {
            let error = client::message(&error);
            fail(format!("failed to find the secret {name} in the namespace {namespace} with error: {error}"))
        })?;
        let pairs = secret.data.into_iter().flatten().map(|(key, value)| match String::from_utf8(value.0) {
            Ok(value) => Ok((key, value)),
            Err(_) => Err(fail(format!("the value of {key} is no text"))),
        });
        pairs.collect()
    }

    async fn account_tokens(&self, pod: &Pod, terms: &Terms) -> Result<Option<String>, String> {
        if terms.tokens.is_empty() {
            return Ok(None);
        }
        let mut tokens = BTreeMap::new();
        for wanted in &terms.tokens {
            let key = TokenKey::new(Some(&wanted.audience), wanted.expiration_seconds);
            let token = self.tokens.whole(pod, &key).await.map_err(|error| error.to_string())?;
            let status = json!({"token": token.token, "expirationTimestamp": token.expires.to_string()});
            tokens.insert(wanted.audience.clone(), status);
        }
        Ok(Some(json!(tokens).to_string()))
    }
}
