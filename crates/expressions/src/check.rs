//! Checks an expression against the types of its variables: [`check`] returns its type, or what upstream's compiler
//! would say is wrong with it.

use std::sync::Arc;

use crate::lexer::Unread;
use crate::signatures;
use crate::syntax::{Each, Expr, Literal, Node, Over};
use crate::types::{self, Type};
use crate::value;

/// The type of an expression. `makes`: see [`Checker`].
pub(crate) fn check(expr: &Expr, variables: &[(&str, &Type)], makes: bool) -> Result<Type, Unread> {
    let known = variables.iter().map(|(name, of)| ((*name).to_owned(), Type::clone(of))).collect();
    let mut checker = Checker { known, makes, formats: 0 };
    checker.of(expr)
}

struct Checker {
    known: Vec<(String, Type)>,
    /// Whether there are types of which expressions make objects, and their functions.
    makes: bool,
    /// How many calls of `format` the checker is in: the lists inside may hold what they like.
    formats: usize,
}

type Checked = Result<Type, Unread>;

const TYPES: [&str; 9] = ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type"];

impl Checker {
    fn of(&mut self, expr: &Expr) -> Checked {
        crate::depth::deep(|| self.of_node(expr))
    }

    fn of_node(&mut self, expr: &Expr) -> Checked {
        match &expr.node {
            Node::Literal(literal) => Ok(of_literal(literal)),
            Node::Name(name) => self.name(expr.at, name),
            Node::Select { of, field, optional } => {
                if let Some(of) = self.named_type(expr) {
                    return Ok(of);
                }
                let of = self.of(of)?;
                let found = select(expr.at, &of, field)?;
                Ok(if *optional || matches!(of, Type::Optional(_)) { optional_of(found) } else { found })
            }
            Node::Has { of, field } => {
                let of = self.of(of)?;
                select(expr.at, &of, field).map(|_| Type::Bool)
            }
            Node::Index { of, index, optional } => {
                let (of, index) = (self.of(of)?, self.of(index)?);
                let found = indexed(expr.at, &of, &index)?;
                Ok(if *optional || matches!(of, Type::Optional(_)) { optional_of(found) } else { found })
            }
            Node::Call { target, name, arguments } => self.call(expr.at, target.as_deref(), name, arguments),
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Make { of, fields } => self.make(expr.at, of, fields),
            Node::Maybe(of) => self.maybe(of),
            Node::Not(of) => self.logical(expr.at, "!_", &[of]),
            Node::And(a, b) => self.logical(expr.at, "_&&_", &[a, b]),
            Node::Or(a, b) => self.logical(expr.at, "_||_", &[a, b]),
            Node::Negate(of) => {
                let of = self.of(of)?;
                let right = matches!(of, Type::Dyn | Type::Int | Type::Double | Type::Duration);
                if right { Ok(of) } else { Err(no_overload(expr.at, "-_", &[of])) }
            }
            Node::Binary(sign, a, b) => {
                let (a, b) = (self.of(a)?, self.of(b)?);
                binary(expr.at, sign, a, b)
            }
            Node::Choice(condition, yes, no) => {
                let (condition, yes, no) = (self.of(condition)?, self.of(yes)?, self.of(no)?);
                if !condition.fits(&Type::Bool) || !yes.fits(&no) {
                    return Err(no_overload(expr.at, "_?_:_", &[condition, yes, no]));
                }
                Ok(yes.joined(&no))
            }
            Node::Each(each) => self.each(expr.at, each),
            Node::Bind { name, value, inside } => {
                let value = self.of(value)?;
                self.within(vec![(name.clone(), value)], inside)
            }
        }
    }

    fn list(&mut self, items: &[Expr]) -> Checked {
        let mut of: Option<Type> = None;
        for item in items {
            let at = item.at;
            let item = self.of(item)?;
            self.same(at, of.as_ref(), &item)?;
            of = Some(of.map_or(item.clone(), |of| of.joined(&item)));
        }
        Ok(Type::list(of.unwrap_or(Type::Dyn)))
    }

