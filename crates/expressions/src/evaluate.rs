//! Evaluates an expression within a [`Budget`]. Every step costs, and so does what a function reads or makes, before it
//! does: no expression and no object makes an evaluation longer than its budget, or has it take more memory.

mod budget;
mod formats;
mod functions;
mod lists;
mod network;
mod quantities;
mod strings;
mod versions;

use std::sync::Arc;

pub use budget::Budget;

use crate::syntax::{Each, Expr, Literal, Node, Over};
use crate::types::JSON_PATCH;
use crate::value::{Made, Value};

/// Why an evaluation has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The budget is spent.
    Spent,
    /// In upstream's words.
    Failed(String),
}

/// How many keys are looked at for one step.
const LOOKED_AT: u64 = 32;

type Evaluated<'a> = Result<Value<'a>, Fault>;

fn failed<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Failed(what.into()))
}

fn no_overload<T>() -> Result<T, Fault> {
    failed("no such overload")
}

/// Evaluates with these variables.
pub(crate) fn evaluate<'a>(
    expr: &'a Expr,
    known: Vec<(&'a str, Value<'a>)>,
    budget: &mut Budget,
) -> Evaluated<'a> {
    budget.begin();
    Run { known, budget }.of(expr)
}

/// Whether an expression speaks of a variable.
pub(crate) fn mentions(expr: &Expr, name: &str) -> bool {
    crate::depth::deep(|| mentions_here(expr, name))
}

fn mentions_here(expr: &Expr, name: &str) -> bool {
    let inside = |parts: &[&Expr]| parts.iter().any(|part| mentions(part, name));
    match &expr.node {
        Node::Literal(_) => false,
        Node::Name(known) => known == name,
        Node::Select { of, .. }
        | Node::Has { of, .. }
        | Node::Not(of)
        | Node::Negate(of)
        | Node::Maybe(of) => mentions(of, name),
        Node::Make { fields, .. } => fields.iter().any(|(_, _, value)| mentions(value, name)),
        Node::Index { of, index, .. } => inside(&[of, index]),
        Node::Call { target, arguments, .. } => {
            target.as_deref().is_some_and(|target| mentions(target, name))
                || arguments.iter().any(|a| mentions(a, name))
        }
        Node::List(items) => items.iter().any(|item| mentions(item, name)),
        Node::Map(entries) => entries.iter().any(|(key, value)| inside(&[key, value])),
        Node::And(a, b) | Node::Or(a, b) | Node::Binary(_, a, b) => inside(&[a, b]),
        Node::Choice(a, b, c) => inside(&[a, b, c]),
        Node::Each(each) => {
            inside(&[&each.of, &each.body]) || each.condition.as_ref().is_some_and(|c| mentions(c, name))
        }
        Node::Bind { value, inside: body, .. } => inside(&[value, body]),
    }
}

struct Run<'a, 'b> {
    known: Vec<(&'a str, Value<'a>)>,
    budget: &'b mut Budget,
}

