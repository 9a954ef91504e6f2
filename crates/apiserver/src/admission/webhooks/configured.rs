//! [`Hook`]: a webhook as it is configured, read once for all requests until a configuration changes.

use std::sync::Arc;
use std::time::Duration;

use resources::conditions::Scope;
use serde::Deserialize;
use serde_json::Value;

use crate::admission::conditions::{Conditions, Written};
use crate::admission::matching::{self, Matching};
use crate::admission::rule::{Rule, or_default};
use crate::cache::Entry;
use crate::cache::lookup::decode;
use crate::webhook::Callee;

const DEFAULT_TIMEOUT_S: u64 = 10;

/// The versions of reviews.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V1Beta1,
}

impl Version {
    /// The first that is known.
    pub(super) fn first(names: &[String]) -> Option<Self> {
        names.iter().find_map(|name| match name.as_str() {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        })
    }

    pub(super) const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// A configuration's fields that matter here.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Configuration {
    #[serde(deserialize_with = "or_default")]
    webhooks: Vec<Webhook>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Webhook {
    name: String,
    client_config: Value,
    #[serde(deserialize_with = "or_default")]
    rules: Vec<Rule>,
    failure_policy: Option<String>,
    match_policy: Option<String>,
    namespace_selector: Value,
    object_selector: Value,
    side_effects: Option<String>,
    timeout_seconds: Option<u64>,
    #[serde(deserialize_with = "or_default")]
    admission_review_versions: Vec<String>,
    reinvocation_policy: Option<String>,
    #[serde(deserialize_with = "or_default")]
    match_conditions: Vec<Written>,
}

/// See the module's documentation.
pub(super) struct Hook {
    pub configuration: String,
    pub name: String,
    /// What tells it from all others.
    pub uid: String,
    pub callee: Result<Arc<Callee>, String>,
    pub matching: Matching,
    /// Whether a request fails with the call.
    pub fails: bool,
    /// Whether asking about a dry run does no harm.
    pub is_harmless: bool,
    pub timeout: Duration,
    /// `None` when it understands none that there are.
    pub version: Option<Version>,
    pub conditions: Conditions,
    /// Whether it is to see what others change after it.
    pub again: bool,
}

/// The webhooks of all configurations, in upstream's order: by the configurations' names, and as they stand there.
pub(super) fn read(entries: &[Arc<Entry>]) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for entry in entries {
        let Some(Configuration { webhooks }) = decode::<Configuration>(entry) else { continue };
        for (index, webhook) in webhooks.into_iter().enumerate() {
            hooks.push(Hook::new(entry.name(), index, webhook));
        }
    }
    hooks
}

impl Hook {
    fn new(configuration: &str, index: usize, webhook: Webhook) -> Self {
        let matching = Matching::from(matching::Written {
            resource_rules: webhook.rules,
            exclude_resource_rules: Vec::new(),
            match_policy: webhook.match_policy,
            namespace_selector: webhook.namespace_selector,
            object_selector: webhook.object_selector,
        });
        let is = |text: &Option<String>, wanted: &str| text.as_deref() == Some(wanted);
        Self {
            configuration: configuration.to_owned(),
            uid: format!("{configuration}/{index}/{}", webhook.name),
            callee: Callee::read(&webhook.client_config).map(Arc::new),
            matching,
            fails: !is(&webhook.failure_policy, "Ignore"),
            is_harmless: is(&webhook.side_effects, "None") || is(&webhook.side_effects, "NoneOnDryRun"),
            timeout: Duration::from_secs(webhook.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_S)),
            version: Version::first(&webhook.admission_review_versions),
            conditions: Conditions::new(Scope::of_webhook(), webhook.match_conditions),
            again: is(&webhook.reinvocation_policy, "IfNeeded"),
            name: webhook.name,
        }
    }
}
