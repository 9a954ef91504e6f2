//! The walk through an expression. What a macro costs is what the loop costs that cel-go makes of it.

use std::sync::Arc;

use super::known::{Known, Place};
use super::size::{Size, TRAVERSAL};
use super::{Extent, Inside, calls};
use crate::check::{self, binary, indexed, select};
use crate::signatures;
use crate::syntax::{Each, Expr, Literal, Node, Over};
use crate::types::{Type, made_field};

const LIST: u64 = 10;
const MAP: u64 = 30;
const OBJECT: u64 = 40;

pub(super) fn worst(expr: &Expr, variables: &[(&str, &Type)], root: &Extent) -> u64 {
    let known = variables.iter().map(|(name, of)| Variable {
        name,
        of: Type::clone(of),
        place: Some(Some(root)),
        size: None,
        entries: None,
    });
    let mut walk = Walk { root, known: known.collect() };
    walk.of(expr).cost
}

/// A variable, declared or of a macro.
struct Variable<'e> {
    name: &'e str,
    of: Type,
    place: Place<'e>,
    size: Option<Size>,
    entries: Option<(Size, Size)>,
}

struct Walk<'e> {
    root: &'e Extent,
    known: Vec<Variable<'e>>,
}

impl<'e> Walk<'e> {
    fn of(&mut self, expr: &'e Expr) -> Known<'e> {
        crate::depth::deep(|| self.of_node(expr))
    }

    fn of_node(&mut self, expr: &'e Expr) -> Known<'e> {
        match &expr.node {
            Node::Literal(literal) => of_literal(literal),
            Node::Name(name) => self.name(name),
            Node::Select { of, field, optional } => self.select(of, field, *optional),
            Node::Has { of, .. } => made(self.of(of).cost, Type::Bool),
            Node::Index { of, index, optional } => self.index(of, index, *optional),
            Node::Call { target, name, arguments } => self.call(target.as_deref(), name, arguments),
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Make { of, fields } => {
                let cost =
                    fields.iter().fold(OBJECT, |sum, (_, _, value)| sum.saturating_add(self.of(value).cost));
                made(cost, Type::Made(of.as_str().into()))
            }
            Node::Maybe(of) => {
                let inner = self.of(of);
                match &inner.of {
                    Type::Optional(of) => Known { of: Type::clone(of), ..inner },
                    _ => inner,
                }
            }
            Node::Not(of) => made(self.of(of).cost.saturating_add(1), Type::Bool),
            Node::Negate(of) => {
                let inner = self.of(of);
                made(inner.cost.saturating_add(1), inner.of)
            }
            Node::And(a, b) | Node::Or(a, b) => {
                made(self.of(a).cost.saturating_add(self.of(b).cost), Type::Bool)
            }
            Node::Binary(sign, a, b) => {
                let (a, b) = (self.of(a), self.of(b));
                of_binary(sign, &a, &b)
            }
            Node::Choice(condition, yes, no) => {
                let (condition, yes, no) = (self.of(condition), self.of(yes), self.of(no));
                let entries = yes.entries.zip(no.entries);
                Known {
                    size: Some(yes.size().union(no.size())),
                    entries: entries.map(|((ak, av), (bk, bv))| (ak.union(bk), av.union(bv))),
                    ..made(condition.cost.saturating_add(yes.cost.max(no.cost)), yes.of.joined(&no.of))
                }
            }
            Node::Each(each) => self.each(each),
            Node::Bind { name, value, inside } => {
                let value = self.of(value);
                let cost = value.cost.saturating_add(LIST);
                let inner = self.within(vec![variable(name, &value)], inside);
                Known { cost: cost.saturating_add(inner.cost), place: None, ..inner }
            }
        }
    }

    fn name(&self, name: &str) -> Known<'e> {
        let Some(found) = self.known.iter().rev().find(|known| known.name == name) else {
            return at(1, Type::Type, Some(Some(self.root)));
        };
        let mut known = at(1, found.of.clone(), found.place);
        known.size = known.size.or(found.size);
        known.entries = found.entries;
        known
    }

    /// One step further into what is declared.
    fn step(&self, place: Place<'e>, below: impl Fn(&'e Inside) -> Option<&'e Extent>) -> Place<'e> {
        match place {
            None => Some(Some(self.root)),
            Some(extent) => Some(extent.and_then(|extent| below(&extent.inside))),
        }
    }

    fn select(&mut self, of: &'e Expr, field: &str, optional: bool) -> Known<'e> {
        let inner = self.of(of);
        let found = match &inner.of {
            Type::Made(name) => made_field(name, field).unwrap_or(Type::Dyn),
            other => select(0, other, field).unwrap_or(Type::Dyn),
        };
        let opens = matches!(inner.of, Type::Optional(_));
        if optional || opens {
            let cost = inner.cost.saturating_add(u64::from(optional));
            return made(cost, check::optional_of(found));
        }
        let counts = matches!(inner.of, Type::Map(..) | Type::Object(_) | Type::Made(_));
        let place = self.step(inner.place, |inside| match inside {
            Inside::Fields(fields) => fields.get(field),
            _ => None,
        });
        at(inner.cost.saturating_add(u64::from(counts)), found, place)
    }

    fn index(&mut self, of: &'e Expr, index: &'e Expr, optional: bool) -> Known<'e> {
        let (inner, index) = (self.of(of), self.of(index));
        let found = indexed(0, &inner.of, &index.of).unwrap_or(Type::Dyn);
        let cost = inner.cost.saturating_add(index.cost).saturating_add(1);
        if optional || matches!(inner.of, Type::Optional(_)) {
            return made(cost, check::optional_of(found));
        }
        let place = match &inner.of {
            Type::List(_) | Type::Map(..) => self.step(inner.place, values),
            _ => None,
        };
        let mut known = at(cost, found, place);
        known.size = inner.entries.map(|(_, value)| value).or(known.size);
        known
    }

    fn call(&mut self, target: Option<&'e Expr>, name: &str, arguments: &'e [Expr]) -> Known<'e> {
        let given: Vec<Known<'e>> = arguments.iter().map(|argument| self.of(argument)).collect();
        let types: Vec<Type> = given.iter().map(|given| given.of.clone()).collect();
        let library = target.and_then(|target| match &target.node {
            Node::Name(library)
                if signatures::NAMESPACES.contains(&library.as_str())
                    && !self.known.iter().any(|known| known.name == library) =>
            {
                Some(library)
            }
            _ => None,
        });
        let full = library.map_or_else(|| name.to_owned(), |library| format!("{library}.{name}"));
        let target = if library.is_some() { None } else { target.map(|target| self.of(target)) };
        let inside = given.iter().fold(target.as_ref().map_or(0, |target| target.cost), |sum, given| {
            sum.saturating_add(given.cost)
        });
        if let ("dyn", None, [of]) = (full.as_str(), &target, given.as_slice()) {
            return Known { cost: of.cost.saturating_add(1), of: Type::Dyn, place: None, ..of.clone() };
        }
        let found = signatures::result(&full, target.as_ref().map(|target| &target.of), &types);
        let item = |list: &Known<'e>| match self.step(list.place, values) {
            Some(Some(extent)) if list.place.is_some() => Size::up_to(extent.most),
            _ => Size::UNKNOWN,
        };
        let call = calls::call(&full, target.as_ref(), &given, &item);
        let mut known = made(inside.saturating_add(call.cost), found.unwrap_or(Type::Dyn));
        known.size = call.size.or(known.size);
        known
    }

    fn list(&mut self, items: &'e [Expr]) -> Known<'e> {
        let (mut cost, mut size, mut of) = (LIST, None::<Size>, None::<Type>);
        for item in items {
            let item = self.of(item);
            cost = cost.saturating_add(item.cost);
            size = Some(size.map_or(item.size(), |size| size.union(item.size())));
            of = Some(of.map_or(item.of.clone(), |of| of.joined(&item.of)));
        }
        Known {
            size: Some(Size::exactly(items.len() as u64)),
            entries: Some((Size::ONE, size.unwrap_or(Size::exactly(0)))),
            ..made(cost, Type::list(of.unwrap_or(Type::Dyn)))
        }
    }

    fn map(&mut self, entries: &'e [(Expr, Expr)]) -> Known<'e> {
        let (mut cost, mut sizes, mut of) = (MAP, None::<(Size, Size)>, None::<(Type, Type)>);
        for (key, value) in entries {
            let (key, value) = (self.of(key), self.of(value));
            cost = cost.saturating_add(key.cost).saturating_add(value.cost);
            let (k, v) = sizes.unwrap_or((key.size(), value.size()));
            sizes = Some((k.union(key.size()), v.union(value.size())));
            of = Some(match of {
                None => (key.of, value.of),
                Some((k, v)) => (k.joined(&key.of), v.joined(&value.of)),
            });
        }
        let (key, value) = of.unwrap_or((Type::Dyn, Type::Dyn));
        Known {
            size: Some(Size::exactly(entries.len() as u64)),
            entries: Some(sizes.unwrap_or((Size::exactly(0), Size::exactly(0)))),
            ..made(cost, Type::Map(Arc::new(key), Arc::new(value)))
        }
    }

    fn within(&mut self, more: Vec<Variable<'e>>, inside: &'e Expr) -> Known<'e> {
        let before = self.known.len();
        self.known.extend(more);
        let found = self.of(inside);
        self.known.truncate(before);
        found
    }

    /// The variables of a macro, made anew for each part that sees them.
    fn names(&self, each: &'e Each, over: &Known<'e>) -> Vec<Variable<'e>> {
        let (key, value) = match &over.of {
            Type::List(item) => (Type::Int, Type::clone(item)),
            Type::Map(key, value) => (Type::clone(key), Type::clone(value)),
            Type::Object(_) => (Type::String, Type::Dyn),
            _ => (Type::Dyn, Type::Dyn),
        };
        // Keys are texts of no declared length, of which upstream counts nothing.
        let counted = match over.place {
            Some(Some(Extent { inside: Inside::Values(_), .. })) => Some(Size::exactly(0)),
            _ => None,
        };
        let keys = Variable {
            name: &each.name,
            of: key,
            place: Some(over.place.is_none().then_some(self.root)),
            size: over.entries.map(|(key, _)| key).or(counted),
            entries: None,
        };
        let values = |name| Variable {
            name,
            of: value.clone(),
            place: self.step(over.place, values),
            size: over.entries.map(|(_, value)| value),
            entries: None,
        };
        match &each.second {
            Some(second) => vec![keys, values(second)],
            None if matches!(over.of, Type::Map(..) | Type::Object(_)) => vec![keys],
            None => vec![values(&each.name)],
        }
    }

    fn each(&mut self, each: &'e Each) -> Known<'e> {
        let over = self.of(&each.of);
        if let Over::OptMap | Over::OptFlatMap = each.over {
            return self.opened(each, &over);
        }
        let condition = match &each.condition {
            Some(condition) => self.within(self.names(each, &over), condition).cost,
            None => 0,
        };
        let body = self.within(self.names(each, &over), &each.body);
        let count = over.size();
        // What the loop costs before and behind it, and what each round does besides.
        let (around, round) = match each.over {
            Over::All => (1, 3),
            Over::Exists => (1, 4),
            Over::ExistsOne => (2, 2),
            Over::Filter => (LIST + 1, 13),
            Over::Map | Over::TransformList => (LIST + 1, 12),
            Over::TransformMap => (MAP + 1, 3),
            _ => (MAP + 1, 2),
        };
        let step = body.cost.saturating_add(condition).saturating_add(round);
        let cost = over.cost.saturating_add(around).saturating_add(count.most.saturating_mul(step));
        let empty = Size::exactly(0);
        let entries = match each.over {
            Over::Filter => {
                let kept = self.names(each, &over).pop();
                kept.map(|kept| {
                    (Size::ONE, at(0, kept.of, kept.place).size.or(kept.size).unwrap_or(Size::UNKNOWN))
                })
            }
            Over::Map | Over::TransformList => Some((Size::ONE, body.size())),
            _ => None,
        };
        let of = match each.over {
            Over::All | Over::Exists | Over::ExistsOne => return made(cost, Type::Bool),
            Over::Filter => check::filtered(over.of),
            Over::Map | Over::TransformList => Type::list(body.of),
            Over::TransformMap => Type::Map(Arc::new(Type::Dyn), Arc::new(body.of)),
            _ => body.of,
        };
        let entries = entries.map(|(key, value)| (key.union(empty), value.union(empty)));
        Known { size: Some(count), entries, ..made(cost, of) }
    }

    /// What `optMap` and `optFlatMap` make: the optional is looked at, opened and bound to the name.
    fn opened(&mut self, each: &'e Each, over: &Known<'e>) -> Known<'e> {
        let inner = match &over.of {
            Type::Optional(of) => Type::clone(of),
            _ => Type::Dyn,
        };
        let value = made(over.cost.saturating_add(1), inner);
        let body = self.within(vec![variable(&each.name, &value)], &each.body);
        let flat = each.over == Over::OptFlatMap;
        let parts = [over.cost, 1, u64::from(!flat), LIST, value.cost, body.cost];
        let cost = parts.into_iter().fold(0, u64::saturating_add);
        made(cost, if flat { body.of } else { check::optional_of(body.of) })
    }
}

