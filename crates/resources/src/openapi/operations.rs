//! The operations of a row, independent of the OpenAPI version that says them.

use serde_json::{Value, json};

use crate::part::{Part, PartHandler};
use crate::row::{Resource, Verb};
use crate::schema_data;
use api::GroupVersionKind;

/// A query or path parameter.
pub(super) struct Parameter {
    pub name: &'static str,
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
        if self.inline { self.v2() } else { json!({"$ref": format!("#/parameters/{}", self.name)}) }
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
    Parameter { name, kind, place: "query", description, inline: false }
}

const fn path(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind: "string", place: "path", description, inline: false }
}

const fn inline(parameter: Parameter) -> Parameter {
    Parameter { inline: true, ..parameter }
}

/// All parameters, by name.
#[rustfmt::skip]
pub(super) const PARAMETERS: &[Parameter] = &[
    path("name", "name of the object"),
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
    query("timestamps", "boolean", "Add an RFC3339 timestamp at the beginning of every line of log output."),
    query("ports", "integer", "List of ports to forward."),
    query("path", "string", "The URL path to use in the proxied request."),
];

const LIST: &[&str] = &[
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
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETE: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];
const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "timeoutSeconds",
];

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const BODIES: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const LISTS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
const ANY: &[&str] = &["*/*"];

/// One operation: a method on a path.
pub(super) struct Operation<'a> {
    row: &'a Resource,
    pub path: String,
    pub method: &'static str,
    /// `list`, `post`, `patch`, `connect`, …
    action: &'static str,
    subresource: Option<&'a str>,
    all_namespaces: bool,
    query: &'static [&'static str],
    kind: GroupVersionKind,
    /// Names of schemas.
    pub body: Option<String>,
    pub answer: Option<String>,
}

/// All operations of a row, its subresources included.
pub(super) fn of_row(row: &Resource) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for &verb in &row.verbs {
        operations.extend(operation(row, verb));
        if verb == Verb::List && row.namespaced() {
            let mut everywhere = operation(row, verb).expect("listing is an operation");
            everywhere.path = base(row, false);
            everywhere.all_namespaces = true;
            operations.push(everywhere);
        }
    }
    for part in &row.parts {
        operations.extend(part.verbs.iter().map(|&verb| subresource(row, part, verb)));
    }
    operations
}

fn base(row: &Resource, namespaced: bool) -> String {
    let gv = super::api_path(&row.group_version());
    let namespace = if namespaced { "namespaces/{namespace}/" } else { "" };
    format!("/{gv}/{namespace}{}", row.plural)
}

/// The name of the schema a part's requests carry.
fn schema_name(row: &Resource, part: &Part) -> Option<String> {
    if part.kind == row.gvk() {
        return Some(row.schema.structure().name.to_string());
    }
    Some(schema_data::schema_of_kind(&part.kind)?.structure().name.to_string())
}

fn operation(row: &Resource, verb: Verb) -> Option<Operation<'_>> {
    let kind = row.gvk();
    let structure = &row.schema.structure().name;
    let own = Some(structure.to_string());
    let list = Some(format!("{structure}List")).filter(|list| row.schema.types().find(list).is_some());
    let options = Some(format!("{META}.DeleteOptions"));
    let status = Some(format!("{META}.Status"));
    let (method, action, query, body, answer, of_object) = match verb {
        Verb::Create => ("post", "post", WRITE, own.clone(), own, false),
        Verb::List => ("get", "list", LIST, None, list, false),
        Verb::DeleteCollection => ("delete", "deletecollection", DELETE_COLLECTION, options, status, false),
        Verb::Get => ("get", "get", &[][..], None, own, true),
        Verb::Update => ("put", "put", WRITE, own.clone(), own, true),
        Verb::Patch => ("patch", "patch", PATCH, Some(format!("{META}.Patch")), own, true),
        Verb::Delete => ("delete", "delete", DELETE, options, status, true),
        // A parameter of list.
        Verb::Watch => return None,
    };
    let base = base(row, row.namespaced());
    let path = if of_object { format!("{base}/{{name}}") } else { base };
    Some(Operation {
        row,
        path,
        method,
        action,
        subresource: None,
        all_namespaces: false,
        query,
        kind,
        body,
        answer,
    })
}

