//! The operations of a row, independent of the OpenAPI version that says them.

use api::GroupVersionKind;
use serde_json::{Value, json};

use super::custom;
use super::identifiers::{Identity, tag};
use super::parameters::{DELETE, DELETE_COLLECTION, LIST, PARAMETERS, PATCH, Parameter, WRITE};
use crate::part::{Part, PartHandler};
use crate::row::Resource;
use crate::schema_data;
use crate::verb::Verb;

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
/// Of custom kinds, whose structure names no merge keys for a strategic patch: kubectl goes by this.
const PATCHES_OF_CUSTOM: &[&str] =
    &["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
const LOGS: &[&str] =
    &["text/plain", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
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
    /// Below a proxy: the rest of the path is another server's.
    with_path: bool,
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
    if row.supports(Verb::Watch) {
        operations.extend(watches(row));
    }
    for part in &row.parts {
        for operation in part.verbs.iter().map(|&verb| subresource(row, part, verb)) {
            operations.push(operation);
        }
        if matches!(part.handler, PartHandler::Proxy(_)) {
            let read = || subresource(row, part, Verb::Get);
            operations.push(Operation { method: "head", ..read() });
            operations.push(Operation { method: "options", ..read() });
            let below = operations.iter().filter(|operation| operation.subresource == Some(&part.name));
            let below: Vec<_> = below.map(Operation::with_path).collect();
            operations.extend(below);
        }
    }
    operations
}

/// The watches that have paths of their own: of one object, of a namespace's and of all.
fn watches(row: &Resource) -> impl Iterator<Item = Operation<'_>> {
    let watch = move |action, namespaced: bool, tail: &str| Operation {
        row,
        path: watch_base(row, namespaced) + tail,
        method: "get",
        action,
        subresource: None,
        all_namespaces: row.namespaced() && !namespaced,
        with_path: false,
        query: LIST,
        kind: row.gvk(),
        body: None,
        answer: Some(format!("{META}.WatchEvent")),
    };
    let one = row.supports(Verb::Get).then(|| watch("watch", row.namespaced(), "/{name}"));
    let all = row.namespaced().then(|| watch("watchlist", false, ""));
    one.into_iter().chain([watch("watchlist", row.namespaced(), "")]).chain(all)
}

fn watch_base(row: &Resource, namespaced: bool) -> String {
    let gv = super::api_path(&row.group_version());
    let namespace = if namespaced { "namespaces/{namespace}/" } else { "" };
    format!("/{gv}/watch/{namespace}{}", row.plural)
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
    let list = list.or_else(|| custom::list_name(row));
    let options = Some(format!("{META}.DeleteOptions"));
    let status = Some(format!("{META}.Status"));
    let (method, action, query, body, answer, of_object) = match verb {
        Verb::Create => ("post", "post", WRITE, own.clone(), own, false),
        Verb::List => ("get", "list", LIST, None, list, false),
        Verb::DeleteCollection => ("delete", "deletecollection", DELETE_COLLECTION, options, status, false),
        Verb::Get => ("get", "get", &[][..], None, own, true),
        Verb::Update => ("put", "put", WRITE, own.clone(), own, true),
        Verb::Patch => ("patch", "patch", PATCH, Some(format!("{META}.Patch")), own, true),
        Verb::Delete => {
            let answer = if row.rules.returns_deleted { own } else { status };
            ("delete", "delete", DELETE, options, answer, true)
        }
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
        with_path: false,
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
        PartHandler::Log => &[
            "container",
            "follow",
            "insecureSkipTLSVerifyBackend",
            "limitBytes",
            "previous",
            "sinceSeconds",
            "stream",
            "tailLines",
            "timestamps",
        ][..],
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
        with_path: false,
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

impl<'a> Operation<'a> {
    /// The same with a path below.
    fn with_path(&self) -> Operation<'a> {
        Operation {
            path: format!("{}/{{path}}", self.path),
            with_path: true,
            kind: self.kind.clone(),
            body: self.body.clone(),
            answer: self.answer.clone(),
            ..*self
        }
    }

    /// Whether the parameters of the query are those of the whole path, as where watching is all it is for.
    fn is_watch(&self) -> bool {
        matches!(self.action, "watch" | "watchlist")
    }

    /// The schemas the operation speaks of.
    pub fn schemas(&self) -> impl Iterator<Item = &str> {
        self.body.iter().chain(&self.answer).map(String::as_str)
    }

    /// The parameters of the whole path.
    pub fn path_parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        let has = |name: &str| self.path.contains(&format!("{{{name}}}"));
        let in_path = ["name", "namespace", "path"].map(|name| (name, has(name)));
        // What a proxy is asked is for the other server to read.
        let pretty = self.action != "connect";
        let query = if self.is_watch() || self.action == "connect" { self.query } else { &[][..] };
        PARAMETERS.iter().filter(move |p| {
            if p.is_in_path() {
                in_path.contains(&(p.name, true))
            } else {
                (pretty && p.name == "pretty") || query.contains(&p.name)
            }
        })
    }

    pub fn query_parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        let of_path = self.is_watch() || self.action == "connect";
        let names = if of_path { &[][..] } else { self.query };
        PARAMETERS.iter().filter(move |p| !p.is_in_path() && names.contains(&p.name))
    }

    pub fn body_required(&self) -> bool {
        self.method != "delete"
    }

    pub fn consumes(&self) -> &'static [&'static str] {
        match self.action {
            "patch" if self.row.schema.custom().is_some() => PATCHES_OF_CUSTOM,
            "patch" => PATCHES,
            _ => ANY,
        }
    }

    pub fn produces(&self) -> &'static [&'static str] {
        match (self.action, &self.answer) {
            ("list" | "watch" | "watchlist", _) => LISTS,
            ("get", None) => LOGS,
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
        let row = self.row;
        let kind = json!({"group": self.kind.group, "version": self.kind.version, "kind": self.kind.kind});
        let identity = Identity {
            group: &row.group,
            version: &row.version,
            kind: &row.kind,
            action: self.action,
            method: self.method,
            subresource: self.subresource,
            namespaced: row.namespaced(),
            everywhere: self.all_namespaces,
            with_path: self.with_path,
        };
        json!({
            "operationId": identity.id(),
            "description": self.description(),
            "tags": [tag(&row.group, &row.version)],
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": kind,
        })
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
            "watch" => format!("watch one {kind}; a list with a field selector and watch does the same"),
            "watchlist" => format!("watch each {kind}; a list with watch does the same"),
            _ => format!("connect to {of}"),
        }
    }
}
