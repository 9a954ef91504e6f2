//! [`RuleSet`]: the rules of a schema as they are written, and their programs.

use std::sync::{Arc, OnceLock};

use expressions::{Program, Type};
use serde_json::Value;

use super::path::JsonPath;

/// The rules of a schema, compiled when they are first needed.
#[derive(Debug)]
pub struct RuleSet {
    pub(super) written: Vec<Written>,
    compiled: OnceLock<Compiled>,
}

#[derive(Debug)]
pub(super) struct Written {
    pub rule: String,
    pub message: String,
    pub message_expression: String,
    pub reason: String,
    pub field_path: Vec<String>,
    pub optional_old_self: bool,
}

#[derive(Debug)]
pub(super) struct Compiled {
    pub of: Type,
    /// The rules in order, those left out that cannot be compiled: a definition with one is refused.
    pub programs: Vec<Option<(Program, Option<Program>)>>,
}

impl RuleSet {
    pub(super) fn read(rules: &Value) -> Option<Arc<Self>> {
        let rules = rules.as_array().filter(|rules| !rules.is_empty())?;
        let written = rules.iter().map(Written::read).collect();
        Some(Arc::new(Self { written, compiled: OnceLock::new() }))
    }

    /// Whether a rule's text has the name of the state before in it.
    pub(super) fn may_mention_old(&self) -> bool {
        self.written.iter().any(|written| written.rule.contains("oldSelf"))
    }

    /// The programs over values of the type that `declared` makes at the first call.
    pub(super) fn compiled(&self, declared: impl FnOnce() -> Type) -> &Compiled {
        self.compiled.get_or_init(|| {
            let of = declared();
            let programs = self.written.iter().map(|written| {
                let rule = written.compile(&written.rule, &of).ok()?;
                let message = Some(&written.message_expression).filter(|text| !text.is_empty());
                Some((rule, message.and_then(|text| written.compile(text, &of).ok())))
            });
            Compiled { programs: programs.collect(), of }
        })
    }
}

impl Written {
    pub fn read(rule: &Value) -> Self {
        let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        Self {
            rule: text("rule"),
            message: text("message").trim().to_owned(),
            message_expression: text("messageExpression"),
            reason: text("reason"),
            field_path: steps(&text("fieldPath")).unwrap_or_default(),
            optional_old_self: rule.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or(false),
        }
    }

    pub fn compile(&self, text: &str, of: &Type) -> Result<Program, expressions::Rejected> {
        Program::compile(text, &[("self", of), ("oldSelf", &self.old(of))])
    }

    /// The type of the value before.
    pub fn old(&self, of: &Type) -> Type {
        if self.optional_old_self { Type::Optional(Arc::new(of.clone())) } else { of.clone() }
    }

    /// How upstream names the rule.
    pub fn name(&self) -> &str {
        if self.message.is_empty() { self.rule.trim() } else { &self.message }
    }
}

/// The names of a path such as `.a['b']`.
pub(super) fn steps(path: &str) -> Option<Vec<String>> {
    if path.is_empty() {
        return Some(Vec::new());
    }
    let names = JsonPath::parse(path).ok()?.fields()?;
    Some(names.into_iter().map(std::borrow::Cow::into_owned).collect())
}
