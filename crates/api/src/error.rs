//! [`Error`]: the failure of a request as the client receives it, with upstream's reasons and words
//! (`k8s.io/apimachinery/pkg/api/errors`). Mapped to HTTP once, from [`Error::code`] and [`Error::to_status`].

use serde_json::{Map, Value, json};

use crate::field::{ErrorList, aggregate};
use crate::gvk::{GroupKind, GroupResource};

/// Machine-readable reason of a failure: `status.reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Unknown,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    AlreadyExists,
    Conflict,
    Gone,
    Expired,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    NotImplemented,
    ServiceUnavailable,
    Timeout,
    ServerTimeout,
}

impl Reason {
    /// The text in `status.reason`; `NotImplemented` has none upstream.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown | Self::NotImplemented => "",
            Self::BadRequest => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Gone => "Gone",
            Self::Expired => "Expired",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::Invalid => "Invalid",
            Self::TooManyRequests => "TooManyRequests",
            Self::InternalError => "InternalError",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
            Self::ServerTimeout => "ServerTimeout",
        }
    }

    /// The HTTP status code that goes with the reason.
    pub const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Gone | Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::Unknown | Self::InternalError | Self::ServerTimeout => 500,
            Self::NotImplemented => 501,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}

/// A failed request: becomes the `Status` object of the response.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub reason: Reason,
    pub message: String,
    /// `status.details`: name, group, kind, uid, causes, retryAfterSeconds.
    /// Boxed because most errors have none.
    pub details: Option<Box<Map<String, Value>>>,
    /// The code and reason of somebody else's refusal, which stand in the place of the reason's own.
    pub given: Option<Box<Given>>,
    /// `metadata.continue`: by which a list that can no longer be consistent goes on with what is there now.
    pub next: Option<Box<str>>,
}

/// How a webhook refuses: any code, any reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// An HTTP status code of failure: 400 to 599.
    pub code: u16,
    /// `status.reason`; none where empty.
    pub reason: String,
}

impl Error {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: None, given: None, next: None }
    }

    fn about(reason: Reason, resource: &GroupResource, name: &str, message: String) -> Self {
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".into(), name.into());
        }
        if !resource.group.is_empty() {
            details.insert("group".into(), resource.group.clone().into());
        }
        if !resource.resource.is_empty() {
            details.insert("kind".into(), resource.resource.clone().into());
        }
        Self { reason, message, details: Some(Box::new(details)), given: None, next: None }
    }

    pub fn code(&self) -> u16 {
        self.given.as_ref().map_or(self.reason.code(), |given| given.code)
    }

    /// `status.reason`; empty where there is none.
    pub fn reason_text(&self) -> &str {
        self.given.as_ref().map_or(self.reason.as_str(), |given| &given.reason)
    }

    pub fn is(&self, reason: Reason) -> bool {
        self.reason == reason
    }

    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::about(Reason::NotFound, resource, name, format!("{resource} \"{name}\" not found"))
    }

    /// No such path: what an unknown group, version or resource gets.
    pub fn no_such_path() -> Self {
        Self {
            details: Some(Box::default()),
            ..Self::new(Reason::NotFound, "the server could not find the requested resource")
        }
    }

    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::about(Reason::AlreadyExists, resource, name, format!("{resource} \"{name}\" already exists"))
    }

    pub fn conflict(resource: &GroupResource, name: &str, why: &str) -> Self {
        Self::about(
            Reason::Conflict,
            resource,
            name,
            format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}"),
        )
    }

    /// A conflict of resource versions, in upstream's words.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub fn forbidden(resource: &GroupResource, name: &str, why: &str) -> Self {
        let message = if resource.resource.is_empty() {
            format!("forbidden: {why}")
        } else if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} \"{name}\" is forbidden: {why}")
        };
        Self::about(Reason::Forbidden, resource, name, message)
    }

    pub fn unauthorized() -> Self {
        Self::new(Reason::Unauthorized, "Unauthorized")
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// The object does not pass validation.
    pub fn invalid(kind: &GroupKind, name: &str, errors: &ErrorList) -> Self {
        let causes: Vec<Value> = errors
            .iter()
            .map(|e| json!({"reason": e.error_type.reason(), "message": e.body(), "field": e.path}))
            .collect();
        let resource = GroupResource::new(&kind.group, &kind.kind);
        let message = format!("{kind} \"{name}\" is invalid: {}", aggregate(errors));
        let mut error = Self::about(Reason::Invalid, &resource, name, message);
        if let Some(details) = error.details.as_mut() {
            details.insert("causes".into(), causes.into());
        }
        error
    }

    pub fn method_not_allowed(resource: &GroupResource, verb: &str) -> Self {
        Self::about(
            Reason::MethodNotAllowed,
            resource,
            "",
            format!("{verb} is not supported on resources of kind \"{resource}\""),
        )
    }

    /// The resource version asked for is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    /// The server is busy; the client should come back after `retry_after_s` seconds.
    pub fn too_many_requests(message: impl Into<String>, retry_after_s: u32) -> Self {
        Self::new(Reason::TooManyRequests, message).with_detail("retryAfterSeconds", retry_after_s)
    }

    /// What the operation needs cannot be reached now; the client should come back after `retry_after_s` seconds.
    pub fn server_timeout(resource: &GroupResource, operation: &str, retry_after_s: u32) -> Self {
        let message = format!(
            "The {operation} operation against {resource} could not be completed at this time, please try again."
        );
        Self::about(Reason::ServerTimeout, resource, "", message)
            .with_detail("retryAfterSeconds", retry_after_s)
    }

    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(Reason::InternalError, format!("Internal error occurred: {message}"))
    }

    /// What knarr cannot do yet: an honest refusal that names the missing part.
    pub fn not_implemented(what: &str) -> Self {
        Self::new(Reason::NotImplemented, format!("{what} is not implemented by knarr yet"))
    }

    pub fn with_detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    /// The `Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": self.message, "code": self.code(),
        });
        if !self.reason_text().is_empty() {
            status["reason"] = self.reason_text().into();
        }
        if let Some(next) = &self.next {
            status["metadata"]["continue"] = (**next).into();
        }
        if let Some(details) = &self.details {
            status["details"] = Value::Object((**details).clone());
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{FieldError, Path};

    #[test]
    fn statuses_read_as_upstream() {
        let pods = GroupResource::new("", "pods");
        assert_eq!(Error::not_found(&pods, "a").message, "pods \"a\" not found");
        let status = Error::not_found(&pods, "a").to_status();
        assert_eq!(status["details"], json!({"name": "a", "kind": "pods"}));
        let list = vec![FieldError::required(&Path::root("spec"), "")];
        let e = Error::invalid(&GroupKind::new("apps", "ReplicaSet"), "x", &list);
        assert_eq!(e.message, "ReplicaSet.apps \"x\" is invalid: spec: Required value");
        assert_eq!(e.code(), 422);
        let status = Error::server_timeout(&GroupResource::new("apps", "deployments"), "list", 2).to_status();
        assert_eq!(status["code"], 500);
        assert_eq!(
            status["message"],
            "The list operation against deployments.apps could not be completed at this time, please try again."
        );
        assert_eq!(
            status["details"],
            json!({"group": "apps", "kind": "deployments", "retryAfterSeconds": 2})
        );
    }
}
