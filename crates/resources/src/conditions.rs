//! Expressions about requests, as webhooks and policies have them: which variables there are and of what types, and
//! how a text becomes a program. Source: upstream's `k8s.io/apiserver/pkg/admission/plugin/cel`.
//!
//! Start with [`Scope::compile`]; [`Scope::names`] tells the order in which a program takes its variables.

use std::sync::{Arc, LazyLock};

use expressions::{ObjectType, Program, Rejected, Type};

/// What all match conditions of one webhook or policy may cost together, in steps
/// (`k8s.io/apiserver/pkg/apis/cel/config.go`).
pub const MATCH_BUDGET: u64 = 2_500_000;
/// The same of one expression.
pub const CALL_BUDGET: u64 = 1_000_000;

/// The variables of an expression beside those that all have.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// There is an object of parameters.
    pub params: bool,
    pub authorizer: bool,
    /// The variables of the policy, by name.
    pub variables: Option<Arc<ObjectType>>,
    /// The expression makes a change: it may make objects (`Object{…}`, `JSONPatch{…}`).
    pub patches: bool,
}

static REQUEST: LazyLock<Type> = LazyLock::new(request);
static NAMESPACE: LazyLock<Type> = LazyLock::new(namespace);
static AUTHORIZER: Type = Type::Library("kubernetes.authorization.Authorizer");
static DYN: Type = Type::Dyn;

impl Scope {
    /// The scope of a webhook's match conditions.
    pub fn of_webhook() -> Self {
        Self { authorizer: true, ..Self::default() }
    }

    /// The names of the variables, in the order in which a program of the scope takes their values.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let names = [
            Some("object"),
            Some("oldObject"),
            Some("request"),
            Some("namespaceObject"),
            self.authorizer.then_some("authorizer"),
            self.params.then_some("params"),
            self.variables.is_some().then_some("variables"),
        ];
        names.into_iter().flatten()
    }

    /// The program of an expression that has to be of one of the types.
    ///
    /// # Errors
    /// What is wrong with it, in upstream's words.
    pub fn compile(&self, text: &str, wanted: &[Type]) -> Result<Program, String> {
        let program =
            self.program(text, &DYN, &DYN).map_err(|rejected| format!("compilation failed: {rejected}"))?;
        let found = program.result_type();
        // A list of nothing is of any type. Changes are of their type for certain.
        let unknown = |wanted: &Type| match (found, wanted) {
            (Type::Dyn, _) => !self.patches,
            (Type::List(of), Type::List(_)) => **of == Type::Dyn,
            _ => false,
        };
        if wanted.is_empty() || wanted.contains(found) || wanted.iter().any(unknown) {
            return Ok(program);
        }
        Err(match wanted {
            [only] => format!("must evaluate to {only} but got {found}"),
            many => {
                let names: Vec<String> = many.iter().map(ToString::to_string).collect();
                format!("must evaluate to one of [{}]", names.join(" "))
            }
        })
    }

    /// The program of an expression about objects and parameters of the types.
    ///
    /// # Errors
    /// What is wrong with it, in upstream's words.
    pub(crate) fn program(&self, text: &str, object: &Type, params: &Type) -> Result<Program, Rejected> {
        let variables = self.variables.as_ref().map(|of| Type::Object(Arc::clone(of)));
        let of = |name: &str| match name {
            "request" => &*REQUEST,
            "namespaceObject" => &*NAMESPACE,
            "authorizer" => &AUTHORIZER,
            "variables" => variables.as_ref().unwrap_or(&DYN),
            "params" => params,
            _ => object,
        };
        let typed: Vec<(&str, &Type)> = self.names().map(|name| (name, of(name))).collect();
        if self.patches { Program::compile_making(text, &typed) } else { Program::compile(text, &typed) }
    }
}

/// The type of expressions that apply a configuration.
pub fn configuration_type() -> Type {
    Type::Made(expressions::OBJECT.into())
}

/// The type of expressions that make a JSON patch.
pub fn json_patch_type() -> Type {
    Type::list(Type::Made(expressions::JSON_PATCH.into()))
}

/// The type that a request is read as.
pub fn request_type() -> &'static Type {
    &REQUEST
}

/// The type that the request's namespace is read as.
pub fn namespace_type() -> &'static Type {
    &NAMESPACE
}

/// Fields by their own names: unlike those of schemas, upstream does not escape them.
fn object(fields: &[(&str, Type)]) -> Type {
    let fields = fields.iter().map(|(name, of)| ((*name).to_owned(), of.clone())).collect();
    Type::Object(Arc::new(ObjectType { fields }))
}

