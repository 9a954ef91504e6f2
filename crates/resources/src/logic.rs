//! [`Logic`]: what a kind does to its objects and what it takes as valid. All pure.
//!
//! Objects come decoded, their structure checked, in the version of the row. `metadata` that is common to all kinds
//! is handled by the machinery.
//!
//! Order on create: `default` → mutating admission → `default` → `prepare_create` → validation.
//! Order on update: decode or patch → `default` → mutating admission → `default` → `prepare_update` → validation.

use api::Object;
use api::field::ErrorList;

use crate::status;

/// The logic of a kind. The methods' defaults are those of a kind whose status only its own subresource writes, and
/// of which nothing but metadata is checked.
pub trait Logic: Send + Sync {
    /// Fills in absent fields. Idempotent. Also applied to stored objects when they are read back for a patch.
    fn default(&self, _object: &mut Object) {}

    /// Clears what a creator may not set, normalizes.
    fn prepare_create(&self, object: &mut Object) {
        status::clear(object);
    }

    /// Keeps what a plain update may not change.
    fn prepare_update(&self, new: &mut Object, old: &Object) {
        status::keep(new, old);
    }

    /// Keeps what an update of the status may not change.
    fn prepare_status_update(&self, new: &mut Object, old: &Object) {
        status::keep_all_but_status(new, old);
    }

    /// Notes in a status when it changed, `now` being in the form that objects have.
    fn date_status(&self, _new: &mut Object, _old: &Object, _now: &str) {}

    /// Everything wrong with a new object.
    fn validate(&self, _object: &Object) -> ErrorList {
        ErrorList::new()
    }

    /// Which changes of a valid object into another valid one are taken. There is no default: a kind that does not
    /// compare with the old object gives the reason.
    fn changes(&self) -> Changes<'_>;

    /// Everything wrong with a change of the status.
    fn validate_status_update(&self, _new: &Object, _old: &Object) -> ErrorList {
        ErrorList::new()
    }

    /// Everything wrong with a change of a part that only its own subresource changes (`pods/resize`): the whole must
    /// hold, what a plain update may not change may differ.
    fn validate_part_update(&self, _new: &Object, _old: &Object) -> ErrorList {
        ErrorList::new()
    }

    /// Texts for the `Warning` header on create, and on updates: of a kind that counts its changes those that change
    /// the generation, of others all.
    fn warnings(&self, _object: &Object) -> Vec<String> {
        Vec::new()
    }

    /// All texts for the `Warning` header on create.
    fn warnings_on_create(&self, object: &Object) -> Vec<String> {
        self.warnings(object)
    }

    /// The grace period of a delete, in seconds, given what the request asked for; `None` for a kind that is deleted
    /// at once, whatever the object.
    fn grace_period_s(&self, _object: &Object, _asked: Option<i64>) -> Option<i64> {
        None
    }

    /// Why nobody may delete the object, whatever their rights.
    fn undeletable(&self, _object: &Object) -> Option<&'static str> {
        None
    }

    /// Whether something besides the finalizers of the metadata keeps an object that is being deleted.
    fn is_held(&self, _object: &Object) -> bool {
        false
    }

    /// Shows in the object that its deletion has begun.
    fn mark_deleted(&self, _object: &mut Object) {}
}

/// Everything wrong with a change, given (new, old). Includes all checks of the new object.
pub type Judge<'a> = &'a (dyn Fn(&Object, &Object) -> ErrorList + Sync);

/// Which changes of an object a kind takes.
#[derive(Clone, Copy)]
pub enum Changes<'a> {
    /// Any that leaves an object [`Logic::validate`] finds nothing wrong with; the reason why the old object does
    /// not matter.
    Any(&'static str),
    /// The same, though upstream refuses more: what that is.
    NotYetJudged(&'static str),
    /// Any that leaves a valid object and the row's immutable fields as they were.
    AllButImmutable,
    /// Those that a function finds nothing wrong with.
    Judged(Judge<'a>),
}

/// The logic of a kind of which only the metadata is checked.
pub struct MetadataOnly(pub Changes<'static>);

impl Logic for MetadataOnly {
    fn changes(&self) -> Changes<'_> {
        self.0
    }
}
