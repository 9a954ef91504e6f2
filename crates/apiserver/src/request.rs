//! What a request asks for, as authentication, authorization, admission and audit see it.
//!
//! `path` and `query` parse the request, `call` holds it inside the server.

pub(crate) mod call;
pub(crate) mod notes;
pub(crate) mod path;
pub(crate) mod query;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

pub use notes::Notes;

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// As reviews and audit events show a user: an `authentication.k8s.io/v1` UserInfo.
    pub(crate) fn info(&self) -> Value {
        let mut info = json!({"username": self.name});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.as_str().into();
        }
        if !self.groups.is_empty() {
            info["groups"] = self.groups.as_slice().into();
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}

/// What is asked, in the terms of authorization.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    pub user: Arc<User>,
    /// API verbs (`get`, `list`, `watch`, `create`, …) or, for paths that are no resource, the
    /// lower-case HTTP method.
    pub verb: String,
    pub is_resource: bool,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// The fields a list or watch asks for by equality, as (field, value): what a node may list depends on it.
    pub field_selector: Vec<(String, String)>,
    /// The labels a list or watch asks for by equality, as (label, value).
    pub label_selector: Vec<(String, String)>,
    /// The whole path, for requests that are not about a resource.
    pub path: String,
    /// What is said about the request beside its answer.
    pub notes: Notes,
}
