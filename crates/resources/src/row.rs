//! [`Resource`]: one row of the kind table, all that the generic machinery needs to serve a kind.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use api::field::{ErrorList, FieldError, Path};
use api::names;
use api::schema::Shape;
use api::{GroupKind, GroupResource, GroupVersion, GroupVersionKind, Object};
use serde_json::Value;

use crate::columns::Printer;
use crate::logic::{Changes, Logic};
use crate::part::{Part, PartHandler, ScalePaths};
use crate::schema::Schema;
use crate::verb::Verb;

/// Whether objects live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// Converts between a served version and the stored one. Absent where they are the same.
pub trait Convert: Send + Sync {
    /// From the row's version to the storage version.
    fn to_stored(&self, object: &mut Object);

    /// From the storage version to the row's.
    fn to_served(&self, object: &mut Object);
}

/// A webhook that converts objects, as the kind's definition names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversionWebhook {
    /// Where it is (`clientConfig`).
    pub client: Value,
    /// The versions of reviews that it understands, the preferred first.
    pub reviews: Vec<String>,
}

/// What the machinery does with objects of a kind, besides the kind's [`Logic`].
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether updates are warned of at all.
    pub warns_on_update: bool,
    /// Whether `metadata.generation` counts changes of anything but metadata and status.
    pub has_generation: bool,
    /// Whether PUT of an absent object makes it (upstream: `AllowCreateOnUpdate`).
    pub create_on_update: bool,
    /// Whether an update without resourceVersion is taken (upstream: `AllowUnconditionalUpdate`).
    pub unconditional_update: bool,
    /// Whether deleting without a propagation policy orphans dependents (upstream's default for
    /// few old kinds) instead of background deletion.
    pub orphan_by_default: bool,
    /// Whether a deletion that is done is answered with the object as it was (upstream: `ReturnDeletedObject`),
    /// not with a Status.
    pub returns_deleted: bool,
    /// The errors of a name of this kind; empty when it is well formed.
    pub name_grammar: fn(&str) -> names::Faults,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            warns_on_update: true,
            has_generation: false,
            create_on_update: false,
            unconditional_update: true,
            orphan_by_default: false,
            returns_deleted: false,
            name_grammar: names::dns1123_subdomain,
        }
    }
}

/// A field that an update may not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Immutable {
    /// Field names from the object's top.
    pub path: Vec<Cow<'static, str>>,
    pub refusal: Refusal,
}

/// How a change of an immutable field is refused, with what detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Forbidden(Cow<'static, str>),
    Invalid(Cow<'static, str>),
}

impl Immutable {
    pub fn forbidden(path: &[&'static str], detail: &'static str) -> Self {
        Self::refused(path, Refusal::Forbidden(detail.into()))
    }

    pub fn invalid(path: &[&'static str], detail: &'static str) -> Self {
        Self::refused(path, Refusal::Invalid(detail.into()))
    }

    fn refused(path: &[&'static str], refusal: Refusal) -> Self {
        Self { path: path.iter().map(|step| (*step).into()).collect(), refusal }
    }

    /// The errors of a change. Absent and null are alike.
    fn judge(&self, new: &Object, old: &Object) -> Option<FieldError> {
        let given = |object: &'_ Object| object.at(&self.path).filter(|value| !value.is_null()).cloned();
        let value = given(new);
        if value == given(old) {
            return None;
        }
        let (top, rest) = self.path.split_first()?;
        Some(self.refuse(&Path::root(top), rest, value.unwrap_or_default()))
    }

    fn refuse(&self, path: &Path<'_>, rest: &[Cow<'static, str>], value: Value) -> FieldError {
        match (rest.split_first(), &self.refusal) {
            (Some((step, rest)), _) => self.refuse(&path.child(step), rest, value),
            (None, Refusal::Forbidden(detail)) => FieldError::forbidden(path, &**detail),
            (None, Refusal::Invalid(detail)) => FieldError::invalid(path, value, &**detail),
        }
    }
}

/// What is asked by creating an object of a kind that is only a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// That a pod run on a node (`Binding`).
    Binding,
    /// Whose a token is (`TokenReview`).
    Token,
    /// The identity of the requester (`SelfSubjectReview`).
    SelfSubject,
    /// Whether a user may do something (`SubjectAccessReview`).
    SubjectAccess,
    /// The same, in one namespace (`LocalSubjectAccessReview`).
    LocalSubjectAccess,
    /// Whether the asker may do something (`SelfSubjectAccessReview`).
    SelfSubjectAccess,
    /// All that the asker may do (`SelfSubjectRulesReview`).
    SelfSubjectRules,
}

/// What is seen when objects are asked for that nobody stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// How the parts of the control plane are (`ComponentStatus`).
    Components,
    /// What nodes use (`NodeMetrics`).
    NodeUsage,
    /// What pods' containers use (`PodMetrics`).
    PodUsage,
}

/// A field that lists and watches can select by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectableField {
    /// The field's name in a selector.
    pub name: Cow<'static, str>,
    /// The path inside the stored version of the object.
    pub path: Vec<Cow<'static, str>>,
    /// Where the value is taken from when there is none at `path`.
    pub or: Option<Vec<Cow<'static, str>>>,
    /// What the field reads as where an object does not have it: `false` for booleans, `0` for numbers, else
    /// nothing, as upstream's typed objects have it.
    pub absent: &'static str,
    /// Whether clients watch by one value of it each, as every kubelet does by `spec.nodeName`: a change then
    /// costs nothing for the watches of other values.
    pub trigger: bool,
}