fn variable<'e>(name: &'e str, value: &Known<'e>) -> Variable<'e> {
    Variable { name, of: value.of.clone(), place: value.place, size: value.size, entries: value.entries }
}

fn values(inside: &Inside) -> Option<&Extent> {
    match inside {
        Inside::Items(of) | Inside::Values(of) => Some(of),
        _ => None,
    }
}

/// What is made by the expression.
fn made<'e>(cost: u64, of: Type) -> Known<'e> {
    at(cost, of, None)
}

/// What lies at a place: its size is the declared one, else that of its type.
fn at<'e>(cost: u64, of: Type, place: Place<'e>) -> Known<'e> {
    let size = match place {
        Some(Some(extent)) => Some(Size::up_to(extent.most)),
        _ => is_scalar(&of).then_some(Size::ONE),
    };
    Known { cost, of, size, place, entries: None, number: None }
}

fn is_scalar(of: &Type) -> bool {
    match of {
        Type::Bool | Type::Int | Type::Uint | Type::Double | Type::Timestamp | Type::Duration => true,
        Type::Optional(of) => is_scalar(of),
        _ => false,
    }
}

fn of_literal<'e>(literal: &Literal) -> Known<'e> {
    let mut known = made(0, check::of_literal(literal));
    known.size = Some(match literal {
        Literal::String(text) => Size::exactly(text.chars().count() as u64),
        Literal::Bytes(bytes) => Size::exactly(bytes.len() as u64),
        _ => Size::ONE,
    });
    known.number = match literal {
        Literal::Int(number) => u64::try_from(*number).ok(),
        Literal::Uint(number) => Some(*number),
        _ => None,
    };
    known
}

