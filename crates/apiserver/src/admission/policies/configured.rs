//! [`Policy`] and [`Binding`] of both sorts as they are stored, read and compiled once for all requests until one changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use expressions::{ObjectType, Program, Type};
use resources::conditions::{Scope, configuration_type, json_patch_type};
use serde::Deserialize;
use serde_json::Value;

use crate::admission::conditions::{self, Conditions};
use crate::admission::matching::{self, Matching};
use crate::admission::rule::or_default;
use crate::cache::Entry;
use crate::cache::lookup::decode;

/// A stored object, of which the spec matters.
#[derive(Deserialize)]
struct Stored<T> {
    spec: T,
}

/// What policies of both sorts say.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PolicySpec {
    param_kind: Option<ParamKind>,
    #[serde(deserialize_with = "or_default")]
    match_constraints: matching::Written,
    #[serde(deserialize_with = "or_default")]
    validations: Vec<WrittenValidation>,
    failure_policy: Option<String>,
    #[serde(deserialize_with = "or_default")]
    audit_annotations: Vec<WrittenAnnotation>,
    #[serde(deserialize_with = "or_default")]
    match_conditions: Vec<conditions::Written>,
    #[serde(deserialize_with = "or_default")]
    variables: Vec<conditions::Written>,
    #[serde(deserialize_with = "or_default")]
    mutations: Vec<WrittenMutation>,
    reinvocation_policy: Option<String>,
}

