//! Rules in CEL (`x-kubernetes-validations`): [`check`] judges them where they are defined, [`judge`] judges an object
//! by them. Source: upstream's `apiextensions-apiserver/pkg/apiserver/schema/cel`.
//!
//! A rule that fails on what an update leaves as it was is passed over, as upstream's ratcheting does; but a rule that
//! mentions `oldSelf` is about the change, and holds for no change as well.

use std::sync::Arc;

use api::field::{ErrorList, FieldError, Path};
use expressions::{Budget, Extent, Fault, ObjectType, Program, Type, Value as Cel};
use serde_json::{Map, Value};

use super::costs::{Costs, Often};
use super::extents;
use super::rule_set::{Written, steps};
use super::structural::{Additional, ListType, Structural, Type as SchemaType};
use super::validate::lists;

/// What all rules of an object may cost together, and one alone, in steps (upstream's are of the same size).
const BUDGET: u64 = 10_000_000;
const RULE_BUDGET: u64 = 1_000_000;
const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
const MAX_MESSAGE: usize = 5 * 1024;

/// The type that a schema declares.
pub(super) fn declared(schema: &Structural, whole: bool) -> Type {
    if schema.int_or_string
        || (schema.nullable && !matches!(schema.of_type, Some(SchemaType::Object | SchemaType::Array)))
    {
        return Type::Dyn;
    }
    let format = schema.keywords.as_deref().map_or("", |keywords| &keywords.format);
    match schema.of_type {
        None => Type::Dyn,
        Some(SchemaType::Boolean) => Type::Bool,
        Some(SchemaType::Integer) => Type::Int,
        Some(SchemaType::Number) => Type::Double,
        Some(SchemaType::String) => match format {
            "date" | "date-time" => Type::Timestamp,
            "duration" => Type::Duration,
            "byte" => Type::Bytes,
            _ => Type::String,
        },
        Some(SchemaType::Array) => {
            Type::list(schema.items.as_ref().map_or(Type::Dyn, |items| declared(items, items.embedded)))
        }
        Some(SchemaType::Object) => match &schema.additional {
            Additional::Of(values) => Type::map(declared(values, values.embedded)),
            Additional::Allowed(true) => Type::map(Type::Dyn),
            _ => object(schema, whole || schema.embedded),
        },
    }
}

fn object(schema: &Structural, whole: bool) -> Type {
    let fields = schema
        .properties
        .iter()
        .filter_map(|(name, below)| Some((ObjectType::escaped(name)?, declared(below, below.embedded))));
    let mut of = ObjectType { fields: fields.collect() };
    if whole {
        let names = ["name", "generateName"].map(|name| (name.to_owned(), Type::String));
        let metadata = ObjectType { fields: names.into_iter().collect() };
        of.fields.insert("apiVersion".to_owned(), Type::String);
        of.fields.insert("kind".to_owned(), Type::String);
        of.fields.insert("metadata".to_owned(), Type::Object(Arc::new(metadata)));
    }
    Type::Object(Arc::new(of))
}

/// Where a part of a schema is.
#[derive(Clone, Copy)]
pub(crate) struct Scope {
    /// Whether its values have the fields that all objects have.
    pub whole: bool,
    /// Whether the old state of a value is known.
    pub old_told: bool,
    /// How often a value can be in an object.
    pub often: Often,
}

/// The values that rules are about.
struct About {
    of: Type,
    extent: Extent,
    /// Of the shortest value's JSON.
    least_bytes: u64,
    scope: Scope,
}