fn of_binary<'e>(sign: &'static str, a: &Known<'e>, b: &Known<'e>) -> Known<'e> {
    let inside = a.cost.saturating_add(b.cost);
    let of = binary(0, sign, a.of.clone(), b.of.clone()).unwrap_or(Type::Dyn);
    let either = |wanted: fn(&Type) -> bool| {
        let fits = |of: &Type| matches!(of, Type::Dyn) || wanted(of);
        fits(&a.of) && fits(&b.of)
    };
    let texts = either(|of| matches!(of, Type::String | Type::Bytes));
    let any = matches!((&a.of, &b.of), (Type::Dyn, _) | (_, Type::Dyn));
    let smaller = Size::up_to(a.size().most.min(b.size().most)).by(TRAVERSAL);
    let together = a.size().plus(b.size());
    let mut known = made(inside.saturating_add(1), of);
    match sign {
        "==" | "!=" => known.cost = inside.saturating_add(smaller),
        "<" | "<=" | ">" | ">=" if texts => {
            known.cost = inside.saturating_add(if any { smaller.max(1) } else { smaller });
        }
        "in" if matches!(b.of, Type::List(_) | Type::Dyn) => {
            known.cost = inside.saturating_add(b.size().by(1.0));
        }
        "+" if texts => {
            let read = together.by(TRAVERSAL);
            known.cost = inside.saturating_add(if any { read.max(1) } else { read });
            known.size = Some(together);
        }
        "+" if either(|of| matches!(of, Type::List(_))) => {
            known.size = Some(together);
            known.entries = a.entries.zip(b.entries).map(|((ak, av), (bk, bv))| (ak.union(bk), av.union(bv)));
        }
        _ => {}
    }
    known
}
