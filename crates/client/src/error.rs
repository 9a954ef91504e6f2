//! Classifies failed calls by status code and reason, never by text.

use kube::Error;

fn status(error: &Error) -> Option<&kube::core::Status> {
    match error {
        Error::Api(status) => Some(status),
        _ => None,
    }
}

pub fn is_not_found(error: &Error) -> bool {
    status(error).is_some_and(|s| s.code == 404)
}

/// The object changed since it was read, or a precondition failed.
pub fn is_conflict(error: &Error) -> bool {
    status(error).is_some_and(|s| s.code == 409 && s.reason == "Conflict")
}

pub fn is_already_exists(error: &Error) -> bool {
    status(error).is_some_and(|s| s.code == 409 && s.reason == "AlreadyExists")
}

/// The resource version asked for is too old: list again.
pub fn is_expired(error: &Error) -> bool {
    status(error).is_some_and(|s| s.code == 410)
}

/// A create refused because its namespace is going away: trying again is pointless.
pub fn is_forbidden_by_terminating_namespace(error: &Error) -> bool {
    status(error).is_some_and(|s| {
        s.code == 403
            && s.details.as_ref().is_some_and(|d| d.causes.iter().any(|c| c.reason == "NamespaceTerminating"))
    })
}
