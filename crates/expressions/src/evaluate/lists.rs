//! Functions of lists, and of lists as sets.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Budget, Evaluated, Fault, failed, index_value, no_overload, strings};
use crate::syntax::SORT_BY;
use crate::value::Value;

pub(super) fn call<'a>(
    name: &str,
    list: &Value<'a>,
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Evaluated<'a> {
    let Some(mut items) = list.items() else { return no_overload() };
    let made = |items: Vec<Value<'a>>| Ok(Value::List(Arc::new(items)));
    match (name, arguments) {
        ("join", by) => {
            let by = match by {
                [] => "",
                [Value::String(by)] => by,
                _ => return no_overload(),
            };
            joined(&items, by, budget)
        }
        ("isSorted", []) => {
            budget.charge(list.weight(budget.left()))?;
            for pair in items.windows(2) {
                match pair[0].order(&pair[1]) {
                    Some(Ordering::Greater) => return Ok(Value::Bool(false)),
                    Some(_) => {}
                    None => return no_overload(),
                }
            }
            Ok(Value::Bool(true))
        }
        ("sum", []) => sum(&items),
        ("min", []) => best(items, Ordering::Less, "min called on empty list", budget),
        ("max", []) => best(items, Ordering::Greater, "max called on empty list", budget),
        ("indexOf", [wanted]) => {
            budget.charge(list.weight(budget.left()))?;
            Ok(items.iter().position(|item| item.equals(wanted)).map_or(Value::Int(-1), index_value))
        }
        ("lastIndexOf", [wanted]) => {
            budget.charge(list.weight(budget.left()))?;
            Ok(items.iter().rposition(|item| item.equals(wanted)).map_or(Value::Int(-1), index_value))
        }
        ("slice", [Value::Int(from), Value::Int(to)]) => slice(&items, *from, *to),
        ("distinct", []) => made(distinct(items, list, budget)?),
        ("sort", []) => {
            let keys = items.clone();
            sorted(items, keys, list, budget)
        }
        (SORT_BY, [keys]) => {
            let Some(of) = keys.items() else { return no_overload() };
            sorted(items, of, keys, budget)
        }
        ("flatten", []) => flattened(items, 1, budget),
        ("flatten", [Value::Int(depth)]) => flattened(items, *depth, budget),
        ("first", []) => Ok(Value::Optional(items.into_iter().next().map(Arc::new))),
        ("last", []) => Ok(Value::Optional(items.pop().map(Arc::new))),
        ("unwrapOpt", []) => unwrapped(list),
        ("reverse", []) => {
            items.reverse();
            made(items)
        }
        _ => no_overload(),
    }
}

fn slice<'a>(items: &[Value<'a>], from: i64, to: i64) -> Evaluated<'a> {
    let call = format!("cannot slice({from}, {to})");
    match (usize::try_from(from), usize::try_from(to)) {
        (Ok(from), Ok(to)) if from > to => {
            failed(format!("{call}, start index must be less than or equal to end index"))
        }
        (Ok(from), Ok(to)) => match items.get(from..to) {
            Some(part) => Ok(Value::List(Arc::new(part.to_vec()))),
            None => failed(format!("{call}, list is length {}", items.len())),
        },
        _ => failed(format!("{call}, negative indexes not supported")),
    }
}

/// The items without those that were there before.
fn distinct<'a>(
    items: Vec<Value<'a>>,
    list: &Value<'a>,
    budget: &mut Budget,
) -> Result<Vec<Value<'a>>, Fault> {
    budget.charge((items.len() as u64).saturating_mul(list.weight(budget.left())))?;
    let mut kept: Vec<Value<'a>> = Vec::new();
    for item in items {
        if !kept.iter().any(|known| known.equals(&item)) {
            kept.push(item);
        }
    }
    Ok(kept)
}

/// Items in the order of their keys, which are what `by` holds.
fn sorted<'a>(
    items: Vec<Value<'a>>,
    keys: Vec<Value<'a>>,
    by: &Value<'a>,
    budget: &mut Budget,
) -> Evaluated<'a> {
    budget.charge(by.weight(budget.left()).saturating_mul(u64::from(items.len().max(2).ilog2())))?;
    let Some(of) = keys.first().map(Value::type_name) else { return Ok(Value::List(Arc::new(items))) };
    if keys[0].order(&keys[0]).is_none() {
        return failed("list elements must be comparable");
    }
    if keys.iter().any(|key| key.type_name() != of) {
        return failed("list elements must have the same type");
    }
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.into_iter().zip(items).collect();
    pairs.sort_by(|(a, _), (b, _)| match (a, b) {
        (Value::Double(a), Value::Double(b)) => a.total_cmp(b),
        _ => a.order(b).unwrap_or(Ordering::Equal),
    });
    Ok(Value::List(Arc::new(pairs.into_iter().map(|(_, item)| item).collect())))
}