    fn map(&mut self, entries: &[(Expr, Expr)]) -> Checked {
        let mut of: Option<(Type, Type)> = None;
        for (key, value) in entries {
            let (key_at, value_at) = (key.at, value.at);
            let (key, value) = (self.of(key)?, self.of(value)?);
            self.same(key_at, of.as_ref().map(|(key, _)| key), &key)?;
            self.same(value_at, of.as_ref().map(|(_, value)| value), &value)?;
            of = Some(match of {
                None => (key, value),
                Some((k, v)) => (k.joined(&key), v.joined(&value)),
            });
        }
        let (key, value) = of.unwrap_or((Type::Dyn, Type::Dyn));
        Ok(Type::Map(Arc::new(key), Arc::new(value)))
    }

    /// Lists and maps that are written down hold values of one type; what is not known before may differ.
    fn same(&self, at: usize, before: Option<&Type>, now: &Type) -> Result<(), Unread> {
        match before {
            Some(before) if self.formats == 0 && !before.is_equivalent(now) => {
                Err((at, format!("expected type '{before}' but found '{now}'")))
            }
            _ => Ok(()),
        }
    }

    /// The type of the name of a type that has dots in it.
    fn named_type(&self, expr: &Expr) -> Option<Type> {
        let name = expr.dotted()?;
        let root = name.split('.').next()?;
        let declared = self.known.iter().any(|(known, _)| known == root);
        (!declared && signatures::TYPE_NAMES.contains(&name.as_str())).then_some(Type::Type)
    }

    fn maybe(&mut self, of: &Expr) -> Checked {
        match self.of(of)? {
            Type::Optional(of) => Ok(Type::clone(&of)),
            Type::Dyn => Ok(Type::Dyn),
            other => Err((of.at, format!("expected type 'optional_type({other})' but found '{other}'"))),
        }
    }

    fn make(&mut self, at: usize, of: &str, fields: &[(usize, String, Expr)]) -> Checked {
        if !self.makes || !types::is_made(of) {
            return Err((at, format!("undeclared reference to '{of}' (in container '')")));
        }
        for (at, name, value) in fields {
            let found = self.of(value)?;
            let wanted =
                types::made_field(of, name).ok_or_else(|| (*at, format!("undefined field '{name}'")))?;
            if !found.fits(&wanted) {
                let what =
                    format!("expected type of field '{name}' is '{wanted}' but provided type is '{found}'");
                return Err((*at, what));
            }
        }
        Ok(Type::Made(of.into()))
    }

    fn within(&mut self, more: Vec<(String, Type)>, inside: &Expr) -> Checked {
        let before = self.known.len();
        self.known.extend(more);
        let found = self.of(inside);
        self.known.truncate(before);
        found
    }

    fn name(&self, at: usize, name: &str) -> Checked {
        if let Some((_, of)) = self.known.iter().rev().find(|(known, _)| known == name) {
            return Ok(of.clone());
        }
        if TYPES.contains(&name) {
            return Ok(Type::Type);
        }
        Err((at, format!("undeclared reference to '{name}' (in container '')")))
    }

    fn logical(&mut self, at: usize, name: &str, parts: &[&Expr]) -> Checked {
        let parts = parts.iter().map(|part| self.of(part)).collect::<Result<Vec<_>, _>>()?;
        if parts.iter().all(|part| part.fits(&Type::Bool)) {
            Ok(Type::Bool)
        } else {
            Err(no_overload(at, name, &parts))
        }
    }

