//! [`Kind`]: what a kind's file says of it beyond its generated line.
//!
//! Sources: upstream's `pkg/registry/*/storage` and `strategy.go` (names, rules), `pkg/apis/*/*/conversion.go` (field
//! labels), `default_storage_factory_builder.go` (places).

use std::sync::Arc;

use api::{GroupVersion, Object, names};
use jiff::Timestamp;
use serde_json::Value;

use crate::columns::{self, Column, Columns};
use crate::logic::Logic;
use crate::part::PartHandler;
use crate::row::{Convert, Immutable, Observed, Question, Rules};

/// A row to be: a generated line and a kind make one.
pub(crate) struct Kind {
    pub group_version: GroupVersion,
    pub plural: &'static str,
    pub short_names: Vec<&'static str>,
    pub categories: Vec<&'static str>,
    pub selectable: Vec<Selectable>,
    pub immutable: Vec<Immutable>,
    /// Where it differs from the plural.
    pub storage_prefix: Option<&'static str>,
    /// Another version objects are stored in, and the way to it.
    pub stored: Option<(GroupVersion, Arc<dyn Convert>)>,
    pub ttl_s: Option<u64>,
    pub deprecated: Option<&'static str>,
    pub rules: Rules,
    pub logic: Arc<dyn Logic>,
    /// Absent: name and age.
    pub columns: Option<Columns>,
    pub parts: Vec<(&'static str, PartHandler)>,
    pub question: Option<Question>,
    pub observed: Option<Observed>,
}

/// A field that objects can be selected by: its name in selectors, and paths in the stored version.
pub(crate) struct Selectable {
    pub name: &'static str,
    pub path: &'static str,
    /// Taken where there is nothing at `path`.
    pub or: Option<&'static str>,
}

impl Kind {
    /// The kind that the line of this group, version and plural speaks of. `group_version` is written as in an
    /// object's `apiVersion`.
    pub fn new(group_version: &str, plural: &'static str, logic: impl Logic + 'static) -> Self {
        Self {
            group_version: GroupVersion::parse(group_version).expect("a kind names its group and version"),
            plural,
            short_names: Vec::new(),
            categories: Vec::new(),
            selectable: Vec::new(),
            immutable: Vec::new(),
            storage_prefix: None,
            stored: None,
            ttl_s: None,
            deprecated: None,
            rules: Rules::default(),
            logic: Arc::new(logic),
            columns: None,
            parts: Vec::new(),
            question: None,
            observed: None,
        }
    }

    pub fn short(mut self, name: &'static str) -> Self {
        self.short_names.push(name);
        self
    }

    /// One of the kinds that clients see together under `category`.
    pub fn category(mut self, category: &'static str) -> Self {
        self.categories.push(category);
        self
    }

    /// A field that objects can be selected by, under its own path.
    pub fn selectable(self, path: &'static str) -> Self {
        self.selectable_as(path, path)
    }

    /// A field that objects can be selected by; `path` leads into the stored version.
    pub fn selectable_as(mut self, name: &'static str, path: &'static str) -> Self {
        self.selectable.push(Selectable { name, path, or: None });
        self
    }

    /// The same, whose value is that of the field `or` where the other has none.
    pub fn selectable_or(mut self, name: &'static str, path: &'static str, or: &'static str) -> Self {
        self.selectable.push(Selectable { name, path, or: Some(or) });
        self
    }

    /// A field that an update may not change.
    pub fn immutable(mut self, field: Immutable) -> Self {
        self.immutable.push(field);
        self
    }

    /// Group and plural in the store, where they are not the plural.
    pub fn stored_at(mut self, prefix: &'static str) -> Self {
        self.storage_prefix = Some(prefix);
        self
    }

    /// Objects are stored in another version.
    pub fn stored_as(mut self, group_version: &str, convert: impl Convert + 'static) -> Self {
        let stored = GroupVersion::parse(group_version).expect("a kind names the version it is stored in");
        self.stored = Some((stored, Arc::new(convert)));
        self
    }

    /// Objects go so long after their last write.
    pub fn lives_s(mut self, ttl_s: u64) -> Self {
        self.ttl_s = Some(ttl_s);
        self
    }

    pub fn deprecated(mut self, warning: &'static str) -> Self {
        self.deprecated = Some(warning);
        self
    }

    /// Columns that say where their cells come from.
    pub fn columns(mut self, columns: &'static [Column]) -> Self {
        self.columns = Some(columns::plain(columns));
        self
    }

    /// Columns whose cells a function makes.
    pub fn printed(
        mut self,
        columns: &'static [Column],
        cells: fn(&Object, Timestamp) -> Vec<Value>,
    ) -> Self {
        self.columns = Some(columns::printed(columns, cells));
        self
    }

    /// How the row shows that its object has ended.
    pub fn row_conditions(mut self, conditions: fn(&Object) -> Vec<Value>) -> Self {
        self.columns = self.columns.map(|columns| columns.with_conditions(conditions));
        self
    }

    /// A subresource and its handler. The status has its handler by default.
    pub fn part(mut self, name: &'static str, handler: PartHandler) -> Self {
        self.parts.push((name, handler));
        self
    }

    /// Objects are only a question.
    pub fn question(mut self, question: Question) -> Self {
        self.question = Some(question);
        self
    }

    /// Objects are not stored but seen when they are asked for.
    pub fn observed(mut self, observed: Observed) -> Self {
        self.observed = Some(observed);
        self
    }

    /// `metadata.generation` counts changes.
    pub fn counts_changes(mut self) -> Self {
        self.rules.has_generation = true;
        self
    }

    /// PUT of an absent object makes it.
    pub fn created_by_put(mut self) -> Self {
        self.rules.create_on_update = true;
        self
    }

    /// An update names the version that it changes.
    pub fn updated_by_version(mut self) -> Self {
        self.rules.unconditional_update = false;
        self
    }

    /// Updates are not warned of: programs make them, and often.
    pub fn updated_silently(mut self) -> Self {
        self.rules.warns_on_update = false;
        self
    }

    /// Deleting without a propagation policy orphans dependents.
    pub fn orphans_by_default(mut self) -> Self {
        self.rules.orphan_by_default = true;
        self
    }

    /// A deletion that is done is answered with the object as it was.
    pub fn returns_deleted(mut self) -> Self {
        self.rules.returns_deleted = true;
        self
    }

    /// What names of the kind are made of, where that is no DNS subdomain.
    pub fn named(mut self, grammar: fn(&str) -> names::Faults) -> Self {
        self.rules.name_grammar = grammar;
        self
    }
}

/// The grammar of names that only have to fit in a URL.
pub(super) fn path_segment(name: &str) -> names::Faults {
    names::path_segment_name(name, false)
}