impl<'a> Run<'a, '_> {
    fn of(&mut self, expr: &'a Expr) -> Evaluated<'a> {
        crate::depth::deep(|| self.of_node(expr))
    }

    fn of_node(&mut self, expr: &'a Expr) -> Evaluated<'a> {
        self.budget.charge(1)?;
        match &expr.node {
            Node::Literal(literal) => Ok(of_literal(literal)),
            Node::Name(name) => self.name(name),
            Node::Select { of, field, optional } => {
                let of = self.of(of)?;
                self.look_through(&of)?;
                let found = select(&of, field, *optional)?;
                self.budget.hold(found.shell_bytes())?;
                Ok(found)
            }
            Node::Has { of, field } => has(&self.of(of)?, field),
            Node::Index { of, index, optional } => {
                let (of, index) = (self.of(of)?, self.of(index)?);
                self.look_through(&of)?;
                let found = indexed(&of, &index, *optional)?;
                self.budget.hold(found.shell_bytes())?;
                Ok(found)
            }
            Node::Call { target, name, arguments } => self.call(target.as_deref(), name, arguments),
            Node::List(items) => {
                let items = items.iter().filter_map(|item| self.part(item, "list element").transpose());
                let items: Vec<Value<'a>> = items.collect::<Result<_, _>>()?;
                self.budget.hold(items.len() * size_of::<Value<'a>>())?;
                Ok(Value::List(Arc::new(items)))
            }
            Node::Map(entries) => {
                let mut all = Vec::new();
                for (key, value) in entries {
                    let key = self.of(key)?;
                    all.extend(self.part(value, "entry")?.map(|value| (key, value)));
                }
                Ok(Value::Map(Arc::new(all)))
            }
            Node::Make { of, fields } => self.make(of, fields),
            Node::Maybe(of) => self.of(of),
            Node::Not(of) => match self.of(of)? {
                Value::Bool(flag) => Ok(Value::Bool(!flag)),
                _ => no_overload(),
            },
            Node::Negate(of) => negated(self.of(of)?),
            Node::And(a, b) => self.logical(a, b, false),
            Node::Or(a, b) => self.logical(a, b, true),
            Node::Binary(sign, a, b) => {
                let (a, b) = (self.of(a)?, self.of(b)?);
                let made = self.binary(sign, &a, &b)?;
                self.budget.hold(made.shell_bytes())?;
                Ok(made)
            }
            Node::Choice(condition, yes, no) => match self.of(condition)? {
                Value::Bool(true) => self.of(yes),
                Value::Bool(false) => self.of(no),
                _ => no_overload(),
            },
            Node::Each(each) => self.each(each),
            Node::Bind { name, value, inside } => {
                let value = self.of(value)?;
                self.within(vec![(name, value)], inside)
            }
        }
    }

    /// Entries of maps that an expression makes are looked for one by one.
    fn look_through(&mut self, of: &Value<'a>) -> Result<(), Fault> {
        match of {
            Value::Map(entries) => self.budget.charge(entries.len() as u64 / LOOKED_AT),
            _ => Ok(()),
        }
    }

    /// A part of a list, map or object; `None` where it is left out.
    fn part(&mut self, expr: &'a Expr, what: &str) -> Result<Option<Value<'a>>, Fault> {
        let Node::Maybe(of) = &expr.node else { return self.of(expr).map(Some) };
        match self.of(of)? {
            Value::Optional(value) => Ok(value.as_deref().cloned()),
            other => failed(format!(
                "cannot initialize optional {what} from non-optional value of type {}",
                other.type_name()
            )),
        }
    }

    fn make(&mut self, of: &'a str, fields: &'a [(usize, String, Expr)]) -> Evaluated<'a> {
        let mut given = Vec::with_capacity(fields.len());
        for (_, name, value) in fields {
            let Some(value) = self.part(value, "field")? else { continue };
            if of == JSON_PATCH && name != "value" && !matches!(value, Value::String(_)) {
                let found = value.type_name();
                return failed(format!("unexpected type {found} for JSONPatchType '{name}' field"));
            }
            given.push((name.as_str(), value));
        }
        Ok(Value::Made(Arc::new(Made::new(of, given))))
    }

    fn within(&mut self, more: Vec<(&'a str, Value<'a>)>, inside: &'a Expr) -> Evaluated<'a> {
        let before = self.known.len();
        self.known.extend(more);
        let found = self.of(inside);
        self.known.truncate(before);
        found
    }

    fn name(&self, name: &str) -> Evaluated<'a> {
        if let Some((_, value)) = self.known.iter().rev().find(|(known, _)| *known == name) {
            return Ok(value.clone());
        }
        Ok(Value::Type(name.into()))
    }

    /// `&&` and `||`: a part that decides lets the other one fail.
    fn logical(&mut self, a: &'a Expr, b: &'a Expr, decides: bool) -> Evaluated<'a> {
        let flag = |value: Evaluated<'a>| match value {
            Ok(Value::Bool(flag)) => Ok(flag),
            Ok(_) => no_overload(),
            Err(fault) => Err(fault),
        };
        let first = flag(self.of(a));
        if first == Ok(decides) || first == Err(Fault::Spent) {
            return first.map(Value::Bool);
        }
        let second = flag(self.of(b));
        match (first, second) {
            (_, Ok(second)) if second == decides => Ok(Value::Bool(decides)),
            (Err(fault), _) | (_, Err(fault)) => Err(fault),
            _ => Ok(Value::Bool(!decides)),
        }
    }

    fn binary(&mut self, sign: &str, a: &Value<'a>, b: &Value<'a>) -> Evaluated<'a> {
        if matches!(sign, "==" | "!=" | "<" | "<=" | ">" | ">=") {
            self.budget.charge(a.lighter(b, self.budget.left()))?;
        }
        let ordered = |fits: fn(std::cmp::Ordering) -> bool| match a.order(b) {
            Some(order) => Ok(Value::Bool(fits(order))),
            None if matches!((a, b), (Value::Double(_), _) | (_, Value::Double(_))) => Ok(Value::Bool(false)),
            None => no_overload(),
        };
        match sign {
            "==" => Ok(Value::Bool(a.equals(b))),
            "!=" => Ok(Value::Bool(!a.equals(b))),
            "<" => ordered(std::cmp::Ordering::is_lt),
            "<=" => ordered(std::cmp::Ordering::is_le),
            ">" => ordered(std::cmp::Ordering::is_gt),
            ">=" => ordered(std::cmp::Ordering::is_ge),
            "in" => self.contains(a, b),
            _ => self.arithmetic(sign, a, b),
        }
    }

    fn contains(&mut self, a: &Value<'a>, b: &Value<'a>) -> Evaluated<'a> {
        if let Some(items) = b.each_item() {
            for item in items {
                self.budget.hold(item.shell_bytes())?;
                self.budget.charge(a.lighter(&item, self.budget.left()))?;
                if item.equals(a) {
                    return Ok(Value::Bool(true));
                }
            }
            return Ok(Value::Bool(false));
        }
        match (b, a) {
            (Value::Object(..), Value::String(name)) => Ok(Value::Bool(b.by_name(name).is_some())),
            (Value::Map(entries), key) => {
                self.budget.charge(entries.len() as u64)?;
                Ok(Value::Bool(entries.iter().any(|(known, _)| known.equals(key))))
            }
            _ => no_overload(),
        }
    }

    fn arithmetic(&mut self, sign: &str, a: &Value<'a>, b: &Value<'a>) -> Evaluated<'a> {
        match (a, b) {
            (Value::Int(a), Value::Int(b)) => whole(sign, *b == 0, |sign| match sign {
                "+" => a.checked_add(*b),
                "-" => a.checked_sub(*b),
                "*" => a.checked_mul(*b),
                "/" => a.checked_div(*b),
                _ => a.checked_rem(*b),
            })
            .map(Value::Int),
            (Value::Uint(a), Value::Uint(b)) => whole(sign, *b == 0, |sign| match sign {
                "+" => a.checked_add(*b),
                "-" => a.checked_sub(*b),
                "*" => a.checked_mul(*b),
                "/" => a.checked_div(*b),
                _ => a.checked_rem(*b),
            })
            .map(Value::Uint),
            (Value::Double(a), Value::Double(b)) => Ok(Value::Double(match sign {
                "+" => a + b,
                "-" => a - b,
                "*" => a * b,
                "/" => a / b,
                _ => return no_overload(),
            })),
            (Value::String(a), Value::String(b)) if sign == "+" => {
                self.budget.charge((a.len() + b.len()) as u64 / 10)?;
                Ok(Value::string(format!("{a}{b}")))
            }
            (Value::Bytes(a), Value::Bytes(b)) if sign == "+" => {
                self.budget.charge((a.len() + b.len()) as u64 / 10)?;
                Ok(Value::Bytes([&**a, &**b].concat().into()))
            }
            (Value::Timestamp(t), Value::Duration(d)) if sign == "+" => moved(*t, *d),
            (Value::Timestamp(t), Value::Duration(d)) if sign == "-" => moved(*t, -*d),
            (Value::Duration(d), Value::Timestamp(t)) if sign == "+" => moved(*t, *d),
            (Value::Duration(a), Value::Duration(b)) => {
                let sum = if sign == "+" { a.checked_add(*b) } else { a.checked_sub(*b) };
                sum.map(Value::Duration).ok_or_else(overflow)
            }
            (Value::Timestamp(a), Value::Timestamp(b)) if sign == "-" => {
                Ok(Value::Duration(a.duration_since(*b)))
            }
            _ if sign == "+" && a.is_list() && b.is_list() => {
                let count = a.size().unwrap_or(0) + b.size().unwrap_or(0);
                self.budget.charge(count as u64)?;
                let all = [a, b].into_iter().filter_map(Value::each_item).flatten();
                Ok(Value::List(Arc::new(all.collect())))
            }
            _ => no_overload(),
        }
    }

    fn call(&mut self, target: Option<&'a Expr>, name: &str, arguments: &'a [Expr]) -> Evaluated<'a> {
        let library = target.and_then(|target| match &target.node {
            Node::Name(library) if !self.known.iter().any(|(known, _)| known == library) => Some(library),
            _ => None,
        });
        let target = match (library, target) {
            (None, Some(target)) => Some(self.of(target)?),
            _ => None,
        };
        let arguments = arguments.iter().map(|argument| self.of(argument)).collect::<Result<Vec<_>, _>>()?;
        let read: u64 = target.iter().chain(&arguments).map(shallow).sum();
        self.budget.charge(read + 1)?;
        let name = library.map_or_else(|| name.to_owned(), |library| format!("{library}.{name}"));
        let made = functions::call(&name, target.as_ref(), &arguments, self.budget)?;
        self.budget.hold(made.own_bytes())?;
        Ok(made)
    }

    fn each(&mut self, each: &'a Each) -> Evaluated<'a> {
        let of = self.of(&each.of)?;
        if let Over::OptMap | Over::OptFlatMap = each.over {
            let Value::Optional(inner) = &of else { return no_overload() };
            let Some(inner) = inner else { return Ok(Value::Optional(None)) };
            let made = self.within(vec![(&each.name, Value::clone(inner))], &each.body)?;
            return Ok(if each.over == Over::OptMap { Value::Optional(Some(Arc::new(made))) } else { made });
        }
        let of_list = of.is_list();
        let mut walk = Walk { each, of_list, kept: Vec::new(), count: 0, fault: None };
        // Each item is made when it is its turn.
        if let Some(items) = of.each_item() {
            for (i, item) in items.enumerate() {
                if let Some(decided) = walk.item(self, index_value(i), item)? {
                    return Ok(Value::Bool(decided));
                }
            }
        } else if let Some(entries) = of.each_entry() {
            for (key, value) in entries {
                if let Some(decided) = walk.item(self, key, value)? {
                    return Ok(Value::Bool(decided));
                }
            }
        } else {
            return no_overload();
        }
        let made = walk.end()?;
        self.budget.hold(made.shell_bytes())?;
        Ok(made)
    }
}

