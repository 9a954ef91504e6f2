//! Functions of lists, and of lists as sets.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Budget, Evaluated, Fault, failed, index_value, no_overload, strings};
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
            let texts: Option<Vec<String>> = items.iter().map(strings::text_of).collect();
            let Some(texts) = texts else { return no_overload() };
            let length: usize = texts.iter().map(|text| text.len() + by.len()).sum();
            budget.charge(length as u64 / 10 + 1)?;
            Ok(Value::string(texts.join(by)))
        }
        ("isSorted", []) => {
            budget.charge(list.weight())?;
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
            budget.charge(list.weight())?;
            Ok(items.iter().position(|item| item.equals(wanted)).map_or(Value::Int(-1), index_value))
        }
        ("lastIndexOf", [wanted]) => {
            budget.charge(list.weight())?;
            Ok(items.iter().rposition(|item| item.equals(wanted)).map_or(Value::Int(-1), index_value))
        }
        ("slice", [Value::Int(from), Value::Int(to)]) => match (usize::try_from(*from), usize::try_from(*to))
        {
            (Ok(from), Ok(to)) if from <= to && to <= items.len() => made(items[from..to].to_vec()),
            _ => failed(format!("cannot slice({from}, {to}), list is length {}", items.len())),
        },
        ("distinct", []) => made(distinct(items, list, budget)?),
        ("sort", []) => sorted(items, list, budget),
        ("reverse", []) => {
            items.reverse();
            made(items)
        }
        _ => no_overload(),
    }
}

/// The items without those that were there before.
fn distinct<'a>(
    items: Vec<Value<'a>>,
    list: &Value<'a>,
    budget: &mut Budget,
) -> Result<Vec<Value<'a>>, Fault> {
    budget.charge((items.len() as u64).saturating_mul(list.weight()))?;
    let mut kept: Vec<Value<'a>> = Vec::new();
    for item in items {
        if !kept.iter().any(|known| known.equals(&item)) {
            kept.push(item);
        }
    }
    Ok(kept)
}

fn sorted<'a>(mut items: Vec<Value<'a>>, list: &Value<'a>, budget: &mut Budget) -> Evaluated<'a> {
    budget.charge(list.weight().saturating_mul(u64::from(items.len().max(2).ilog2())))?;
    let mut comparable = true;
    items.sort_by(|a, b| {
        a.order(b).unwrap_or_else(|| {
            comparable = false;
            Ordering::Equal
        })
    });
    if comparable { Ok(Value::List(Arc::new(items))) } else { no_overload() }
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
        budget.charge(item.weight())?;
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
    budget.charge(a.weight().saturating_mul(b.weight()))?;
    let (Some(a), Some(b)) = (a.items(), b.items()) else { return no_overload() };
    let within = |all: &[Value<'a>], item: &Value<'a>| all.iter().any(|known| known.equals(item));
    Ok(Value::Bool(match name {
        "sets.contains" => b.iter().all(|item| within(&a, item)),
        "sets.intersects" => b.iter().any(|item| within(&a, item)),
        "sets.equivalent" => b.iter().all(|item| within(&a, item)) && a.iter().all(|item| within(&b, item)),
        _ => return no_overload(),
    }))
}