/// The texts of the items, with one between them.
fn joined<'a>(items: &[Value<'a>], by: &str, budget: &mut Budget) -> Evaluated<'a> {
    let mut out = String::new();
    for (i, item) in items.iter().enumerate() {
        let by = if i == 0 { "" } else { by };
        budget.make(by.len() + strings::text_bytes(item))?;
        let Some(text) = strings::text_of(item) else { return no_overload() };
        out.push_str(by);
        out.push_str(&text);
    }
    Ok(Value::string(out))
}

/// Lists inside the list replaced by their items, down to a depth.
fn flattened<'a>(items: Vec<Value<'a>>, depth: i64, budget: &mut Budget) -> Evaluated<'a> {
    if depth < 0 {
        return failed("level must be non-negative");
    }
    let mut out = Vec::new();
    let mut open = vec![(items.into_iter(), depth)];
    while let Some((list, depth)) = open.last_mut() {
        let depth = *depth;
        let Some(item) = list.next() else {
            open.pop();
            continue;
        };
        budget.charge(1)?;
        if depth == 0 || !item.is_list() {
            out.push(item);
            continue;
        }
        budget.charge(item.size().unwrap_or(0) as u64)?;
        open.push((item.items().unwrap_or_default().into_iter(), depth - 1));
    }
    Ok(Value::List(Arc::new(out)))
}

/// The values of those optionals of a list that have one.
pub(super) fn unwrapped<'a>(list: &Value<'a>) -> Evaluated<'a> {
    let Some(items) = list.each_item() else { return no_overload() };
    let mut out = Vec::new();
    for item in items {
        let Value::Optional(inner) = item else { return no_overload() };
        out.extend(inner.as_deref().cloned());
    }
    Ok(Value::List(Arc::new(out)))
}

/// The numbers from 0 up to a size.
pub(super) fn range<'a>(size: i64, budget: &mut Budget) -> Evaluated<'a> {
    let Ok(count) = u64::try_from(size) else {
        return failed(format!("lists.range: size must be non-negative, got {size}"));
    };
    budget.charge(count)?;
    Ok(Value::List(Arc::new((0..size).map(Value::Int).collect())))
}

fn sum<'a>(items: &[Value<'a>]) -> Evaluated<'a> {
    let mut total = match items.first() {
        None | Some(Value::Int(_)) => Value::Int(0),
        Some(Value::Uint(_)) => Value::Uint(0),
        Some(Value::Double(_)) => Value::Double(0.0),
        Some(Value::Duration(_)) => Value::Duration(jiff::SignedDuration::ZERO),
        Some(_) => return no_overload(),
    };
    let overflow = || Fault::Failed("integer overflow".to_owned());
    for item in items {
        total = match (&total, item) {
            (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_add(*b).ok_or_else(overflow)?),
            (Value::Uint(a), Value::Uint(b)) => Value::Uint(a.checked_add(*b).ok_or_else(overflow)?),
            (Value::Double(a), Value::Double(b)) => Value::Double(a + b),
            (Value::Duration(a), Value::Duration(b)) => {
                Value::Duration(a.checked_add(*b).ok_or_else(overflow)?)
            }
            _ => return no_overload(),
        };
    }
    Ok(total)
}

fn best<'a>(items: Vec<Value<'a>>, wanted: Ordering, empty: &str, budget: &mut Budget) -> Evaluated<'a> {
    let mut items = items.into_iter();
    let Some(mut best) = items.next() else { return failed(empty) };
    for item in items {
        budget.charge(item.weight(budget.left()))?;
        match item.order(&best) {
            Some(order) if order == wanted => best = item,
            Some(_) => {}
            None => return no_overload(),
        }
    }
    Ok(best)
}

/// `sets.contains`, `sets.intersects`, `sets.equivalent`
pub(super) fn sets<'a>(name: &str, arguments: &[Value<'a>], budget: &mut Budget) -> Evaluated<'a> {
    let [a, b] = arguments else { return no_overload() };
    let limit = budget.left();
    budget.charge(a.weight(limit).saturating_mul(b.weight(limit)))?;
    let (Some(a), Some(b)) = (a.items(), b.items()) else { return no_overload() };
    let within = |all: &[Value<'a>], item: &Value<'a>| all.iter().any(|known| known.equals(item));
    Ok(Value::Bool(match name {
        "sets.contains" => b.iter().all(|item| within(&a, item)),
        "sets.intersects" => b.iter().any(|item| within(&a, item)),
        "sets.equivalent" => b.iter().all(|item| within(&a, item)) && a.iter().all(|item| within(&b, item)),
        _ => return no_overload(),
    }))
}
