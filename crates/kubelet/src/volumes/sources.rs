//! The sources of a pod's volumes: the objects and tokens that the volumes refer to, and which of them were found.
//! Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::persistent::Found;
use crate::environment::fields::PodAddresses;
use crate::environment::resource_fields::Allocatable;

/// Objects of the pod's namespace and tokens of its service account.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct References {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
    pub tokens: BTreeSet<TokenKey>,
}

/// What identifies a service account token within a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenKey {
    /// Empty for the API server's own.
    pub audience: String,
    pub expiration_s: i64,
}

impl TokenKey {
    /// Of a projected token, `expiration_s` in seconds with upstream's default of an hour.
    pub fn new(audience: Option<&str>, expiration_s: Option<i64>) -> Self {
        Self { audience: audience.unwrap_or_default().to_owned(), expiration_s: expiration_s.unwrap_or(3600) }
    }
}

/// What volumes are filled from. An absent entry means that the object does not exist.
#[derive(Debug, Default, Clone)]
pub struct Sources {
    pub config_maps: HashMap<String, Arc<ConfigMap>>,
    pub secrets: HashMap<String, Arc<Secret>>,
    pub tokens: HashMap<TokenKey, String>,
    /// By the pod's volume.
    pub persistent: HashMap<String, Found>,
    pub addresses: PodAddresses,
    pub allocatable: Allocatable,
}
