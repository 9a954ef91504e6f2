//! [`Policy`]: roles and bindings, and which bindings name which subject.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use super::rule::{Rule, list};
use crate::cache::Entry;
use crate::cache::lookup::decode;
use crate::request::User;

/// The four resources RBAC is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    ClusterRoles,
    Roles,
    ClusterRoleBindings,
    RoleBindings,
}

impl Source {
    pub(super) const ALL: [Self; 4] =
        [Self::ClusterRoles, Self::Roles, Self::ClusterRoleBindings, Self::RoleBindings];

    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::ClusterRoles => "clusterroles",
            Self::Roles => "roles",
            Self::ClusterRoleBindings => "clusterrolebindings",
            Self::RoleBindings => "rolebindings",
        }
    }

    pub(super) fn read(self, entry: &Entry) -> Option<Item> {
        match self {
            Self::ClusterRoles | Self::Roles => {
                decode::<RoleView>(entry).map(|role| Item::Role(role.rules.into()))
            }
            Self::ClusterRoleBindings | Self::RoleBindings => {
                decode::<BindingView>(entry).map(|view| Item::Binding(Binding::new(entry, view).into()))
            }
        }
    }
}

/// What is kept of an object.
pub(super) enum Item {
    Role(Arc<[Rule]>),
    Binding(Arc<Binding>),
}

#[derive(Deserialize)]
struct RoleView {
    #[serde(default, deserialize_with = "list")]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BindingView {
    #[serde(default, deserialize_with = "list")]
    subjects: Vec<SubjectView>,
    role_ref: RoleRef,
}

/// The role a binding grants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RoleRef {
    pub kind: String,
    pub name: String,
}

#[derive(Deserialize)]
struct SubjectView {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

/// Somebody a binding speaks of: a user name or a group. Service accounts are users of a certain name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    is_group: bool,
    name: String,
    /// `User`, `Group` or `ServiceAccount`, and the name, as reasons show it.
    shown: String,
}

/// A binding, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Binding {
    namespace: String,
    name: String,
    subjects: Vec<Subject>,
    role: RoleRef,
}

impl Binding {
    fn new(entry: &Entry, view: BindingView) -> Self {
        let namespace = entry.namespace();
        let subjects = view.subjects.into_iter().filter_map(|subject| {
            let (is_group, name) = match subject.kind.as_str() {
                "User" => (false, subject.name.clone()),
                "Group" => (true, subject.name.clone()),
                // Upstream takes the binding's namespace where the subject names none.
                "ServiceAccount" => {
                    let home = if subject.namespace.is_empty() { namespace } else { &subject.namespace };
                    if home.is_empty() {
                        return None;
                    }
                    (false, format!("system:serviceaccount:{home}:{}", subject.name))
                }
                _ => return None,
            };
            let shown = match subject.kind.as_str() {
                "ServiceAccount" => {
                    format!("ServiceAccount {:?}", format!("{}/{}", subject.name, subject.namespace))
                }
                kind => format!("{kind} {:?}", subject.name),
            };
            Some(Subject { is_group, name, shown })
        });
        Self {
            namespace: namespace.to_owned(),
            name: entry.name().to_owned(),
            subjects: subjects.collect(),
            role: view.role_ref,
        }
    }

    /// Why a binding allows something, in upstream's words.
    pub(super) fn describe(&self, subject: &Subject) -> String {
        let Self { namespace, name, role, .. } = self;
        let place = if namespace.is_empty() {
            format!("ClusterRoleBinding {name:?}")
        } else {
            format!("RoleBinding {:?}", format!("{name}/{namespace}"))
        };
        format!("RBAC: allowed by {place} of {} {:?} to {}", role.kind, role.name, subject.shown)
    }
}

/// What one binding gives a user.
pub(super) enum Grant<'p> {
    Rules {
        rules: &'p Arc<[Rule]>,
        binding: &'p Binding,
        subject: &'p Subject,
    },
    /// There is a binding, but not its role.
    Missing(String),
}

/// The bindings of one namespace, or of the cluster, by name and by subject.
#[derive(Default)]
struct Bindings {
    by_name: BTreeMap<String, Arc<Binding>>,
    users: HashMap<String, Vec<Arc<Binding>>>,
    groups: HashMap<String, Vec<Arc<Binding>>>,
}