/// A macro on its way through the items.
struct Walk<'a> {
    each: &'a Each,
    of_list: bool,
    kept: Vec<(Value<'a>, Value<'a>)>,
    count: usize,
    /// Of `all` and `exists`: what failed, unless an item decides.
    fault: Option<Fault>,
}

impl<'a> Walk<'a> {
    /// Looks at an item; a result where that is decided.
    fn item(
        &mut self,
        run: &mut Run<'a, '_>,
        key: Value<'a>,
        value: Value<'a>,
    ) -> Result<Option<bool>, Fault> {
        run.budget.charge(1)?;
        run.budget.hold(value.shell_bytes())?;
        let each = self.each;
        let names = match &each.second {
            Some(second) => vec![(each.name.as_str(), key.clone()), (second.as_str(), value.clone())],
            None => vec![(each.name.as_str(), if self.of_list { value.clone() } else { key.clone() })],
        };
        if let Some(condition) = &each.condition {
            match run.within(names.clone(), condition)? {
                Value::Bool(true) => {}
                Value::Bool(false) => return Ok(None),
                _ => return no_overload(),
            }
        }
        let made = run.within(names, &each.body);
        let flag = |made: Evaluated<'a>| match made {
            Ok(Value::Bool(flag)) => Ok(flag),
            Ok(_) => no_overload(),
            Err(fault) => Err(fault),
        };
        match each.over {
            Over::All | Over::Exists => {
                let decides = each.over == Over::Exists;
                match flag(made) {
                    Ok(found) if found == decides => return Ok(Some(decides)),
                    Err(Fault::Spent) => return Err(Fault::Spent),
                    Err(fault) => self.fault = Some(fault),
                    Ok(_) => {}
                }
            }
            Over::ExistsOne => self.count += usize::from(flag(made)?),
            Over::Filter => {
                if flag(made)? {
                    let kept = if self.of_list { value } else { key };
                    self.kept.push((Value::Null, kept));
                }
            }
            Over::TransformMapEntry => {
                let made = made?;
                let Some(entries) = made.each_entry() else { return no_overload() };
                for (key, value) in entries {
                    run.budget.charge(self.kept.len() as u64 / 10 + 1)?;
                    if self.kept.iter().any(|(known, _)| known.equals(&key)) {
                        let key = strings::text_of(&key).unwrap_or_default();
                        return failed(format!("insert failed: key {key} already exists"));
                    }
                    self.kept.push((key, value));
                }
            }
            _ => self.kept.push((key, made?)),
        }
        Ok(None)
    }

    fn end(self) -> Evaluated<'a> {
        match self.each.over {
            Over::All | Over::Exists => match self.fault {
                Some(fault) => Err(fault),
                None => Ok(Value::Bool(self.each.over == Over::All)),
            },
            Over::ExistsOne => Ok(Value::Bool(self.count == 1)),
            Over::TransformMap | Over::TransformMapEntry => Ok(Value::Map(Arc::new(self.kept))),
            _ => Ok(Value::List(Arc::new(self.kept.into_iter().map(|(_, value)| value).collect()))),
        }
    }
}