fn subresource<'a>(row: &'a Resource, part: &'a Part, verb: Verb) -> Operation<'a> {
    let schema = schema_name(row, part);
    let connects = part.handler.connects();
    let (method, action, query, has_body) = match verb {
        Verb::Create => ("post", "post", WRITE, true),
        Verb::Update => ("put", "put", WRITE, true),
        Verb::Patch => ("patch", "patch", PATCH, true),
        Verb::Delete => ("delete", "delete", &[][..], false),
        _ => ("get", "get", &[][..], false),
    };
    let action = if connects { "connect" } else { action };
    let query = match part.handler {
        PartHandler::Exec => &["command", "container", "stderr", "stdin", "stdout", "tty"][..],
        PartHandler::Attach => &["container", "stderr", "stdin", "stdout", "tty"][..],
        PartHandler::PortForward => &["ports"][..],
        PartHandler::Proxy(_) => &["path"][..],
        PartHandler::Log => {
            &["container", "follow", "limitBytes", "previous", "sinceSeconds", "tailLines", "timestamps"][..]
        }
        _ => query,
    };
    let body = match verb {
        Verb::Patch if !connects => Some(format!("{META}.Patch")),
        _ if has_body && !connects => schema.clone(),
        _ => None,
    };
    let answer = if connects || part.handler == PartHandler::Log { None } else { schema };
    Operation {
        row,
        path: format!("{}/{{name}}/{}", base(row, row.namespaced()), part.name),
        method,
        action,
        subresource: Some(&part.name),
        all_namespaces: false,
        query,
        kind: if connects { row.gvk() } else { part.kind.clone() },
        body,
        answer,
    }
}

/// What a status code means.
pub(super) fn meaning(code: &str) -> &'static str {
    match code {
        "201" => "Created",
        "202" => "Accepted",
        _ => "OK",
    }
}

impl Operation<'_> {
    /// The schemas the operation speaks of.
    pub fn schemas(&self) -> impl Iterator<Item = &str> {
        self.body.iter().chain(&self.answer).map(String::as_str)
    }

    /// The parameters of the whole path.
    pub fn path_parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        let has = |name: &str| self.path.contains(&format!("{{{name}}}"));
        let (name, namespace) = (has("name"), has("namespace"));
        PARAMETERS.iter().filter(move |p| match p.name {
            "name" => name,
            "namespace" => namespace,
            other => other == "pretty",
        })
    }

    pub fn query_parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        let names = self.query;
        PARAMETERS.iter().filter(move |p| names.contains(&p.name))
    }

    pub fn body_required(&self) -> bool {
        self.method != "delete"
    }

    pub fn consumes(&self) -> &'static [&'static str] {
        if self.action == "patch" { PATCHES } else { ANY }
    }

    pub fn produces(&self) -> &'static [&'static str] {
        match (self.action, &self.answer) {
            ("list", _) => LISTS,
            (_, None) => ANY,
            _ => BODIES,
        }
    }

    /// The codes of success.
    pub fn codes(&self) -> &'static [&'static str] {
        match self.action {
            "post" => &["200", "201", "202"],
            "put" | "patch" => &["200", "201"],
            "delete" => &["200", "202"],
            _ => &["200"],
        }
    }

    /// What both versions say alike.
    pub fn common(&self) -> Value {
        let group = camel_group(&self.row.group);
        let kind = json!({"group": self.kind.group, "version": self.kind.version, "kind": self.kind.kind});
        json!({
            "operationId": self.id(&group),
            "description": self.description(),
            "tags": [format!("{}_{}", lower_first(&group), self.row.version)],
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": kind,
        })
    }

    fn id(&self, group: &str) -> String {
        let verb = match self.action {
            "post" => "create",
            "get" => "read",
            "put" => "replace",
            "deletecollection" => "deleteCollection",
            "connect" => match self.method {
                "get" => "connectGet",
                "post" => "connectPost",
                "put" => "connectPut",
                "patch" => "connectPatch",
                _ => "connectDelete",
            },
            other => other,
        };
        let namespaced = if self.row.namespaced() && !self.all_namespaces { "Namespaced" } else { "" };
        let everywhere = if self.all_namespaces { "ForAllNamespaces" } else { "" };
        let sub = self.subresource.map(upper_first).unwrap_or_default();
        let version = upper_first(&self.row.version);
        format!("{verb}{group}{version}{namespaced}{}{sub}{everywhere}", self.row.kind)
    }

    fn description(&self) -> String {
        let kind = &self.row.kind;
        let of = self
            .subresource
            .map_or_else(|| (*kind).to_string(), |sub| format!("{sub} of the specified {kind}"));
        match self.action {
            "post" => format!("create {of}"),
            "get" => format!("read {of}"),
            "put" => format!("replace {of}"),
            "patch" => format!("partially update {of}"),
            "delete" => format!("delete {of}"),
            "deletecollection" => format!("delete collection of {kind}"),
            "list" => format!("list or watch objects of kind {kind}"),
            _ => format!("connect to {of}"),
        }
    }
}

/// `apps` → `Apps`, `rbac.authorization.k8s.io` → `RbacAuthorization`, the core group → `Core`.
fn camel_group(group: &str) -> String {
    if group.is_empty() {
        return "Core".into();
    }
    group.strip_suffix(".k8s.io").unwrap_or(group).split('.').map(upper_first).collect()
}

fn upper_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}