fn request() -> Type {
    let texts = |names: &[&str]| {
        let fields: Vec<(&str, Type)> = names.iter().map(|name| (*name, Type::String)).collect();
        object(&fields)
    };
    let kind = texts(&["group", "version", "kind"]);
    let resource = texts(&["group", "version", "resource"]);
    let user = object(&[
        ("username", Type::String),
        ("uid", Type::String),
        ("groups", Type::list(Type::String)),
        ("extra", Type::map(Type::list(Type::String))),
    ]);
    object(&[
        ("kind", kind.clone()),
        ("resource", resource.clone()),
        ("subResource", Type::String),
        ("requestKind", kind),
        ("requestResource", resource),
        ("requestSubResource", Type::String),
        ("name", Type::String),
        ("namespace", Type::String),
        ("operation", Type::String),
        ("userInfo", user),
        ("dryRun", Type::Bool),
        ("options", Type::Dyn),
    ])
}

fn namespace() -> Type {
    let metadata = object(&[
        ("name", Type::String),
        ("generateName", Type::String),
        ("namespace", Type::String),
        ("labels", Type::map(Type::String)),
        ("annotations", Type::map(Type::String)),
        ("UID", Type::String),
        ("creationTimestamp", Type::Timestamp),
        ("deletionGracePeriodSeconds", Type::Int),
        ("deletionTimestamp", Type::Timestamp),
        ("generation", Type::Int),
        ("resourceVersion", Type::String),
        ("finalizers", Type::list(Type::String)),
    ]);
    let condition = object(&[
        ("status", Type::String),
        ("type", Type::String),
        ("lastTransitionTime", Type::Timestamp),
        ("message", Type::String),
        ("reason", Type::String),
    ]);
    let spec = object(&[("finalizers", Type::list(Type::String))]);
    let status = object(&[("conditions", Type::list(condition)), ("phase", Type::String)]);
    object(&[("metadata", metadata), ("spec", spec), ("status", status)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_made_where_they_are_wanted() {
        let scope = Scope { patches: true, ..Scope::of_webhook() };
        let compile = |text: &str, of: Type| scope.compile(text, &[of]).map(|_| ());
        let apply = |text: &str| compile(text, configuration_type());
        let patch = |text: &str| compile(text, json_patch_type());
        assert_eq!(apply("Object{spec: Object.spec{replicas: object.spec.replicas + 1}}"), Ok(()));
        assert_eq!(apply("has(object.spec) ? Object{} : Object{?spec: object.?spec}"), Ok(()));
        let path = "'/metadata/labels/' + jsonpatch.escapeKey('a.b/c')";
        assert_eq!(patch(&format!("[JSONPatch{{op: 'add', path: {path}, value: 'x'}}]")), Ok(()));
        assert_eq!(patch("has(object.spec) ? [JSONPatch{op: 'remove', path: '/spec'}] : []"), Ok(()));
        for (found, why) in [
            (apply("'teapot'"), "must evaluate to Object but got string"),
            (apply("Object.spec{}"), "must evaluate to Object but got Object.spec"),
            (apply("object.spec"), "must evaluate to Object but got dyn"),
            (patch("JSONPatch{}"), "must evaluate to list(JSONPatch) but got JSONPatch"),
        ] {
            assert_eq!(found.unwrap_err(), why);
        }
        let elsewhere = Scope::of_webhook().compile("Object{} == Object{}", &[Type::Bool]).unwrap_err();
        assert!(elsewhere.contains("1:7: undeclared reference to 'Object' (in container '')"), "{elsewhere}");
        let wrong = patch("[JSONPatch{op: 1}]").unwrap_err();
        assert!(
            wrong.contains("1:14: expected type of field 'op' is 'string' but provided type is 'int'"),
            "{wrong}"
        );
    }

    #[test]
    fn expressions_know_the_request_and_nothing_else() {
        let scope = Scope::of_webhook();
        let compile = |text: &str| scope.compile(text, &[Type::Bool]).map(|_| ());
        for text in [
            "object.metadata.name == 'a' && oldObject == null",
            "request.userInfo.username != 'x' && 'g' in request.userInfo.groups",
            "authorizer.group('apps').resource('deployments').namespace('a').check('create').allowed()",
            "authorizer.requestResource.check('custom').allowed()",
            "!authorizer.path('/healthz').check('get').errored()",
        ] {
            assert_eq!(compile(text), Ok(()), "{text}");
        }
        assert_eq!(compile("request.name").unwrap_err(), "must evaluate to bool but got string");
        for (text, why) in [
            ("params.a", "undeclared reference to 'params'"),
            ("request.nothing == ''", "undefined field 'nothing'"),
            ("authorizer.check('get').allowed()", "found no matching overload for 'check'"),
        ] {
            let error = compile(text).unwrap_err();
            assert!(
                error.starts_with("compilation failed: ERROR: <input>:1:") && error.contains(why),
                "{error}"
            );
        }
    }
}