/// Everything wrong with the rules of a schema in a definition. What they cost is counted in `costs`.
pub(crate) fn check(
    errors: &mut ErrorList,
    path: &Path<'_>,
    schema: &Value,
    scope: Scope,
    costs: Option<&mut Costs>,
) {
    let Some(rules) = schema.get("x-kubernetes-validations").and_then(Value::as_array) else { return };
    let structural = Structural::read(schema);
    let (extent, least_bytes) = extents::of(&structural, scope.whole);
    let about = About { of: declared(&structural, scope.whole), extent, least_bytes, scope };
    let at = path.child("x-kubernetes-validations");
    let mut costs = costs;
    for (i, rule) in rules.iter().enumerate() {
        check_rule(errors, &at.index(i), rule, &about, costs.as_deref_mut());
    }
}

/// Counts what an expression that stands at a path costs.
fn count(
    errors: &mut ErrorList,
    (path, what): (&Path<'_>, &str),
    (program, written): (&Program, &Written),
    about: &About,
    costs: Option<&mut Costs>,
) {
    let Some(costs) = costs else { return };
    let cost = program.worst_cost(&[&about.of, &written.old(&about.of)], &about.extent);
    costs.count(errors, path, what, cost, (about.scope.often, about.least_bytes));
}

fn check_rule(
    errors: &mut ErrorList,
    path: &Path<'_>,
    rule: &Value,
    about: &About,
    mut costs: Option<&mut Costs>,
) {
    let written = Written::read(rule);
    let of = &about.of;
    let at = path.child("rule");
    if written.rule.trim().is_empty() {
        errors.push(FieldError::required(&at, "rule is not specified"));
        return;
    }
    says(errors, path, rule, &written, of);
    match written.compile(&written.rule, of) {
        Err(rejected) => {
            errors.push(FieldError::invalid(&at, rule.clone(), format!("compilation failed: {rejected}")))
        }
        Ok(program) if !matches!(program.result_type(), Type::Bool | Type::Dyn) => {
            errors.push(FieldError::invalid(&at, rule.clone(), "cel expression must evaluate to a bool"));
        }
        Ok(program) => {
            if program.mentions("oldSelf") && !about.scope.old_told {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {path}"
                );
                errors.push(FieldError::invalid(&at, written.rule.as_str(), detail));
            }
            let place = (&at, "estimated rule cost");
            count(errors, place, (&program, &written), about, costs.as_deref_mut());
        }
    }
    if !written.message_expression.is_empty() {
        let at = path.child("messageExpression");
        match written.compile(&written.message_expression, of) {
            Err(rejected) => {
                let detail = format!("messageExpression compilation failed: {rejected}");
                errors.push(FieldError::invalid(&at, rule.clone(), detail));
            }
            Ok(program) if !matches!(program.result_type(), Type::String | Type::Dyn) => {
                let detail = "messageExpression must evaluate to a string";
                errors.push(FieldError::invalid(&at, rule.clone(), detail));
            }
            Ok(program) => {
                let place = (&at, "estimated messageExpression cost");
                count(errors, place, (&program, &written), about, costs);
            }
        }
    }
}

/// What is wrong with what a rule says besides its expressions.
fn says(errors: &mut ErrorList, path: &Path<'_>, rule: &Value, written: &Written, of: &Type) {
    let given = rule.get("message").and_then(Value::as_str);
    if given.is_some_and(|message| !message.is_empty() && message.trim().is_empty()) {
        let detail = "message must be non-empty if specified";
        errors.push(FieldError::invalid(&path.child("message"), given, detail));
    }
    if given.is_some_and(|message| message.contains('\n')) {
        let detail = "message must not contain line breaks";
        errors.push(FieldError::invalid(&path.child("message"), given, detail));
    }
    if written.message.is_empty()
        && written.rule.trim().contains('\n')
        && written.message_expression.is_empty()
    {
        let detail = "message must be specified if rule contains line breaks";
        errors.push(FieldError::required(&path.child("message"), detail));
    }
    if !written.reason.is_empty() && !REASONS.contains(&written.reason.as_str()) {
        errors.push(FieldError::not_supported(&path.child("reason"), written.reason.as_str(), &REASONS));
    }
    let field_path = rule.get("fieldPath").and_then(Value::as_str).unwrap_or("");
    if steps(field_path).is_none_or(|steps| !leads_somewhere(of, &steps)) {
        let detail = "fieldPath must be a valid path";
        errors.push(FieldError::invalid(&path.child("fieldPath"), field_path, detail));
    }
}

