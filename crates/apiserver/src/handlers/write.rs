//! How objects are created and changed: defaults, admission, the kind's logic, field management,
//! validation, commit. PUT, PATCH, apply and the subresources differ only in how they build the new
//! object.

use api::managed::{self, Writer};
use api::{Error, Object};
use bytes::Bytes;
use resources::{Logic, Rules, Schema};
use store::Expect;

use super::metadata;
use super::options::WriteOptions;
use super::storage::{CommitError, Stored, Target, to_json};
use crate::admission::{self, Operation, Reservations, Review, Rounds, Stage};
use crate::request::Attributes;

/// How often a change is made anew when somebody else was faster. Of many who change one object
/// together, one gets through in each round.
const ATTEMPTS: usize = 64;
/// How many names are tried for `generateName`, as upstream.
const NAME_ATTEMPTS: usize = 8;

/// Which part of an object is written, and so which of the kind's rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    Status,
    /// What a subresource's module picks out of what is sent; the whole must still be valid.
    Picked,
    /// What a subresource's module changes by its own rules: the kind's are passed over.
    Special,
    /// As [`Part::Special`], after admission of the object that asks for it (a Binding), which is the request's
    /// operation: admission is not asked about the change.
    Admitted,
}

impl Part {
    /// The part that a generic request writes to.
    pub(crate) fn of(attributes: &Attributes) -> Self {
        if attributes.subresource == "status" { Self::Status } else { Self::Main }
    }
}

/// A write in progress.
pub(crate) struct Write<'a> {
    pub target: &'a Target,
    pub attributes: &'a Attributes,
    pub part: Part,
    pub options: WriteOptions,
    /// Texts for `Warning` headers, gathered on the way.
    pub warnings: Vec<String>,
    /// How admission sees the object, where a subresource carries another kind.
    pub view: Option<&'a dyn View>,
}

/// An object as a subresource shows it.
pub(crate) trait View: Sync {
    /// What the subresource shows of the object.
    ///
    /// # Errors
    /// When the object cannot be shown.
    fn show(&self, object: &Object) -> Result<Object, Error>;

    /// Changes the object so that it is as what is shown.
    ///
    /// # Errors
    /// When what is shown cannot be.
    fn put(&self, object: &mut Object, shown: Object) -> Result<(), Error>;
}

/// A new object for [`Write::update`], and whether its managed fields are already right (apply).
pub(crate) struct Change {
    pub object: Object,
    pub managed: bool,
}

/// What a change amounts to.
enum Effect {
    Nothing,
    Replace,
    /// The last finalizer of an object being deleted went away.
    Remove,
}

