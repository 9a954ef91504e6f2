//! [`warnings`]: what is wrong with the expressions of a validating admission policy, held against the types of the
//! kinds that it matches. Source: upstream's `k8s.io/apiserver/pkg/admission/plugin/policy/validating/typechecking.go`.
//!
//! A warning changes nothing of what the policy does: a request may still be of a kind that the expression fits.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{GroupVersion, GroupVersionKind, Object};
use expressions::{ObjectType, Type};
use serde_json::Value;

use super::read;
use crate::conditions::Scope;
use crate::row::Resource;
use crate::table::KindTable;
use crate::typed::type_of;

/// How many kinds the expressions are held against.
const MAX_KINDS: usize = 10;
/// How many combinations of group, version and resource are looked up for that.
const MAX_LOOKUPS: usize = 10_000;
/// How much text all warnings may have together, in bytes: each quotes the expression, once for each kind.
const MAX_TEXT_BYTES: usize = 256 * 1024;

/// What is wrong with one expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The field that has the expression.
    pub field_ref: String,
    /// What is wrong, with the kinds for which it is, in upstream's words.
    pub warning: String,
}

/// The warnings about a policy's validations. Kinds that the table does not have are passed over.
pub fn warnings(policy: &Object, kinds: &KindTable) -> Vec<Warning> {
    let spec = read::top(policy, "spec");
    let judges: Vec<Judge> =
        matched(spec, kinds).into_iter().map(|row| Judge::new(spec, row, kinds)).collect();
    let mut told = Told::default();
    for (i, validation) in read::list(spec, "validations").iter().enumerate() {
        for key in ["expression", "messageExpression"] {
            let text = read::text(validation, key);
            if !text.is_empty() {
                let found: Vec<String> = judges.iter().filter_map(|judge| judge.fault(text)).collect();
                told.add(format!("spec.validations[{i}].{key}"), &found);
            }
        }
    }
    told.finished()
}

/// Warnings within the limit.
#[derive(Default)]
struct Told {
    all: Vec<Warning>,
    bytes: usize,
    left_out: usize,
}

impl Told {
    fn add(&mut self, field_ref: String, faults: &[String]) {
        if faults.is_empty() {
            return;
        }
        let warning = faults.join("\n");
        if self.bytes + warning.len() > MAX_TEXT_BYTES {
            self.left_out += 1;
            return;
        }
        self.bytes += warning.len();
        self.all.push(Warning { field_ref, warning });
    }

    fn finished(mut self) -> Vec<Warning> {
        if self.left_out > 0 {
            let warning =
                format!("the warnings about {} more expressions are too long to be told", self.left_out);
            self.all.push(Warning { field_ref: "spec.validations".to_owned(), warning });
        }
        self.all
    }
}

/// Holds expressions against one kind.
struct Judge {
    kind: GroupVersionKind,
    object: Type,
    params: Type,
    scope: Scope,
}

impl Judge {
    fn new(spec: &Value, row: &Resource, kinds: &KindTable) -> Self {
        let param_kind = read::get(spec, "paramKind");
        let params = param_kind.and_then(|kind| {
            let version = GroupVersion::parse(read::text(kind, "apiVersion"))?;
            kinds.by_kind(&version.group, &version.version, read::text(kind, "kind"))
        });
        let params = params.map_or(Type::Dyn, |row| type_of(&row.schema));
        let scope = Scope { params: param_kind.is_some(), authorizer: true, ..Scope::default() };
        let mut judge = Self { kind: row.gvk(), object: type_of(&row.schema), params, scope };
        judge.scope.variables = Some(Arc::new(judge.variables(read::list(spec, "variables"))));
        judge
    }

    /// The types of a policy's variables, each of which may speak of those before it. One that is wrong is of any type.
    fn variables(&self, all: &[Value]) -> ObjectType {
        let mut known = ObjectType::default();
        for variable in all {
            let fields = ObjectType { fields: known.fields.clone() };
            let scope = Scope { variables: Some(Arc::new(fields)), ..self.scope.clone() };
            let program = scope.program(read::text(variable, "expression"), &self.object, &self.params);
            let of = program.map_or(Type::Dyn, |program| program.result_type().clone());
            known.fields.insert(read::text(variable, "name").to_owned(), of);
        }
        known
    }

    /// What is wrong with an expression about this kind.
    fn fault(&self, text: &str) -> Option<String> {
        let rejected = self.scope.program(text, &self.object, &self.params).err()?;
        Some(format!("{}: {rejected}\n", self.kind))
    }
}

