//! [`Definition`]: what is read of a definition, its schemas left out, and its [`Status`].

use informer::Target;
use serde::{Deserialize, Serialize};

/// The fields of a definition that names, conditions and the end are decided by.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Definition {
    pub metadata: Metadata,
    pub spec: Spec,
    pub status: Status,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub creation_timestamp: String,
    pub finalizers: Vec<String>,
    pub annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Spec {
    pub group: String,
    pub names: Names,
    pub versions: Vec<Version>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Version {
    pub name: String,
    pub served: bool,
    pub storage: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Names {
    pub plural: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub singular: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_names: Vec<String>,
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub list_kind: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub of_type: String,
    pub status: String,
    pub last_transition_time: Option<String>,
    pub reason: String,
    pub message: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    pub conditions: Vec<Condition>,
    pub accepted_names: Names,
    pub stored_versions: Vec<String>,
}

impl Status {
    /// Whether the condition of a type is `True`.
    pub fn is_true(&self, of_type: &str) -> bool {
        self.conditions.iter().any(|known| known.of_type == of_type && known.status == "True")
    }

    /// Sets a condition. Its time changes with its status.
    pub fn set(&mut self, of_type: &str, status: &str, reason: &str, message: &str, now: jiff::Timestamp) {
        let place = self.conditions.iter().position(|known| known.of_type == of_type).unwrap_or_else(|| {
            self.conditions.push(Condition { of_type: of_type.to_owned(), ..Condition::default() });
            self.conditions.len() - 1
        });
        let condition = &mut self.conditions[place];
        if condition.status != status {
            status.clone_into(&mut condition.status);
            condition.last_transition_time = Some(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
        reason.clone_into(&mut condition.reason);
        message.clone_into(&mut condition.message);
    }
}

impl Definition {
    /// The collection of the objects, in a version that is served; `None` where nothing was ever served.
    pub fn collection(&self) -> Option<Target> {
        if !self.status.is_true("Established") {
            return None;
        }
        let versions = &self.spec.versions;
        // Of a definition that goes, the stored version is served where no other is.
        let version = versions.iter().find(|v| v.served).or_else(|| versions.iter().find(|v| v.storage))?;
        Some(Target::new(&self.spec.group, &version.name, &self.status.accepted_names.plural, "", ""))
    }
}
