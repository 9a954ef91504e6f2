//! Classifies failed calls by status code and reason, never by text, and puts them into words.
//!
//! A call that fails because what it is about is going away is the ordinary course of things: its caller logs that as
//! debugging, not as a warning.

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

/// The very object is not there: one of the resource and of the name. A path that leads nowhere names none.
pub fn is_not_found_of(error: &Error, group: &str, resource: &str, name: &str) -> bool {
    let names = |d: &kube::core::response::StatusDetails| {
        !name.is_empty() && d.name == name && d.kind == resource && d.group == group
    };
    is_not_found(error) && status(error).and_then(|s| s.details.as_ref()).is_some_and(names)
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

/// The namespace of what was to be made is going away or is gone.
pub fn is_without_namespace(error: &Error) -> bool {
    is_forbidden_by_terminating_namespace(error)
        || status(error).is_some_and(|s| {
            s.code == 404 && s.details.as_ref().is_some_and(|d| d.kind == "namespaces" && d.group.is_empty())
        })
}

/// The failure in words, for people: the server's message alone, or what kept the call from an answer.
pub fn message(error: &Error) -> String {
    status(error).map_or_else(|| error.to_string(), |s| s.message.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn failure(code: u16, reason: &str, details: Value) -> Error {
        let status = json!({
            "status": "Failure", "message": "pods \"a\" fails", "code": code, "reason": reason, "details": details,
        });
        Error::Api(serde_json::from_value(status).expect("a Status"))
    }

    #[test]
    fn a_namespace_that_goes_or_is_gone_is_told_from_other_refusals() {
        let terminating =
            json!({"name": "a", "kind": "pods", "causes": [{"reason": "NamespaceTerminating"}]});
        let cases = [
            (failure(403, "Forbidden", terminating), true),
            (failure(403, "Forbidden", json!({"name": "a", "kind": "pods"})), false),
            (failure(404, "NotFound", json!({"name": "n", "kind": "namespaces"})), true),
            (failure(404, "NotFound", json!({"name": "a", "kind": "pods"})), false),
        ];
        for (error, expect) in cases {
            assert_eq!(is_without_namespace(&error), expect, "{error:?}");
        }
    }

    #[test]
    fn an_object_that_is_gone_is_told_from_others() {
        let gone = |details| is_not_found_of(&failure(404, "NotFound", details), "apps", "replicasets", "a");
        assert!(gone(json!({"name": "a", "group": "apps", "kind": "replicasets"})));
        assert!(!gone(json!({"name": "b", "group": "apps", "kind": "replicasets"})));
        assert!(!gone(json!({"name": "a", "kind": "pods"})));
        assert!(!gone(json!({})), "a path that leads nowhere");
        let forbidden =
            failure(403, "Forbidden", json!({"name": "a", "group": "apps", "kind": "replicasets"}));
        assert!(!is_not_found_of(&forbidden, "apps", "replicasets", "a"));
    }

    #[test]
    fn words_are_the_servers_message_alone() {
        assert_eq!(message(&failure(404, "NotFound", json!({}))), "pods \"a\" fails");
    }
}