impl Bindings {
    fn of(&mut self, subject: &Subject) -> &mut HashMap<String, Vec<Arc<Binding>>> {
        if subject.is_group { &mut self.groups } else { &mut self.users }
    }

    fn insert(&mut self, binding: Arc<Binding>) {
        self.remove(&binding.name);
        for subject in &binding.subjects {
            let list = self.of(subject).entry(subject.name.clone()).or_default();
            if !list.iter().any(|known| known.name == binding.name) {
                list.push(Arc::clone(&binding));
            }
        }
        self.by_name.insert(binding.name.clone(), binding);
    }

    fn remove(&mut self, name: &str) {
        let Some(binding) = self.by_name.remove(name) else { return };
        for subject in &binding.subjects {
            let index = self.of(subject);
            if let Some(list) = index.get_mut(&subject.name) {
                list.retain(|known| known.name != name);
                if list.is_empty() {
                    index.remove(&subject.name);
                }
            }
        }
    }
}

/// All roles and bindings. Those of the cluster stand under the empty namespace.
#[derive(Default)]
pub(super) struct Policy {
    roles: HashMap<String, HashMap<String, Arc<[Rule]>>>,
    bindings: HashMap<String, Bindings>,
}

impl Policy {
    pub(super) fn clear(&mut self, source: Source) {
        match source {
            Source::ClusterRoles => drop(self.roles.remove("")),
            Source::Roles => self.roles.retain(|namespace, _| namespace.is_empty()),
            Source::ClusterRoleBindings => drop(self.bindings.remove("")),
            Source::RoleBindings => self.bindings.retain(|namespace, _| namespace.is_empty()),
        }
    }

    /// Takes in an object; `None` when it is gone or cannot be read.
    pub(super) fn put(&mut self, source: Source, namespace: &str, name: &str, item: Option<Item>) {
        match item {
            Some(Item::Role(rules)) => {
                self.roles.entry(namespace.to_owned()).or_default().insert(name.to_owned(), rules);
            }
            Some(Item::Binding(binding)) => {
                self.bindings.entry(namespace.to_owned()).or_default().insert(binding);
            }
            None => match source {
                Source::ClusterRoles | Source::Roles => {
                    if let Some(roles) = self.roles.get_mut(namespace) {
                        roles.remove(name);
                    }
                }
                Source::ClusterRoleBindings | Source::RoleBindings => {
                    if let Some(bindings) = self.bindings.get_mut(namespace) {
                        bindings.remove(name);
                    }
                }
            },
        }
    }

    pub(super) fn rules_of(&self, role: &RoleRef, namespace: &str) -> Option<&Arc<[Rule]>> {
        let namespace = if role.kind == "ClusterRole" { "" } else { namespace };
        self.roles.get(namespace)?.get(&role.name)
    }

    /// Shows what a user is granted in the cluster, then in the namespace, until `done` says so.
    pub(super) fn visit<'p>(&'p self, user: &User, namespace: &str, mut done: impl FnMut(Grant<'p>) -> bool) {
        let scopes = [""].into_iter().chain((!namespace.is_empty()).then_some(namespace));
        for scope in scopes {
            let Some(bindings) = self.bindings.get(scope) else { continue };
            let by_user = bindings.users.get(&user.name).map(|list| (list, &user.name, false));
            let by_group = user
                .groups
                .iter()
                .filter_map(|group| bindings.groups.get(group).map(|list| (list, group, true)));
            for (list, name, is_group) in by_user.into_iter().chain(by_group) {
                for binding in list {
                    let Some(subject) =
                        binding.subjects.iter().find(|s| s.is_group == is_group && s.name == *name)
                    else {
                        continue;
                    };
                    let grant = match self.rules_of(&binding.role, &binding.namespace) {
                        Some(rules) => Grant::Rules { rules, binding, subject },
                        None => Grant::Missing(missing(&binding.role)),
                    };
                    if done(grant) {
                        return;
                    }
                }
            }
        }
    }
}

fn missing(role: &RoleRef) -> String {
    let kind = if role.kind == "ClusterRole" { "clusterrole" } else { "role" };
    format!("{kind}.{} {:?} not found", super::GROUP, role.name)
}