/// The kinds that a policy matches by name, in the order of group, version and kind.
fn matched<'k>(spec: &Value, kinds: &'k KindTable) -> Vec<&'k Resource> {
    let constraints = read::get(spec, "matchConstraints").unwrap_or(&Value::Null);
    let mut found = BTreeMap::new();
    for (group, version, plural) in
        read::list(constraints, "resourceRules").iter().flat_map(named).take(MAX_LOOKUPS)
    {
        if let Some(row) = kinds.find(group, version, plural) {
            found.insert((&*row.group, &*row.version, &*row.kind), &**row);
            if found.len() == MAX_KINDS {
                break;
            }
        }
    }
    found.into_values().collect()
}

/// What a rule names: all its groups, versions and resources, none where a group or version is any; subresources and
/// `*` among its resources left out.
fn named(rule: &Value) -> impl Iterator<Item = (&str, &str, &str)> {
    let texts = |key: &str| read::texts(rule, key).collect::<Vec<&str>>();
    let any = |names: &[&str]| names.iter().any(|name| name.contains('*'));
    let (mut groups, mut versions, mut plurals) =
        (texts("apiGroups"), texts("apiVersions"), texts("resources"));
    if any(&groups) || any(&versions) {
        groups.clear();
    }
    plurals.retain(|plural| !plural.contains(['*', '/']));
    for names in [&mut groups, &mut versions, &mut plurals] {
        names.sort_unstable();
        names.dedup();
    }
    groups.into_iter().flat_map(move |group| {
        let plurals = plurals.clone();
        versions
            .clone()
            .into_iter()
            .flat_map(move |version| plurals.clone().into_iter().map(move |plural| (group, version, plural)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{builtin, custom};

    fn by_rule(rule: &Value, mut spec: Value) -> Object {
        spec["matchConstraints"] = json!({"resourceRules": [rule]});
        Object::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("an object")
    }

    fn policy(resources: &[&str], spec: Value) -> Object {
        by_rule(
            &json!({"apiGroups": ["apps", "", "example.com"], "apiVersions": ["v1"], "resources": resources}),
            spec,
        )
    }

    fn told(policy: &Object, kinds: &KindTable) -> Vec<(String, String)> {
        warnings(policy, kinds).into_iter().map(|told| (told.field_ref, told.warning)).collect()
    }

    /// The warnings about one expression on deployments.
    fn about(text: &str) -> Vec<String> {
        let policy = policy(&["deployments"], json!({"validations": [{"expression": text}]}));
        told(&policy, builtin()).into_iter().map(|(_, warning)| warning).collect()
    }

    #[test]
    fn a_field_that_a_kind_does_not_have_is_told_where_it_stands() {
        assert_eq!(about("object.spec.replicas > 1"), [""; 0]);
        let words = "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'nonexist'\n \
                     | object.spec.nonexist > 1\n | ...........^\n";
        assert_eq!(about("object.spec.nonexist > 1"), [words]);
        for (text, why) in [
            (
                "object.spec.replicas == 'one'",
                "found no matching overload for '_==_' applied to '(int, string)'",
            ),
            ("oldObject.metadata.nmae == 'a'", "undefined field 'nmae'"),
            ("object.spec.template.spec.containers.all(c, c.imge != '')", "undefined field 'imge'"),
            ("authorizer.allowed()", "applied to 'kubernetes.authorization.Authorizer.()'"),
        ] {
            let told = about(text);
            assert!(told.len() == 1 && told[0].contains(why), "{text}: {told:?}");
        }
    }

    #[test]
    fn what_fits_a_kind_is_not_told_of() {
        for text in [
            "object.metadata.labels['a.b/c'] == 'x' && has(object.metadata.annotations.note)",
            "oldObject == null || oldObject.spec.replicas < object.spec.replicas",
            "object.spec.template.spec.containers.all(c, c.image.startsWith('a/') && !has(c.securityContext.privileged))",
            "quantity(object.spec.template.spec.containers[0].resources.limits.cpu).isGreaterThan(quantity('1'))",
            "object.spec.strategy.rollingUpdate.maxSurge == 1 || object.spec.strategy.rollingUpdate.maxSurge == '25%'",
            "object.metadata.creationTimestamp < timestamp('2030-01-01T00:00:00Z')",
            "object.?spec.?replicas.orValue(0) < 3 && request.operation == 'CREATE'",
            "authorizer.group('').resource('endpoints').check('create').allowed()",
        ] {
            assert_eq!(about(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn every_kind_is_told_for_itself_and_only_kinds_that_are_named() {
        let spec = json!({"validations": [
            {"expression": "object.spec.replicas > 1"},
            {"expression": "has(object.spec)", "messageExpression": "object.data.a"}]});
        let kinds = ["pods", "deployments", "pods/status", "unknown"];
        let told = told(&policy(&kinds, spec.clone()), builtin());
        let (first, second) = (&told[0], &told[1]);
        assert_eq!((told.len(), &*first.0), (2, "spec.validations[0].expression"));
        assert!(first.1.starts_with("/v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'replicas'\n"));
        assert!(!first.1.contains("Deployment"));
        assert_eq!(second.0, "spec.validations[1].messageExpression");
        let places = ["/v1, Kind=Pod: ", "^\n\napps/v1, Kind=Deployment: "].map(|words| second.1.find(words));
        assert!(places[0] == Some(0) && places[1].is_some(), "{}", second.1);
        for nothing in [&["*"][..], &["pods/*"], &["widgets"], &[]] {
            assert_eq!(warnings(&policy(nothing, spec.clone()), builtin()), []);
        }
        let any = json!({"apiGroups": ["apps"], "apiVersions": ["*"], "resources": ["deployments"]});
        let any = by_rule(&any, spec);
        assert_eq!(warnings(&any, builtin()), []);
    }

    #[test]
    fn parameters_and_variables_have_types_as_well() {
        let judged = |kind: &str, variable: &str, text: &str| {
            let spec = json!({"paramKind": {"apiVersion": "v1", "kind": kind},
                "variables": [{"name": "most", "expression": variable}], "validations": [{"expression": text}]});
            let told = told(&policy(&["deployments"], spec), builtin());
            told.into_iter().map(|(_, warning)| warning).collect::<String>()
        };
        let fits = "object.spec.replicas <= variables.most";
        assert_eq!(judged("ConfigMap", "int(params.data.most)", fits), "");
        assert!(judged("ConfigMap", "params.data.most", fits).contains("applied to '(int, string)'"));
        assert!(judged("ConfigMap", "1", "params.nothing == ''").contains("undefined field 'nothing'"));
        assert!(judged("ConfigMap", "1", "variables.least == 1").contains("undefined field 'least'"));
        assert_eq!(judged("Unknown", "params.nothing", fits), "", "what is not known may be anything");
        assert_eq!(
            judged("ConfigMap", "params.nothing", fits),
            "",
            "a variable that is wrong may be anything"
        );
    }

    #[test]
    fn custom_kinds_have_the_types_of_their_definitions() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
            "properties": {"size": {"type": "integer"}, "until": {"type": "string", "format": "date-time"}}}}});
        let definition = json!({"metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
            "status": {"acceptedNames": {"plural": "widgets", "kind": "Widget", "listKind": "WidgetList"},
                "conditions": [{"type": "Established", "status": "True"}]}});
        let definition = Object::from_value(definition).expect("an object");
        let kinds = builtin().with(custom::rows(&definition));
        let about = |text: &str| {
            let policy = policy(&["widgets"], json!({"validations": [{"expression": text}]}));
            told(&policy, &kinds).into_iter().map(|(_, warning)| warning).collect::<String>()
        };
        let right =
            "object.spec.size > 1 && object.metadata.labels.a == 'b' && object.metadata.generation > 1";
        assert_eq!(about(right), "");
        assert_eq!(about("object.spec.until < timestamp('2030-01-01T00:00:00Z')"), "");
        let told = about("object.spec.colour == 'red'");
        assert!(
            told.starts_with("example.com/v1, Kind=Widget: ERROR: <input>:1:12: undefined field 'colour'"),
            "{told}"
        );
    }

    #[test]
    fn many_kinds_and_long_expressions_stay_within_limits() {
        let many: Vec<String> = (0..3000).map(|i| format!("r{i}")).collect();
        let odd = json!({"validations": [{"expression": "object.nonexist"}]});
        let rule = json!({"apiGroups": many, "apiVersions": many, "resources": many});
        assert_eq!(warnings(&by_rule(&rule, odd.clone()), builtin()), []);

        let all: Vec<&str> = builtin().rows().map(|row| &*row.plural).collect();
        let rule = json!({"apiGroups": ["", "apps", "batch"], "apiVersions": ["v1"], "resources": all});
        let told = warnings(&by_rule(&rule, odd), builtin());
        assert_eq!(told[0].warning.matches("undefined field").count(), MAX_KINDS);

        let long = format!("object.nonexist == '{}'", "x".repeat(20_000));
        let odd = json!({"validations": [{"expression": long}, {"expression": long}]});
        let told = warnings(&by_rule(&rule, odd), builtin());
        let last = "the warnings about 1 more expressions are too long to be told";
        assert_eq!((told.len(), &*told[1].warning), (2, last));
    }
}