    fn call(&mut self, at: usize, target: Option<&Expr>, name: &str, arguments: &[Expr]) -> Checked {
        self.formats += usize::from(name == "format");
        let given = arguments.iter().map(|argument| self.of(argument)).collect::<Result<Vec<_>, _>>();
        self.formats -= usize::from(name == "format");
        let given = given?;
        literal(target, name, arguments)?;
        let unknown = |name: &str| (at, format!("undeclared reference to '{name}' (in container '')"));
        if let Some(Expr { node: Node::Name(library), .. }) = target
            && signatures::NAMESPACES.contains(&library.as_str())
            && !self.known.iter().any(|(known, _)| known == library)
        {
            let name = format!("{library}.{name}");
            if !signatures::known(&name) || (name == signatures::ESCAPE_KEY && !self.makes) {
                return Err(unknown(&name));
            }
            return signatures::result(&name, None, &given).ok_or_else(|| no_overload(at, &name, &given));
        }
        let target = target.map(|target| self.of(target)).transpose()?;
        if !signatures::known(name) {
            return Err(unknown(name));
        }
        signatures::result(name, target.as_ref(), &given).ok_or_else(|| match &target {
            None => no_overload(at, name, &given),
            Some(target) => (
                at,
                format!("found no matching overload for '{name}' applied to '{target}.({})'", list(&given)),
            ),
        })
    }

    fn each(&mut self, at: usize, each: &Each) -> Checked {
        let of = self.of(&each.of)?;
        let (key, item) = match &of {
            Type::List(item) => (Type::Int, Type::clone(item)),
            Type::Map(key, value) => (Type::clone(key), Type::clone(value)),
            Type::Optional(item) => (Type::Int, Type::clone(item)),
            Type::Dyn => (Type::Dyn, Type::Dyn),
            Type::Object(_) => (Type::String, Type::Dyn),
            other => {
                let what = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                return Err((each.of.at.min(at), what));
            }
        };
        let names = match &each.second {
            Some(second) => vec![(each.name.clone(), key.clone()), (second.clone(), item)],
            None if matches!(of, Type::Map(..) | Type::Object(_)) => vec![(each.name.clone(), key.clone())],
            None => vec![(each.name.clone(), item)],
        };
        if let Some(condition) = &each.condition {
            let found = self.within(names.clone(), condition)?;
            if !found.fits(&Type::Bool) {
                return Err(no_overload(at, "_?_:_", &[found]));
            }
        }
        let body = self.within(names, &each.body)?;
        match each.over {
            Over::All | Over::Exists | Over::ExistsOne | Over::Filter => {
                if !body.fits(&Type::Bool) {
                    return Err((each.body.at, format!("expected type 'bool' but found '{body}'")));
                }
                Ok(if each.over == Over::Filter { filtered(of) } else { Type::Bool })
            }
            Over::Map | Over::TransformList => Ok(Type::list(body)),
            Over::TransformMapEntry => match body {
                Type::Map(..) | Type::Dyn => Ok(body),
                other => Err(no_overload(
                    at,
                    "cel.@mapInsert",
                    &[Type::Map(Arc::new(Type::Dyn), Arc::new(Type::Dyn)), other],
                )),
            },
            Over::TransformMap => Ok(Type::Map(Arc::new(key), Arc::new(body))),
            Over::OptMap => Ok(optional_of(body)),
            Over::OptFlatMap => Ok(body),
        }
    }
}

/// Texts that are written down and that the function they are given to cannot read.
fn literal(target: Option<&Expr>, name: &str, arguments: &[Expr]) -> Result<(), Unread> {
    let text = match (name, target, arguments) {
        ("duration" | "timestamp", None, [text]) | ("matches", Some(_), [text]) => text,
        ("matches", None, [_, text]) => text,
        _ => return Ok(()),
    };
    let Node::Literal(Literal::String(written)) = &text.node else { return Ok(()) };
    let read = match name {
        "duration" => value::duration(written).is_some(),
        "timestamp" => written.parse::<jiff::Timestamp>().is_ok(),
        _ => regex::Regex::new(written).is_ok(),
    };
    if read { Ok(()) } else { Err((text.at, format!("invalid {name} argument"))) }
}

pub(crate) fn filtered(of: Type) -> Type {
    match of {
        Type::Map(key, _) => Type::List(key),
        list => list,
    }
}

pub(crate) fn optional_of(of: Type) -> Type {
    match of {
        Type::Optional(_) => of,
        other => Type::Optional(Arc::new(other)),
    }
}

