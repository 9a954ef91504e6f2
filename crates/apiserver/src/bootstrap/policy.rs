//! RBAC's default roles and bindings, read from `data/rbac.txt`.

use std::sync::LazyLock;

use api::Object;
use serde_json::{Map, Value, json};

use crate::identity::authn::AUTHENTICATED_GROUP;
use crate::identity::authz::rbac::{GROUP, Rule};
use crate::request::User;

/// The annotation of objects that are kept current.
pub(super) const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const TABLE: &str = include_str!("../../data/rbac.txt");
const CONTROLLER_PREFIX: &str = "system:controller:";
const CONTROLLERS_NAMESPACE: &str = "kube-system";
const READ: [&str; 3] = ["get", "list", "watch"];
const CHANGE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

static DEFAULTS: LazyLock<Defaults> = LazyLock::new(|| {
    Defaults::parse(TABLE).unwrap_or_else(|line| unreachable!("the table is part of the program: {line}"))
});

/// What every node may do, apart from what is divided among nodes.
pub fn node_rules() -> Vec<Rule> {
    DEFAULTS.roles.iter().find(|role| role.name == "system:node").map(|r| r.rules.clone()).unwrap_or_default()
}

/// The identity a controller of this process acts as: its service account in `kube-system`, with the role
/// `system:controller:NAME`.
pub fn controller_identity(name: &str) -> User {
    User {
        name: format!("system:serviceaccount:{CONTROLLERS_NAMESPACE}:{name}"),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{CONTROLLERS_NAMESPACE}"),
            AUTHENTICATED_GROUP.to_owned(),
        ],
        ..User::default()
    }
}

/// All default objects.
pub(super) fn objects() -> Vec<Object> {
    let roles = DEFAULTS.roles.iter().map(|role| role.object(&DEFAULTS.roles));
    roles.chain(DEFAULTS.bindings.iter().map(Binding::object)).collect()
}

/// A role of the table. The namespace is empty for cluster roles.
#[derive(Debug, Default, PartialEq, Eq)]
struct Role {
    namespace: String,
    name: String,
    rules: Vec<Rule>,
    aggregate_to: Option<String>,
    from: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Binding {
    namespace: String,
    name: String,
    role: String,
    subjects: Vec<Value>,
}

#[derive(Debug, Default)]
pub(super) struct Defaults {
    roles: Vec<Role>,
    bindings: Vec<Binding>,
}

impl Defaults {
    /// Reads the table; the line that cannot be read otherwise.
    fn parse(table: &str) -> Result<Self, String> {
        let mut defaults = Self::default();
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let read = match words.as_slice() {
                ["role", place, options @ ..] => role(place, options).map(|role| defaults.roles.push(role)),
                ["bind", place, rest @ ..] => {
                    binding(place, rest).map(|binding| defaults.bindings.push(binding))
                }
                rule => {
                    defaults.roles.last_mut().zip(self::rule(rule)).map(|(role, rule)| role.rules.push(rule))
                }
            };
            read.ok_or_else(|| line.to_owned())?;
        }
        defaults.add_controllers();
        Ok(defaults)
    }

    /// Binds the controllers' roles, each to its account.
    fn add_controllers(&mut self) {
        for role in self.roles.iter().filter(|role| role.namespace.is_empty()) {
            let Some(name) = role.name.strip_prefix(CONTROLLER_PREFIX) else { continue };
            self.bindings.push(Binding {
                namespace: String::new(),
                name: role.name.clone(),
                role: role.name.clone(),
                subjects: vec![account(CONTROLLERS_NAMESPACE, name)],
            });
        }
    }
}

fn place(text: &str) -> (String, String) {
    let (namespace, name) = text.split_once('/').unwrap_or(("", text));
    (namespace.to_owned(), name.to_owned())
}

fn role(text: &str, options: &[&str]) -> Option<Role> {
    let (namespace, name) = place(text);
    let mut role = Role { namespace, name, ..Role::default() };
    for option in options {
        match option.split_once('=')? {
            ("aggregate-to", target) => role.aggregate_to = Some(target.to_owned()),
            ("from", source) => role.from = Some(source.to_owned()),
            _ => return None,
        }
    }
    Some(role)
}

