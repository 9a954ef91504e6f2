//! [`Resource`]: one row of the kind table, all that the generic machinery needs to serve a kind.

use std::borrow::Cow;

use api::field::ErrorList;
use api::schema::StructId;
use api::{GroupKind, GroupResource, GroupVersion, GroupVersionKind, Object};

/// Whether objects live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// What can be asked of a resource, with discovery's spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    pub const ALL: [Verb; 8] = [
        Self::Create,
        Self::Delete,
        Self::DeleteCollection,
        Self::Get,
        Self::List,
        Self::Patch,
        Self::Update,
        Self::Watch,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// Where a scale subresource finds its figures: field paths inside the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    pub spec_replicas: &'static [&'static str],
    pub status_replicas: &'static [&'static str],
    /// A label selector object, or (ReplicationController) a plain map of labels.
    pub selector: &'static [&'static str],
}

/// The subresources with generic behaviour. Special ones (`binding`, `eviction`, `exec`, `log`,
/// `token`, …) are listed by name in [`Subresources::special`] and served by their own modules.
#[derive(Debug, Clone, Default)]
pub struct Subresources {
    pub status: bool,
    pub scale: Option<ScalePaths>,
    pub special: &'static [&'static str],
}

/// Converts between a served version and the stored one. Absent where they are the same.
#[derive(Debug, Clone, Copy)]
pub struct Convert {
    /// From this row's version to the storage version.
    pub to_storage: fn(&mut Object),
    /// From the storage version to this row's.
    pub from_storage: fn(&mut Object),
}

/// The logic of a kind, all pure. Objects arrive decoded (structure already checked), in this
/// row's version. `metadata` common to all kinds is handled by the machinery.
///
/// Order on create: `default` → mutating admission → `default` → `prepare_create` → validation.
/// Order on update: decode/patch → `default` → mutating admission → `default` → `prepare_update` → validation.
#[derive(Debug, Clone, Copy)]
pub struct Strategy {
    /// Fills in absent fields. Idempotent. Also applied to stored objects when they are read back
    /// for a patch.
    pub default: fn(&mut Object),
    /// Clears what a creator may not set (status), normalizes.
    pub prepare_create: fn(&mut Object),
    /// Keeps what a plain update may not change (status), given (new, old).
    pub prepare_update: fn(&mut Object, &Object),
    /// The same for the status subresource: keeps spec and most metadata, given (new, old).
    pub prepare_status_update: fn(&mut Object, &Object),
    pub validate_create: fn(&Object) -> ErrorList,
    /// Given (new, old). Includes all checks of the new object.
    pub validate_update: fn(&Object, &Object) -> ErrorList,
    pub validate_status_update: fn(&Object, &Object) -> ErrorList,
    /// The same for a part that only its own subresource changes (`pods/resize`): the whole must hold, what a
    /// plain update may not change may differ.
    pub validate_part_update: fn(&Object, &Object) -> ErrorList,
    /// Texts for the `Warning` header on create, and on updates that change the generation.
    pub warnings: fn(&Object) -> Vec<String>,
    /// Whether updates are warned of at all.
    pub warns_on_update: bool,
    /// Whether `metadata.generation` counts changes of anything but metadata and status.
    pub has_generation: bool,
    /// Whether PUT of an absent object makes it (upstream: `AllowCreateOnUpdate`).
    pub create_on_update: bool,
    /// Whether an update without resourceVersion is taken (upstream: `AllowUnconditionalUpdate`).
    pub unconditional_update: bool,
    /// The grace period of a delete, in seconds, given the object and what the request asked for;
    /// `None` for kinds that are deleted at once.
    pub grace_period_s: Option<fn(&Object, Option<i64>) -> i64>,
    /// Whether deleting without a propagation policy orphans dependents (upstream's default for
    /// few old kinds) instead of background deletion.
    pub orphan_by_default: bool,
    /// What is wrong with a name of this kind; empty when it is well formed.
    pub name_grammar: fn(&str) -> api::names::Faults,
}

/// A kind, as served in one group and version.
#[derive(Debug, Clone)]
pub struct Resource {
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    pub plural: Cow<'static, str>,
    pub singular: Cow<'static, str>,
    pub short_names: Vec<Cow<'static, str>>,
    /// `all` and the like.
    pub categories: Vec<Cow<'static, str>>,
    pub scope: Scope,
    pub verbs: Vec<Verb>,
    pub subresources: Subresources,
    /// The structure of the kind in [`crate::types`].
    pub schema: StructId,
    pub strategy: Strategy,
    /// Field selectors besides `metadata.name` and `metadata.namespace`: (selector name, path inside
    /// the stored version of the object).
    pub selectable_fields: Vec<(Cow<'static, str>, Vec<Cow<'static, str>>)>,
    /// Group and plural under which objects are stored: `/registry/<prefix>/[<namespace>/]<name>`.
    pub storage_prefix: Cow<'static, str>,
    /// The apiVersion objects are stored in.
    pub storage_version: GroupVersion,
    pub convert: Option<Convert>,
    /// Whether the kind is only a request (`SubjectAccessReview`, `TokenReview`): created, answered, never stored.
    pub virtual_kind: bool,
    /// How long objects live after their last write, in seconds (events: 3600).
    pub ttl_s: Option<u64>,
    /// What whoever uses the kind is warned of: since when it is deprecated, and what to use instead.
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

    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(&self.group, &self.plural)
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