pub(crate) fn of_literal(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

pub(crate) fn select(at: usize, of: &Type, field: &str) -> Checked {
    match of {
        Type::Dyn => Ok(Type::Dyn),
        Type::Object(object) => {
            object.fields.get(field).cloned().ok_or_else(|| (at, format!("undefined field '{field}'")))
        }
        Type::Map(_, value) => Ok(Type::clone(value)),
        Type::Made(of) => {
            types::made_field(of, field).ok_or_else(|| (at, format!("undefined field '{field}'")))
        }
        Type::Optional(inner) => select(at, inner, field),
        // Upstream declares it as a variable whose name has a dot.
        Type::Library(_) if field == signatures::REQUEST_RESOURCE => signatures::result(field, Some(of), &[])
            .ok_or_else(|| (at, format!("type '{of}' does not support field selection"))),
        other => Err((at, format!("type '{other}' does not support field selection"))),
    }
}

pub(crate) fn indexed(at: usize, of: &Type, index: &Type) -> Checked {
    match of {
        Type::Dyn => Ok(Type::Dyn),
        Type::List(item) if matches!(index, Type::Int | Type::Uint | Type::Double | Type::Dyn) => {
            Ok(Type::clone(item))
        }
        Type::Map(key, value) if index.fits(key) => Ok(Type::clone(value)),
        Type::Object(_) if index.fits(&Type::String) => Ok(Type::Dyn),
        Type::Optional(inner) => indexed(at, inner, index),
        other => Err(no_overload(at, "_[_]", &[other.clone(), index.clone()])),
    }
}

fn list(types: &[Type]) -> String {
    types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn no_overload(at: usize, name: &str, given: &[Type]) -> Unread {
    (at, format!("found no matching overload for '{name}' applied to '({})'", list(given)))
}

pub(crate) fn binary(at: usize, sign: &'static str, a: Type, b: Type) -> Checked {
    let number = |of: &Type| matches!(of, Type::Int | Type::Uint | Type::Double);
    let wrong = |a: Type, b: Type| {
        let name = if sign == "in" { "@in".to_owned() } else { format!("_{sign}_") };
        Err(no_overload(at, &name, &[a, b]))
    };
    match sign {
        "==" | "!=" if a.fits(&b) || (number(&a) && number(&b)) => Ok(Type::Bool),
        "<" | "<=" | ">" | ">=" => {
            let ordered = |of: &Type| {
                number(of)
                    || matches!(
                        of,
                        Type::Dyn
                            | Type::Bool
                            | Type::String
                            | Type::Bytes
                            | Type::Timestamp
                            | Type::Duration
                    )
            };
            let right = ordered(&a) && ordered(&b) && (a.fits(&b) || (number(&a) && number(&b)));
            if right { Ok(Type::Bool) } else { wrong(a, b) }
        }
        "in" => match &b {
            Type::Dyn | Type::Object(_) => Ok(Type::Bool),
            Type::List(of) | Type::Map(of, _) if a.fits(of) || (number(&a) && number(of)) => Ok(Type::Bool),
            _ => wrong(a, b),
        },
        "+" | "-" | "*" | "/" | "%" => match (&a, &b) {
            (Type::Dyn, _) | (_, Type::Dyn) => Ok(Type::Dyn),
            (Type::Int | Type::Uint, same) if *same == a => Ok(a),
            (Type::Double, Type::Double) if sign != "%" => Ok(a),
            (Type::String | Type::Bytes, same) if sign == "+" && *same == a => Ok(a),
            (Type::List(x), Type::List(y)) if sign == "+" => Ok(Type::list(x.joined(y))),
            (Type::Timestamp, Type::Duration) if matches!(sign, "+" | "-") => Ok(Type::Timestamp),
            (Type::Duration, Type::Timestamp) if sign == "+" => Ok(Type::Timestamp),
            (Type::Duration, Type::Duration) if matches!(sign, "+" | "-") => Ok(Type::Duration),
            (Type::Timestamp, Type::Timestamp) if sign == "-" => Ok(Type::Duration),
            _ => wrong(a, b),
        },
        _ => wrong(a, b),
    }
}