/// The kind of a policy's parameters.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ParamKind {
    pub api_version: String,
    pub kind: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenValidation {
    expression: String,
    #[serde(deserialize_with = "or_default")]
    message: String,
    #[serde(deserialize_with = "or_default")]
    reason: String,
    #[serde(deserialize_with = "or_default")]
    message_expression: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenAnnotation {
    key: String,
    value_expression: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenMutation {
    patch_type: String,
    apply_configuration: Option<WrittenExpression>,
    json_patch: Option<WrittenExpression>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenExpression {
    expression: String,
}

/// An expression as it is written, and its program or why it has none.
pub(super) struct Compiled {
    pub text: String,
    pub program: Result<Program, String>,
}

/// What has to hold.
pub(super) struct Validation {
    pub rule: Compiled,
    pub message: String,
    pub message_expression: Option<Compiled>,
    /// `status.reason` of a refusal.
    pub reason: String,
}

/// A policy, of which the sort has its own rules.
pub(super) struct Policy<R> {
    pub matching: Matching,
    pub param_kind: Option<ParamKind>,
    pub conditions: Conditions,
    /// In the order in which they may refer to one another.
    pub variables: Vec<(String, Compiled)>,
    /// Whether a request fails with an expression that has no value.
    pub fails: bool,
    /// The variables of all expressions.
    pub scope: Scope,
    pub rules: R,
}

/// The rules of a sort of policies.
pub(super) trait Rules {
    fn read(spec: &mut PolicySpec, scope: &Scope) -> Self;
}

/// What a validating policy judges by.
pub(super) struct Validations {
    pub all: Vec<Validation>,
    /// The keys of audit annotations and what makes their values.
    pub annotations: Vec<(String, Compiled)>,
    /// Expressions of messages may not ask the authorizer.
    pub message_scope: Scope,
}

/// What a mutating policy changes.
pub(super) struct Mutations {
    /// In the order in which they are made.
    pub all: Vec<Mutation>,
    /// Whether it is to see what others change after it.
    pub again: bool,
    pub scope: Scope,
}

/// One change.
pub(super) enum Mutation {
    Configuration(Compiled),
    JsonPatch(Compiled),
}

/// The policies by name.
pub(super) type Policies<R> = BTreeMap<String, Policy<R>>;

pub(super) fn policies<R: Rules>(entries: &[Arc<Entry>]) -> Policies<R> {
    let read = |entry: &Arc<Entry>| {
        let stored: Stored<PolicySpec> = decode(entry)?;
        Some((entry.name().to_owned(), Policy::new(stored.spec)))
    };
    entries.iter().filter_map(read).collect()
}

impl<R: Rules> Policy<R> {
    pub fn new(mut spec: PolicySpec) -> Self {
        let base = Scope { params: spec.param_kind.is_some(), authorizer: true, ..Scope::default() };
        let (variables, known) = variables(&base, std::mem::take(&mut spec.variables));
        let known = (!variables.is_empty()).then(|| Arc::new(known));
        let scope = Scope { variables: known, ..base.clone() };
        Self {
            rules: R::read(&mut spec, &scope),
            matching: spec.match_constraints.into(),
            param_kind: spec.param_kind,
            conditions: Conditions::new(base, spec.match_conditions),
            variables,
            fails: spec.failure_policy.as_deref() != Some("Ignore"),
            scope,
        }
    }
}

impl Rules for Validations {
    fn read(spec: &mut PolicySpec, scope: &Scope) -> Self {
        let message_scope = Scope { authorizer: false, ..scope.clone() };
        let validation = |written: WrittenValidation| Validation {
            rule: Compiled::new(scope, written.expression, &[Type::Bool]),
            message: written.message.trim().to_owned(),
            message_expression: (!written.message_expression.trim().is_empty())
                .then(|| Compiled::new(&message_scope, written.message_expression, &[Type::String])),
            reason: if written.reason.is_empty() { "Invalid".to_owned() } else { written.reason },
        };
        let annotation = |written: WrittenAnnotation| {
            (written.key, Compiled::new(scope, written.value_expression, &[Type::String, Type::Null]))
        };
        Self {
            all: std::mem::take(&mut spec.validations).into_iter().map(validation).collect(),
            annotations: std::mem::take(&mut spec.audit_annotations).into_iter().map(annotation).collect(),
            message_scope,
        }
    }
}

impl Rules for Mutations {
    fn read(spec: &mut PolicySpec, scope: &Scope) -> Self {
        let scope = Scope { patches: true, ..scope.clone() };
        let compiled = |written: Option<WrittenExpression>, of: Type| {
            Compiled::new(&scope, written.unwrap_or_default().expression, &[of])
        };
        let mutation = |written: WrittenMutation| match written.patch_type.as_str() {
            "JSONPatch" => Mutation::JsonPatch(compiled(written.json_patch, json_patch_type())),
            _ => Mutation::Configuration(compiled(written.apply_configuration, configuration_type())),
        };
        Self {
            all: std::mem::take(&mut spec.mutations).into_iter().map(mutation).collect(),
            again: spec.reinvocation_policy.as_deref() == Some("IfNeeded"),
            scope,
        }
    }
}

/// Compiles variables, each of which may speak of those before it.
fn variables(base: &Scope, written: Vec<conditions::Written>) -> (Vec<(String, Compiled)>, ObjectType) {
    let mut known = ObjectType::default();
    let mut compiled = Vec::new();
    for conditions::Written { name, expression } in written {
        let fields = ObjectType { fields: known.fields.clone() };
        let scope = Scope { variables: Some(Arc::new(fields)), ..base.clone() };
        let one = Compiled::new(&scope, expression, &[]);
        let of = one.program.as_ref().map_or(Type::Dyn, |program| program.result_type().clone());
        known.fields.insert(name.clone(), of);
        compiled.push((name, one));
    }
    (compiled, known)
}

impl Compiled {
    fn new(scope: &Scope, text: String, wanted: &[Type]) -> Self {
        let program = scope.compile(&text, wanted);
        Self { text, program }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BindingSpec {
    policy_name: String,
    param_ref: Option<ParamRef>,
    match_resources: Option<matching::Written>,
    #[serde(deserialize_with = "or_default")]
    validation_actions: Vec<String>,
}

/// Which objects are parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ParamRef {
    pub name: String,
    pub namespace: String,
    pub selector: Option<Value>,
    pub parameter_not_found_action: Option<String>,
}

/// Where and with what a policy is in force.
pub(super) struct Binding {
    pub name: String,
    pub param_ref: Option<ParamRef>,
    pub matching: Option<Matching>,
    pub actions: Vec<String>,
}

/// The bindings by the names of their policies.
pub(super) type Bindings = BTreeMap<String, Vec<Binding>>;

pub(super) fn bindings(entries: &[Arc<Entry>]) -> Bindings {
    let mut bindings = Bindings::new();
    for entry in entries {
        let Some(Stored { spec }) = decode::<Stored<BindingSpec>>(entry) else { continue };
        bindings.entry(spec.policy_name).or_default().push(Binding {
            name: entry.name().to_owned(),
            param_ref: spec.param_ref,
            matching: spec.match_resources.map(Into::into),
            actions: spec.validation_actions,
        });
    }
    bindings
}