/// Whether a value has a field.
fn has<'a>(of: &Value<'a>, field: &str) -> Evaluated<'a> {
    match of {
        Value::Optional(inner) => Ok(Value::Bool(inner.as_ref().is_some_and(|inner| inner.has(field)))),
        Value::Object(..) | Value::Map(_) | Value::Made(_) => Ok(Value::Bool(of.has(field))),
        _ => no_overload(),
    }
}

fn negated(of: Value<'_>) -> Evaluated<'_> {
    match of {
        Value::Int(n) => n.checked_neg().map(Value::Int).ok_or_else(overflow),
        Value::Double(n) => Ok(Value::Double(-n)),
        Value::Duration(d) => Ok(Value::Duration(-d)),
        _ => no_overload(),
    }
}

fn index_value<'a>(index: usize) -> Value<'a> {
    Value::Int(i64::try_from(index).unwrap_or(i64::MAX))
}

/// What reading an argument costs: texts by their length, lists by their number.
fn shallow(value: &Value<'_>) -> u64 {
    match value {
        Value::String(text) => text.len() as u64 / 10,
        Value::Bytes(bytes) => bytes.len() as u64 / 10,
        Value::List(items) => items.len() as u64,
        Value::Array(items, _) => items.len() as u64,
        Value::Url(parts) => parts.iter().map(String::len).sum::<usize>() as u64 / 10,
        _ => 0,
    }
}

fn of_literal<'a>(literal: &Literal) -> Value<'a> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(flag) => Value::Bool(*flag),
        Literal::Int(n) => Value::Int(*n),
        Literal::Uint(n) => Value::Uint(*n),
        Literal::Double(n) => Value::Double(*n),
        Literal::String(text) => Value::string(text.as_str()),
        Literal::Bytes(bytes) => Value::Bytes(bytes.as_slice().into()),
    }
}