fn rule(words: &[&str]) -> Option<Rule> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let verbs = words.first()?.split(',').flat_map(|verb| match verb {
        "read" => READ.to_vec(),
        "change" => CHANGE.to_vec(),
        verb => vec![verb],
    });
    let verbs = verbs.map(str::to_owned).collect();
    match words {
        [_, "url", paths] => Some(Rule { verbs, non_resource_urls: list(paths), ..Rule::default() }),
        [_, groups, resources, names @ ..] if names.len() < 2 => Some(Rule {
            verbs,
            api_groups: groups.split(',').map(|g| if g == "core" { "" } else { g }.to_owned()).collect(),
            resources: list(resources),
            resource_names: names.first().map(|names| list(names)).unwrap_or_default(),
            ..Rule::default()
        }),
        _ => None,
    }
}

fn binding(text: &str, rest: &[&str]) -> Option<Binding> {
    let (namespace, name) = place(text);
    let (role, subjects) = match rest {
        [] => (name.clone(), ""),
        [subjects] => (name.clone(), *subjects),
        [role, subjects] => ((*role).to_owned(), *subjects),
        _ => return None,
    };
    let subjects =
        subjects.split(',').filter(|subject| !subject.is_empty()).map(subject).collect::<Option<_>>()?;
    Some(Binding { namespace, name, role, subjects })
}

fn subject(text: &str) -> Option<Value> {
    match text.split_once(':')? {
        ("user", name) => Some(named("User", name)),
        ("group", name) => Some(named("Group", name)),
        ("account", place) => place.split_once('/').map(|(namespace, name)| account(namespace, name)),
        _ => None,
    }
}

fn named(kind: &str, name: &str) -> Value {
    json!({"apiGroup": GROUP, "kind": kind, "name": name})
}

fn account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
}

fn object(kind: &str, namespace: &str, name: &str, labels: Map<String, Value>) -> Object {
    let cluster = if namespace.is_empty() { "Cluster" } else { "" };
    let mut object = Object::new(&format!("{GROUP}/v1"), &format!("{cluster}{kind}"));
    object.set_meta_str("name", name);
    if !namespace.is_empty() {
        object.set_meta_str("namespace", namespace);
    }
    object.metadata_mut().insert("labels".into(), Value::Object(labels));
    object.set_at(&["metadata", "annotations"], json!({ AUTOUPDATE: "true" }));
    object
}

fn labels() -> Map<String, Value> {
    Map::from_iter([("kubernetes.io/bootstrapping".to_owned(), "rbac-defaults".into())])
}

fn aggregation_label(target: &str) -> String {
    format!("{GROUP}/aggregate-to-{target}")
}

impl Role {
    fn object(&self, all: &[Role]) -> Object {
        let mut labels = labels();
        if let Some(target) = &self.aggregate_to {
            labels.insert(aggregation_label(target), "true".into());
        }
        let mut object = object("Role", &self.namespace, &self.name, labels);
        if let Some(source) = &self.from {
            object.set_at(
                &["aggregationRule"],
                json!({"clusterRoleSelectors": [{"matchLabels": {aggregation_label(source): "true"}}]}),
            );
        }
        let rules: Vec<_> = self.all_rules(all).iter().map(Rule::to_json).collect();
        object.set_at(&["rules"], rules.into());
        object
    }

    /// The role's own rules and those of the roles it is put together from.
    fn all_rules(&self, all: &[Role]) -> Vec<Rule> {
        let mut rules = self.rules.clone();
        let sources = all.iter().filter(|role| self.from.is_some() && role.aggregate_to == self.from);
        for rule in sources.flat_map(|role| role.all_rules(all)) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        rules
    }
}

impl Binding {
    fn object(&self) -> Object {
        let kind = if self.namespace.is_empty() { "ClusterRole" } else { "Role" };
        let mut object = object("RoleBinding", &self.namespace, &self.name, labels());
        object.set_at(&["roleRef"], json!({"apiGroup": GROUP, "kind": kind, "name": self.role}));
        if !self.subjects.is_empty() {
            object.set_at(&["subjects"], self.subjects.clone().into());
        }
        object
    }
}
