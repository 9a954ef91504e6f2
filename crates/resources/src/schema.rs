//! [`Schema`]: the structure of a kind, together with the set of types it belongs to.
//!
//! Whoever decodes, patches, merges or documents an object takes the schema of its row. The built-in kinds share one
//! set of types ([`crate::schema_of_kind`]); a custom resource brings its own, which extends that of the built-in
//! kinds ([`crate::builtin_types`]) by a few structures.

use std::fmt;
use std::sync::Arc;

use api::codec::protobuf::{self, Messages};
use api::codec::structure::Report;
use api::codec::{self, structure};
use api::schema::{Struct, StructId, Types};
use api::{Error, Object};
use expressions::Type;
use serde_json::{Map, Value};

/// What a definition says of a custom kind's structure, beside its types.
pub struct Custom {
    /// The schema as the definition has it, in JSON.
    pub published: Arc<str>,
    pub(crate) form: Box<dyn Form>,
}

/// What a definition's schema does to objects.
pub(crate) trait Form: Send + Sync {
    /// See [`Schema::settle`].
    fn settle(&self, types: &Types, object: &mut Object) -> Result<Report, String>;

    /// The type that expressions know of objects; of their metadata it has what all rules may read.
    fn declared(&self) -> Type;
}

/// A structure and the types it refers to. Cheap to clone.
#[derive(Clone)]
pub struct Schema {
    types: Arc<Types>,
    id: StructId,
    messages: Option<fn() -> &'static Messages>,
    custom: Option<Arc<Custom>>,
}

impl Schema {
    /// The structure `id` of `types`, which has no protobuf form.
    ///
    /// # Panics
    /// When `id` is not in `types`.
    pub fn new(types: Arc<Types>, id: StructId) -> Self {
        assert!(id < types.next_id(), "the structure belongs to the types");
        Self { types, id, messages: None, custom: None }
    }

    /// The same, with the numbers of the fields in protobuf.
    pub(crate) fn with_messages(self, messages: fn() -> &'static Messages) -> Self {
        Self { messages: Some(messages), ..self }
    }

    /// The same, of a custom kind, whose objects are judged by what its definition says.
    pub(crate) fn with_custom(self, custom: Arc<Custom>) -> Self {
        Self { custom: Some(custom), ..self }
    }

    /// What the definition of a custom kind says of the structure; `None` for a built-in one.
    pub fn custom(&self) -> Option<&Custom> {
        self.custom.as_deref()
    }

    /// Holds a decoded object against the structure: fields that it does not know are dropped and reported. Values of
    /// a wrong type are an error here for built-in kinds; custom kinds find them when an object is validated, as
    /// upstream.
    ///
    /// # Errors
    /// 400 in upstream's words.
    pub fn check(&self, object: &mut Object) -> Result<Report, Error> {
        self.settle(object).map_err(|cause| structure::cannot_be_handled(object, &cause))
    }

    /// The same as [`Schema::check`], for who says himself what cannot be handled.
    ///
    /// # Errors
    /// What Go's decoder says of the first value of a wrong type.
    pub fn settle(&self, object: &mut Object) -> Result<Report, String> {
        match &self.custom {
            None => structure::settle(&self.types, self.id, object),
            Some(custom) => custom.form.settle(&self.types, object),
        }
    }

    /// Takes away what upstream's types leave out when they are written; nothing from objects of custom kinds, which
    /// are kept as they were sent.
    pub fn omit_empty(&self, object: &mut Object) {
        if self.custom.is_none() {
            codec::omit_empty(&self.types, self.id, object);
        }
    }

    /// Adds what upstream's types write though it is not set; nothing to objects of custom kinds.
    pub fn write_zeros(&self, object: &mut Object) {
        if self.custom.is_none() {
            codec::write_zeros(&self.types, self.id, object);
        }
    }

    pub fn types(&self) -> &Types {
        &self.types
    }

    /// The types as they are shared.
    pub fn shared_types(&self) -> &Arc<Types> {
        &self.types
    }

    pub fn id(&self) -> StructId {
        self.id
    }

    /// The structure itself.
    pub fn structure(&self) -> &Struct {
        self.types.get(self.id)
    }

    /// Whether objects can be written in protobuf.
    pub fn in_protobuf(&self) -> bool {
        let name = &self.structure().name;
        self.messages.is_some_and(|load| load().has(name))
    }

    /// The message of an object: its fields, without its kind.
    ///
    /// # Errors
    /// When the fields are not what the schema says, or have no message.
    pub fn message(&self, fields: &Map<String, Value>) -> Result<Vec<u8>, String> {
        let messages = self.messages().ok_or_else(|| format!("{self:?} has no message"))?;
        protobuf::encode(&self.types, messages, self.id, fields)
    }

    /// The numbers of the fields in protobuf; `None` for kinds that have no protobuf form.
    pub fn messages(&self) -> Option<&'static Messages> {
        self.messages.map(|load| load())
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.structure().name)
    }
}