fn leads_somewhere(of: &Type, steps: &[String]) -> bool {
    let Some((first, rest)) = steps.split_first() else { return true };
    match of {
        Type::Object(object) => {
            let field = ObjectType::escaped(first).and_then(|name| object.fields.get(&name).cloned());
            field.is_some_and(|of| leads_somewhere(&of, rest))
        }
        Type::Map(_, of) => leads_somewhere(of, rest),
        _ => false,
    }
}

/// Everything that an object does not hold to. Of an update, given with the old object.
pub(crate) fn judge(
    schema: &Structural,
    new: &Map<String, Value>,
    old: Option<&Map<String, Value>>,
) -> ErrorList {
    let mut walk = Walk { budget: Budget::steps(BUDGET), errors: ErrorList::new() };
    let unchanged = old == Some(new);
    // Only the parts with rules are looked at; the object as a whole is a copy only where it has a rule of its own.
    let whole = |fields: &Map<String, Value>| Value::Object(fields.clone());
    if schema.rules.is_some() {
        let (new, old) = (whole(new), old.map(whole));
        let told_at = Path::root("<nil>");
        walk.rules(schema, true, (&new, old.as_ref(), unchanged), &told_at, &Path::root(""));
    }
    walk.fields(schema, new, old, unchanged, &Path::root(""));
    walk.errors
}

struct Walk {
    budget: Budget,
    errors: ErrorList,
}

impl Walk {
    /// `unchanged`: what the value is in is as it was.
    fn value(
        &mut self,
        schema: &Structural,
        new: &Value,
        old: Option<&Value>,
        unchanged: bool,
        path: &Path<'_>,
    ) {
        if !schema.has_rules || self.budget.is_spent() {
            return;
        }
        let unchanged = unchanged || old == Some(new);
        if unchanged && !schema.has_transitions {
            return;
        }
        self.rules(schema, false, (new, old, unchanged), path, path);
        match new {
            Value::Object(new) => {
                self.fields(schema, new, old.and_then(Value::as_object), unchanged, path);
            }
            Value::Array(items) => {
                let Some(below) = &schema.items else { return };
                let old = old.and_then(Value::as_array);
                for (i, item) in items.iter().enumerate() {
                    let old = old.and_then(|old| match schema.list_type {
                        ListType::Map => lists::counterpart(schema, below, item, old),
                        _ => None,
                    });
                    self.value(below, item, old, unchanged, &path.index(i));
                }
            }
            _ => {}
        }
    }

    fn fields(
        &mut self,
        schema: &Structural,
        new: &Map<String, Value>,
        old: Option<&Map<String, Value>>,
        unchanged: bool,
        path: &Path<'_>,
    ) {
        // What is in an atomic map has no state before.
        let old = old.filter(|_| !schema.atomic);
        for (key, value) in new {
            let old = old.and_then(|old| old.get(key));
            match schema.properties.get(key.as_str()) {
                Some(below) => self.value(below, value, old, unchanged, &path.child(key)),
                None => {
                    if let Some(below) = schema.below(key) {
                        self.value(below, value, old, unchanged, &path.key(key));
                    }
                }
            }
        }
    }