impl SelectableField {
    /// The field at `path` of objects that are stored with structure `stored`.
    pub fn new(name: Cow<'static, str>, path: Vec<Cow<'static, str>>, stored: &Schema) -> Self {
        let absent = Self::absent(&path, stored);
        let trigger = name == "spec.nodeName" && path == ["spec", "nodeName"];
        Self { name, path, or: None, absent, trigger }
    }

    /// The same, whose value is that at `path` where there is none at the field's own.
    #[must_use]
    pub fn or(self, path: Vec<Cow<'static, str>>) -> Self {
        Self { or: Some(path), ..self }
    }

    fn absent(path: &[Cow<'static, str>], stored: &Schema) -> &'static str {
        let top = Shape::Struct(stored.id());
        let shape = path.iter().try_fold(&top, |shape, step| match shape {
            Shape::Struct(id) => stored.types().get(*id).field(step).map(|field| &field.shape),
            _ => None,
        });
        match shape {
            Some(Shape::Bool) => "false",
            Some(Shape::Int32 | Shape::Int64) => "0",
            _ => "",
        }
    }
}

/// A kind, as served in one group and version.
#[derive(Clone)]
pub struct Resource {
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    /// The kind of lists of the kind.
    pub list_kind: Cow<'static, str>,
    pub plural: Cow<'static, str>,
    pub singular: Cow<'static, str>,
    pub short_names: Vec<Cow<'static, str>>,
    /// `all` and the like.
    pub categories: Vec<Cow<'static, str>>,
    pub scope: Scope,
    pub verbs: Vec<Verb>,
    /// The subresources, by name.
    pub parts: Vec<Part>,
    pub schema: Schema,
    /// The structure of what is stored, in [`Resource::storage_version`].
    pub stored_schema: Schema,
    pub logic: Arc<dyn Logic>,
    pub rules: Rules,
    /// The columns of the kind's Tables.
    pub printer: Arc<dyn Printer>,
    /// Field selectors besides `metadata.name` and `metadata.namespace`.
    pub selectable_fields: Vec<SelectableField>,
    /// Fields that a plain update may not change, if [`Logic::changes`] refers to them.
    pub immutable_fields: Vec<Immutable>,
    /// Group and plural under which objects are stored: `/registry/<prefix>/[<namespace>/]<name>`.
    pub storage_prefix: Cow<'static, str>,
    /// The apiVersion objects are stored in.
    pub storage_version: GroupVersion,
    pub convert: Option<Arc<dyn Convert>>,
    /// Who converts between the versions before `convert` does the rest: a webhook of the kind's owner.
    pub conversion: Option<Arc<ConversionWebhook>>,
    /// What creating an object asks, where the kind is only a question: created, answered, never stored.
    pub question: Option<Question>,
    /// What is seen when objects are asked for, where none are stored.
    pub observed: Option<Observed>,
    /// Whether another server serves the kind, which is known by discovery alone.
    pub elsewhere: bool,
    /// How long objects live after their last write, in seconds (events: 3600).
    pub ttl_s: Option<u64>,
    /// The warning for users of the kind: since when it is deprecated, and its replacement.
    pub deprecated: Option<Cow<'static, str>>,
}

impl Resource {
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    pub fn group_version(&self) -> GroupVersion {
        GroupVersion::new(&self.group, &self.version)
    }

    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(&self.group, &self.version, &self.kind)
    }

    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(&self.group, &self.kind)
    }

    /// Whether answers about the row's objects can be written in protobuf: of custom kinds, and of versions that are
    /// no longer upstream's, they cannot.
    pub fn in_protobuf(&self) -> bool {
        self.schema.in_protobuf() && crate::schema_of_kind(&self.gvk()).is_some()
    }

    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(&self.group, &self.plural)
    }

    /// The subresource of a name.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// Where the scale subresource finds its figures, where there is one.
    pub fn scale(&self) -> Option<&ScalePaths> {
        self.parts.iter().find_map(|part| match &part.handler {
            PartHandler::Scale(paths) => Some(paths),
            _ => None,
        })
    }

    /// Everything wrong with a change by a plain update, which includes everything wrong with the new object.
    pub fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        match self.logic.changes() {
            Changes::Any(_) | Changes::NotYetJudged(_) => self.logic.validate(new),
            Changes::AllButImmutable => {
                let mut errors = self.logic.validate(new);
                errors.extend(self.immutable_fields.iter().filter_map(|field| field.judge(new, old)));
                errors
            }
            Changes::Judged(judge) => judge(new, old),
        }
    }

    /// Whether there are objects of the kind in the store.
    pub fn is_stored(&self) -> bool {
        self.question.is_none() && self.observed.is_none()
    }

    pub fn supports(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    /// The key of an object in the store.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced() {
            format!("/registry/{}/{namespace}/{name}", self.storage_prefix)
        } else {
            format!("/registry/{}/{name}", self.storage_prefix)
        }
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.group_version(), self.plural)
    }
}