fn optional<'a>(found: Option<Value<'a>>) -> Value<'a> {
    Value::Optional(found.map(Arc::new))
}

fn select<'a>(of: &Value<'a>, field: &str, wants_optional: bool) -> Evaluated<'a> {
    match of {
        Value::Optional(inner) => Ok(optional(inner.as_ref().and_then(|inner| inner.field(field)))),
        Value::Object(..) | Value::Map(_) | Value::Made(_) if wants_optional => {
            Ok(optional(if of.has(field) { of.field(field) } else { None }))
        }
        Value::Object(..) | Value::Map(_) | Value::Made(_) => {
            of.field(field).ok_or_else(|| Fault::Failed(format!("no such key: {field}")))
        }
        Value::Foreign(of) => functions::given(of.call(field, &[])),
        // The name of a type that has dots in it.
        Value::Type(of) => Ok(Value::Type(format!("{of}.{field}").into())),
        _ => no_overload(),
    }
}

fn indexed<'a>(of: &Value<'a>, index: &Value<'a>, wants_optional: bool) -> Evaluated<'a> {
    if let Value::Optional(inner) = of {
        let found = inner.as_ref().and_then(|inner| indexed(inner, index, false).ok());
        return Ok(optional(found));
    }
    let found = match (of, index) {
        (Value::List(_) | Value::Array(..), _) => match whole_index(index) {
            Some(place) => match of {
                Value::List(items) => items.get(place).cloned(),
                Value::Array(items, of) => items.get(place).map(|item| Value::read(item, of)),
                _ => None,
            },
            None => None,
        },
        (Value::Object(..), Value::String(name)) => of.by_name(name),
        (Value::Map(entries), key) => {
            entries.iter().find(|(known, _)| known.equals(key)).map(|(_, v)| v.clone())
        }
        _ => return no_overload(),
    };
    if wants_optional {
        return Ok(optional(found));
    }
    found.ok_or_else(|| match index {
        Value::String(name) => Fault::Failed(format!("no such key: {name}")),
        Value::Int(place) => Fault::Failed(format!("index out of bounds: {place}")),
        _ => Fault::Failed("no such key".to_owned()),
    })
}

fn whole_index(index: &Value<'_>) -> Option<usize> {
    match index {
        Value::Int(place) => usize::try_from(*place).ok(),
        Value::Uint(place) => usize::try_from(*place).ok(),
        _ => None,
    }
}

fn overflow() -> Fault {
    Fault::Failed("integer overflow".to_owned())
}

fn whole<T>(sign: &str, by_zero: bool, compute: impl Fn(&str) -> Option<T>) -> Result<T, Fault> {
    match sign {
        "/" if by_zero => failed("division by zero"),
        "%" if by_zero => failed("modulus by zero"),
        _ => compute(sign).ok_or_else(overflow),
    }
}

fn moved<'a>(time: jiff::Timestamp, by: jiff::SignedDuration) -> Evaluated<'a> {
    time.checked_add(by).map(Value::Timestamp).map_err(|_| Fault::Failed("timestamp overflow".to_owned()))
}