    fn rules(
        &mut self,
        schema: &Structural,
        whole: bool,
        (new, old, unchanged): (&Value, Option<&Value>, bool),
        told_at: &Path<'_>,
        path: &Path<'_>,
    ) {
        let Some(rules) = &schema.rules else { return };
        if new.is_null() {
            return;
        }
        let compiled = rules.compiled(|| declared(schema, whole || schema.embedded));
        for (written, programs) in rules.written.iter().zip(&compiled.programs) {
            let Some((rule, message)) = programs else { continue };
            if unchanged && !rule.mentions("oldSelf") {
                continue;
            }
            let old_self = match (old, written.optional_old_self) {
                (Some(old), true) => Cel::Optional(Some(Arc::new(Cel::read(old, &compiled.of)))),
                (None, true) => Cel::Optional(None),
                (Some(old), false) => Cel::read(old, &compiled.of),
                // A rule about a change holds of what was not there.
                (None, false) if rule.mentions("oldSelf") => continue,
                (None, false) => Cel::Null,
            };
            let values = [Cel::read(new, &compiled.of), old_self];
            let of_type = schema.of_type.map_or("", SchemaType::name);
            match self.run(rule, &values) {
                Ok(Cel::Bool(true)) => {}
                Ok(Cel::Bool(false)) => {
                    let said = message.as_ref().and_then(|message| self.message(message, &values));
                    let detail = said.unwrap_or_else(|| match written.message.as_str() {
                        "" => format!("failed rule: {}", written.rule.trim()),
                        message => message.to_owned(),
                    });
                    self.errors.push(refusal(written, told_at, path, of_type, detail));
                }
                Ok(_) => {
                    let detail =
                        format!("cel expression evaluation did not result in a bool: {}", written.name());
                    self.errors.push(FieldError::invalid(told_at, of_type, detail));
                }
                Err(Fault::Failed(fault)) => {
                    let detail = format!("{fault} evaluating rule: {}", written.name());
                    self.errors.push(FieldError::invalid(told_at, of_type, detail));
                }
                Err(Fault::Spent) if self.budget.is_spent() => {
                    let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
                    self.errors.push(FieldError::invalid(told_at, of_type, detail));
                    return;
                }
                Err(Fault::Spent) => {
                    let detail = format!(
                        "call cost exceeds limit for rule: {}. This could be due to the rule being too complex",
                        written.name()
                    );
                    self.errors.push(FieldError::invalid(told_at, of_type, detail));
                }
            }
        }
    }

    fn run<'a>(&mut self, program: &'a Program, values: &[Cel<'a>]) -> Result<Cel<'a>, Fault> {
        let before = self.budget.part(RULE_BUDGET);
        let mut left = before.clone();
        let result = program.run(values, &mut left);
        self.budget.spend(&before, &left);
        result
    }

    /// What a message's expression says; `None` of one that fails or says nothing that can be shown.
    fn message(&mut self, program: &Program, values: &[Cel<'_>]) -> Option<String> {
        let before = self.budget.part(RULE_BUDGET);
        let mut left = before.clone();
        let said = match program.run(values, &mut left) {
            Ok(Cel::String(text)) => Some(text.trim().to_owned()),
            _ => None,
        };
        self.budget.spend(&before, &left);
        said.filter(|text| !text.is_empty() && !text.contains('\n') && text.len() <= MAX_MESSAGE)
    }
}

/// The error of a rule that does not hold, at the field that the rule names.
fn refusal(
    written: &Written,
    told_at: &Path<'_>,
    path: &Path<'_>,
    of_type: &str,
    detail: String,
) -> FieldError {
    fn below(path: &Path<'_>, steps: &[String], make: &dyn Fn(&Path<'_>) -> FieldError) -> FieldError {
        match steps.split_first() {
            Some((first, rest)) => below(&path.child(first), rest, make),
            None => make(path),
        }
    }
    let make = |at: &Path<'_>| match written.reason.as_str() {
        "FieldValueForbidden" => FieldError::forbidden(at, detail.clone()),
        "FieldValueRequired" => FieldError::required(at, detail.clone()),
        "FieldValueDuplicate" => FieldError::duplicate(at, of_type),
        _ => FieldError::invalid(at, of_type, detail.clone()),
    };
    if written.field_path.is_empty() { make(told_at) } else { below(path, &written.field_path, &make) }
}
