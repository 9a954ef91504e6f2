//! [`CustomLogic`]: what the pipeline does with objects of a custom kind, by what the definition says. Source:
//! upstream's `apiextensions-apiserver/pkg/registry/customresource/{strategy,status_strategy,validator}.go`.

use std::sync::Arc;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::structural::Structural;
use super::validate::{self, embedded, lists};
use super::{defaulting, prune, rules};
use crate::logic::{Changes, Logic};
use crate::part::ScalePaths;
use crate::row::Convert;
use crate::status;

type Judge = Box<dyn Fn(&Object, &Object) -> ErrorList + Send + Sync>;

/// See the module's documentation.
pub(super) struct CustomLogic {
    rules: Arc<Rules>,
    judge: Judge,
}

struct Rules {
    schema: Arc<Structural>,
    /// Whether there is a status that only its own subresource writes.
    has_status: bool,
    scale: Option<ScalePaths>,
}

impl CustomLogic {
    pub(super) fn new(schema: Arc<Structural>, has_status: bool, scale: Option<ScalePaths>) -> Self {
        let rules = Arc::new(Rules { schema, has_status, scale });
        let own = Arc::clone(&rules);
        Self { rules, judge: Box::new(move |new, old| own.judge(new, Some(old))) }
    }
}

impl Rules {
    /// Everything wrong with an object, or with a change into it.
    fn judge(&self, new: &Object, old: Option<&Object>) -> ErrorList {
        let mut errors = validate::object(&self.schema, &new.0, old.map(|old| &old.0));
        errors.extend(embedded::faults(&self.schema, &new.0));
        self.judge_scale(new, &mut errors);
        // Who has had duplicates before may keep them.
        if old.is_none_or(|old| lists::duplicates(&self.schema, &old.0).is_empty()) {
            errors.extend(lists::duplicates(&self.schema, &new.0));
        }
        if self.schema.has_rules {
            if errors.iter().any(blocks_rules) {
                let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
                errors.push(FieldError::invalid(&Path::root("<nil>"), Value::Null, detail));
            } else {
                errors.extend(rules::judge(&self.schema, &new.0, old.map(|old| &old.0)));
            }
        }
        errors
    }

    /// The figures that the scale subresource shows.
    fn judge_scale(&self, new: &Object, errors: &mut ErrorList) {
        let Some(paths) = &self.scale else { return };
        for path in [&paths.spec_replicas, &paths.status_replicas] {
            let Some(count) = new.at(path).and_then(Value::as_i64) else { continue };
            let at = path.join(".");
            let at = Path::root(&at);
            if count < 0 {
                errors.push(FieldError::invalid(&at, count, "should be a non-negative integer"));
            } else if i32::try_from(count).is_err() {
                let detail = format!("should be less than or equal to {}", i32::MAX);
                errors.push(FieldError::invalid(&at, count, detail));
            }
        }
    }
}

/// Whether rules could fail for no other reason than this error, so that they are not asked.
fn blocks_rules(error: &FieldError) -> bool {
    use api::field::ErrorType::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
    matches!(error.error_type, Required | TooLong | TooMany | TypeInvalid)
        || (error.error_type == NotSupported && error.value.is_null())
}

impl Logic for CustomLogic {
    fn default(&self, object: &mut Object) {
        defaulting::fill(&self.rules.schema, &mut object.0);
    }

    fn prepare_create(&self, object: &mut Object) {
        if self.rules.has_status {
            status::clear(object);
        }
    }

    fn prepare_update(&self, new: &mut Object, old: &Object) {
        if self.rules.has_status {
            status::keep(new, old);
        }
    }

    fn prepare_status_update(&self, new: &mut Object, old: &Object) {
        status::keep_all_but_status(new, old);
        // Of the metadata only what tells who wrote and which version was meant is the writer's.
        let told = ["managedFields", "resourceVersion"];
        let mut metadata = old.metadata().cloned().unwrap_or_default();
        for key in told {
            match new.metadata().and_then(|metadata| metadata.get(key)) {
                Some(value) => metadata.insert(key.to_owned(), value.clone()),
                None => metadata.remove(key),
            };
        }
        new.0.insert("metadata".to_owned(), Value::Object(metadata));
    }

    fn validate(&self, object: &Object) -> ErrorList {
        self.rules.judge(object, None)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&*self.judge)
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        self.rules.judge(new, Some(old))
    }
}

/// Between the version of a row and the stored one, where the definition has no strategy but to name the other
/// version: what is stored also gets the defaults that the schema has by now, and loses what the schema does not name.
pub(super) struct Renamed {
    pub schema: Arc<Structural>,
    pub served: String,
    pub stored: String,
}

impl Convert for Renamed {
    fn to_stored(&self, object: &mut Object) {
        object.0.insert("apiVersion".to_owned(), self.stored.as_str().into());
    }

    fn to_served(&self, object: &mut Object) {
        object.0.insert("apiVersion".to_owned(), self.served.as_str().into());
        prune::prune(&self.schema, &mut object.0);
        defaulting::fill(&self.schema, &mut object.0);
    }
}
