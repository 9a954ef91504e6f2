//! The parameters of operations, and which kinds of operations have which.

use serde_json::{Value, json};

/// A query or path parameter.
pub(super) struct Parameter {
    pub name: &'static str,
    /// The name under which operations refer to it: two may be called the same.
    pub key: &'static str,
    kind: &'static str,
    place: &'static str,
    description: &'static str,
    /// Written out in each operation, where kubectl looks for it, not shared by reference.
    pub inline: bool,
}

impl Parameter {
    pub fn v2(&self) -> Value {
        let mut value = json!({"name": self.name, "in": self.place, "type": self.kind,
            "description": self.description, "uniqueItems": true});
        if self.place == "path" {
            value["required"] = true.into();
        }
        value
    }

    pub fn v2_or_reference(&self) -> Value {
        if self.inline { self.v2() } else { json!({"$ref": format!("#/parameters/{}", self.key)}) }
    }

    pub fn is_in_path(&self) -> bool {
        self.place == "path"
    }

    pub fn v3(&self) -> Value {
        let mut value = json!({"name": self.name, "in": self.place, "description": self.description,
            "schema": {"type": self.kind, "uniqueItems": true}});
        if self.place == "path" {
            value["required"] = true.into();
        }
        value
    }
}

const fn query(name: &'static str, kind: &'static str, description: &'static str) -> Parameter {
    Parameter { name, key: name, kind, place: "query", description, inline: false }
}

const fn path(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, key: name, kind: "string", place: "path", description, inline: false }
}

const fn inline(parameter: Parameter) -> Parameter {
    Parameter { inline: true, ..parameter }
}

/// All parameters, by name.
#[rustfmt::skip]
pub(super) const PARAMETERS: &[Parameter] = &[
    path("name", "name of the object"),
    Parameter { key: "pathBelow", ..path("path", "path to the resource") },
    path("namespace", "object name and auth scope, such as for teams and projects"),
    query("pretty", "string", "If 'true', then the output is pretty printed."),
    query("allowWatchBookmarks", "boolean", "Requests watch events with type \"BOOKMARK\"."),
    query("continue", "string", "The continue token of a previous, limited list."),
    query("fieldSelector", "string", "A selector to restrict the list of returned objects by their fields. Defaults to everything."),
    query("labelSelector", "string", "A selector to restrict the list of returned objects by their labels. Defaults to everything."),
    query("limit", "integer", "A maximum number of responses to return for a list call."),
    query("resourceVersion", "string", "A constraint on what resource versions a request may be served from."),
    query("resourceVersionMatch", "string", "How resourceVersion is applied to list calls."),
    query("sendInitialEvents", "boolean", "Starts a watch with synthetic events for all current objects, followed by a bookmark."),
    query("timeoutSeconds", "integer", "Timeout for the list/watch call, whatever its activity."),
    query("watch", "boolean", "Watch for changes and return them as a stream of add, update, and remove notifications."),
    inline(query("dryRun", "string", "When present, indicates that modifications should not be persisted. Valid values are: - All: all dry run stages will be processed")),
    inline(query("fieldValidation", "string", "How to handle unknown or duplicate fields. Valid values are: - Ignore: drops unknown fields silently. - Warn: sends a warning for each (the default). - Strict: fails the request with a BadRequest error.")),
    query("fieldManager", "string", "The name of the actor or entity that is making these changes."),
    query("force", "boolean", "Forces apply requests: takes fields owned by other managers. Must be unset for other patches."),
    query("gracePeriodSeconds", "integer", "The duration in seconds before the object should be deleted. Zero means delete immediately."),
    query("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean", "Deletes an object that cannot be read from the store."),
    query("orphanDependents", "boolean", "Deprecated: please use the propagationPolicy."),
    query("propagationPolicy", "string", "Whether and how garbage collection will be performed: 'Orphan', 'Background' or 'Foreground'."),
    query("command", "string", "The remote command to execute, as a string array."),
    query("container", "string", "The container in which to run. Defaults to only container if there is only one container in the pod."),
    query("stderr", "boolean", "Whether standard error is redirected."),
    query("stdin", "boolean", "Whether standard input is redirected."),
    query("stdout", "boolean", "Whether standard output is redirected."),
    query("tty", "boolean", "Whether a terminal is allocated."),
    query("follow", "boolean", "Follow the log stream of the pod."),
    query("previous", "boolean", "Return previous terminated container logs."),
    query("sinceSeconds", "integer", "A relative time in seconds before the current time from which to show logs."),
    query("tailLines", "integer", "The number of lines from the end of the logs to show."),
    query("limitBytes", "integer", "The number of bytes to read from the server before terminating the log output."),
    query("stream", "string", "Which stream of the log to show: All, Stdout or Stderr."),
    query("insecureSkipTLSVerifyBackend", "boolean", "Taken for compatibility; the node's certificate is always verified."),
    query("timestamps", "boolean", "Add an RFC3339 timestamp at the beginning of every line of log output."),
    query("ports", "integer", "List of ports to forward."),
    query("path", "string", "The URL path to use in the proxied request."),
];

pub(super) const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
pub(super) const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
pub(super) const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
pub(super) const DELETE: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];
pub(super) const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
];