impl Write<'_> {
    fn logic(&self) -> &dyn Logic {
        &*self.target.row.logic
    }

    fn rules(&self) -> &Rules {
        &self.target.row.rules
    }

    fn schema(&self) -> &Schema {
        &self.target.row.schema
    }

    fn now(&self) -> jiff::Timestamp {
        self.target.context.deps.clock.now()
    }

    /// Creates the object and answers its JSON.
    pub(crate) async fn create(&mut self, change: Change) -> Result<Bytes, Error> {
        let Change { mut object, managed } = change;
        let row = &self.target.row;
        // As upstream: a version that is no number is not one, and goes unseen.
        if object.resource_version().parse::<u64>().is_ok_and(|version| version != 0) {
            return Err(Error::bad_request("resourceVersion should not be set on objects to be created"));
        }
        metadata::settle_namespace(row, &mut object, &self.attributes.namespace)?;
        metadata::prepare_create(row, &mut object, self.now());
        let generated = metadata::wants_generated_name(&object);
        let mut held = Reservations::default();
        self.prepare_create(&mut object, managed, &mut held).await?;
        if self.options.dry_run {
            return self.dry_created(&object);
        }
        let mut left = if generated { NAME_ATTEMPTS } else { 1 };
        loop {
            left -= 1;
            match self.target.commit(&mut object, Expect::Absent, &mut held).await {
                Ok(json) => return Ok(json),
                Err(CommitError::Conflict(_)) if left > 0 => {
                    let name = metadata::generate_name(&object);
                    object.set_meta_str("name", name);
                    // What is set aside is so under the name that is to have it.
                    held = Reservations::default();
                    self.reserve(Stage::Allocation, Operation::Create, &mut object, None, &mut held).await?;
                    self.reserve(Stage::Final, Operation::Create, &mut object, None, &mut held).await?;
                }
                Err(CommitError::Conflict(present)) => {
                    let mut error = Error::already_exists(&self.target.group_resource(), object.name());
                    let present = match present {
                        Some(value) => self.target.read_value(value).await.ok(),
                        None => None,
                    };
                    if present.is_some_and(|present| present.object.deletion_timestamp().is_some()) {
                        error.message = format!("object is being deleted: {}", error.message);
                    }
                    return Err(error);
                }
                Err(CommitError::Failed(error)) => return Err(error),
            }
        }
    }

    fn dry_created(&self, object: &Object) -> Result<Bytes, Error> {
        if self.target.cache.get(object.namespace(), object.name()).is_some() {
            return Err(Error::already_exists(&self.target.group_resource(), object.name()));
        }
        to_json(self.schema(), object)
    }

    async fn prepare_create(
        &mut self,
        object: &mut Object,
        managed: bool,
        held: &mut Reservations,
    ) -> Result<(), Error> {
        self.schema().omit_empty(object);
        self.logic().default(object);
        // What the server adds from here on is nobody's.
        if !managed {
            self.track_created(object);
        }
        self.admit(Operation::Create, object, None).await?;
        // Only now: what admission refuses is told by its prefix, so that every try gets the same words.
        if metadata::wants_generated_name(object) {
            let name = metadata::generate_name(object);
            object.set_meta_str("name", name);
        }
        self.logic().default(object);
        self.logic().prepare_create(object);
        self.reserve(Stage::Allocation, Operation::Create, object, None, held).await?;
        let mut errors = metadata::validate(&self.target.row, object);
        errors.extend(self.logic().validate(object));
        self.schema().write_zeros(object);
        if !errors.is_empty() {
            return Err(Error::invalid(&self.target.row.group_kind(), object.name(), &errors));
        }
        self.validate_admission(Operation::Create, object, None).await?;
        self.reserve(Stage::Final, Operation::Create, object, None, held).await?;
        self.warnings.extend(metadata::finalizer_warnings(&self.target.row, object, None));
        self.warnings.extend(self.logic().warnings_on_create(object));
        Ok(())
    }

    /// Changes the object: `make` gets its present state and answers the new one, as often as
    /// needed. Answers the JSON of the result.
    pub(crate) async fn update<F>(&mut self, mut current: Stored, mut make: F) -> Result<Bytes, Error>
    where
        F: FnMut(&mut Self, &Object) -> Result<Change, Error>,
    {
        let mut held = Reservations::default();
        for _ in 0..ATTEMPTS {
            let warnings = self.warnings.len();
            let change = make(self, &current.object)?;
            let (mut object, effect) = self.prepare_update(change, &current.object, &mut held).await?;
            let effect = match effect {
                Effect::Nothing
                    if !self.options.dry_run && self.target.is_outdated(&current.object).await? =>
                {
                    Effect::Replace
                }
                other => other,
            };
            let committed = match effect {
                Effect::Nothing => return to_json(self.schema(), &current.object),
                _ if self.options.dry_run => return to_json(self.schema(), &object),
                Effect::Replace => {
                    let expect = Expect::Revision(current.revision);
                    self.target.commit_with(&mut object, &current.apart, expect, &mut held).await
                }
                Effect::Remove => match self.target.remove(&current, &mut held).await {
                    Ok(_) => to_json(self.schema(), &object).map_err(CommitError::Failed),
                    Err(error) => Err(error),
                },
            };
            match committed {
                Ok(json) => return Ok(json),
                Err(CommitError::Failed(error)) => return Err(error),
                Err(CommitError::Conflict(None)) => return Err(self.target.not_found(current.object.name())),
                Err(CommitError::Conflict(Some(value))) => {
                    self.warnings.truncate(warnings);
                    current = self.target.read_value(value).await?;
                }
            }
        }
        Err(Error::modified(&self.target.group_resource(), current.object.name()))
    }

    async fn prepare_update(
        &mut self,
        change: Change,
        old: &Object,
        held: &mut Reservations,
    ) -> Result<(Object, Effect), Error> {
        let Change { object: mut new, managed } = change;
        self.check_preconditions(&new, old)?;
        managed::keep_reset(&mut new);
        self.schema().omit_empty(&mut new);
        self.schema().write_zeros(&mut new);
        self.logic().default(&mut new);
        if self.part != Part::Admitted {
            self.admit(Operation::Update, &mut new, Some(old)).await?;
            self.logic().default(&mut new);
        }
        metadata::prepare_update(&mut new, old);
        match self.part {
            Part::Main => self.logic().prepare_update(&mut new, old),
            Part::Status => {
                self.logic().prepare_status_update(&mut new, old);
                self.logic().date_status(&mut new, old, &metadata::seconds(self.now()));
            }
            Part::Picked | Part::Special | Part::Admitted => {}
        }
        self.schema().write_zeros(&mut new);
        // What a subresource changes by its own rules (a pod's binding) is no change of what was asked for.
        if self.rules().has_generation && matches!(self.part, Part::Main | Part::Picked) {
            metadata::bump_generation(&self.target.row, &mut new, old);
        }
        if !managed {
            self.track_fields(Some(old), &mut new);
        }
        self.reserve(Stage::Allocation, Operation::Update, &mut new, Some(old), held).await?;
        let mut errors = metadata::validate_update(&self.target.row, &new, old);
        match self.part {
            Part::Main => errors.extend(self.target.row.validate_update(&new, old)),
            Part::Status => errors.extend(self.logic().validate_status_update(&new, old)),
            Part::Picked => errors.extend(self.logic().validate_part_update(&new, old)),
            Part::Special | Part::Admitted => {}
        }
        if !errors.is_empty() {
            return Err(Error::invalid(&self.target.row.group_kind(), old.name(), &errors));
        }
        self.validate_admission(Operation::Update, &new, Some(old)).await?;
        self.reserve(Stage::Final, Operation::Update, &mut new, Some(old), held).await?;
        self.warnings.extend(metadata::finalizer_warnings(&self.target.row, &new, Some(old)));
        let changed = !self.rules().has_generation || new.generation() != old.generation();
        if self.rules().warns_on_update && changed && self.part != Part::Status {
            self.warnings.extend(self.logic().warnings(&new));
        }
        new.set_meta_str("resourceVersion", old.resource_version());
        let effect = if may_go(self.target, &new) {
            Effect::Remove
        } else if new == *old || managed::differ_in_times_only(&new, old) {
            Effect::Nothing
        } else {
            Effect::Replace
        };
        Ok((new, effect))
    }

    fn check_preconditions(&self, new: &Object, old: &Object) -> Result<(), Error> {
        let resource = self.target.group_resource();
        let wanted = new.resource_version();
        if wanted.is_empty() || wanted == "0" {
            if !self.rules().unconditional_update && self.attributes.verb == "update" {
                let path = api::field::Path::root("metadata");
                let error = api::field::FieldError::invalid(
                    &path.child("resourceVersion"),
                    0,
                    "must be specified for an update",
                );
                return Err(Error::invalid(&self.target.row.group_kind(), old.name(), &vec![error]));
            }
        } else if wanted.parse::<u64>().is_err() {
            let why = format!("strconv.ParseUint: parsing {wanted:?}: invalid syntax");
            return Err(Error::bad_request(why));
        } else if wanted != old.resource_version() {
            return Err(Error::modified(&resource, old.name()));
        }
        let uid = new.uid();
        if !uid.is_empty() && uid != old.uid() {
            let why =
                format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", old.uid());
            return Err(Error::conflict(&resource, old.name(), &why));
        }
        Ok(())
    }

    /// Makes the creator the owner of what it sent and of its defaults; a status is not a creator's to set.
    fn track_created(&self, object: &mut Object) {
        let status = if self.target.row.part("status").is_some() { object.0.remove("status") } else { None };
        self.track_fields(None, object);
        if let Some(status) = status {
            object.0.insert("status".to_owned(), status);
        }
    }

    fn track_fields(&self, old: Option<&Object>, new: &mut Object) {
        let api_version = self.target.row.group_version().to_string();
        let writer = Writer {
            manager: &self.options.manager,
            api_version: &api_version,
            subresource: &self.attributes.subresource,
            now: self.now(),
        };
        managed::update(self.schema().types(), self.schema().id(), old, new, &writer);
    }

    fn review<'r>(&'r self, operation: Operation, old: Option<&'r Object>) -> Review<'r> {
        let dry_run = self.options.dry_run;
        Review {
            attributes: self.attributes,
            resource: &self.target.row,
            operation,
            old,
            dry_run,
            options: Some(&self.options),
            rounds: Rounds::default(),
        }
    }

    async fn admit(
        &self,
        operation: Operation,
        object: &mut Object,
        old: Option<&Object>,
    ) -> Result<(), Error> {
        if self.part == Part::Admitted {
            return Ok(());
        }
        let panel = self.target.context.panel();
        let Some(view) = self.view else {
            let review = self.review(operation, old);
            return admission::admit(&panel, &review, Some(object)).await;
        };
        let (mut shown, old) = (view.show(object)?, old.map(|old| view.show(old)).transpose()?);
        let review = self.review(operation, old.as_ref());
        admission::admit(&panel, &review, Some(&mut shown)).await?;
        view.put(object, shown)
    }

    async fn reserve(
        &self,
        stage: Stage,
        operation: Operation,
        object: &mut Object,
        old: Option<&Object>,
        held: &mut Reservations,
    ) -> Result<(), Error> {
        if self.part == Part::Admitted {
            return Ok(());
        }
        let reservers = &self.target.context.deps.reservers;
        held.reserve(reservers, stage, &self.review(operation, old), Some(object)).await
    }

    async fn validate_admission(
        &self,
        operation: Operation,
        object: &Object,
        old: Option<&Object>,
    ) -> Result<(), Error> {
        if self.part == Part::Admitted {
            return Ok(());
        }
        let panel = self.target.context.panel();
        let Some(view) = self.view else {
            return admission::validate(&panel, &self.review(operation, old), Some(object)).await;
        };
        let (shown, old) = (view.show(object)?, old.map(|old| view.show(old)).transpose()?);
        admission::validate(&panel, &self.review(operation, old.as_ref()), Some(&shown)).await
    }
}

/// Whether nothing holds an object any more that is being deleted.
fn may_go(target: &Target, object: &Object) -> bool {
    let grace = object.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(serde_json::Value::as_i64);
    object.deletion_timestamp().is_some()
        && grace.unwrap_or(0) == 0
        && object.finalizers().next().is_none()
        && !target.row.logic.is_held(object)
}
