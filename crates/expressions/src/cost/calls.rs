//! What functions cost, and how large their results are.
//!
//! `format` and `flatten` cost more than upstream counts, which takes neither the values that are formatted nor the items
//! of the inner lists into account. Of values that lie in an object no more is counted than a request can hold.

use super::known::Known;
use super::size::{PATTERN, Size, TRAVERSAL, scaled};
use crate::syntax::SORT_BY;
use crate::types::Type;

/// What asking whether something is authorized costs.
const CHECK: u64 = 350_000;
/// The longest pattern of a named format that is counted.
const FORMAT_PATTERN: u64 = 128;
/// The most bytes and the most items in a request.
const REQUEST_BYTES: u64 = 3 * 1024 * 1024;
const REQUEST_ITEMS: u64 = REQUEST_BYTES / 2;
/// What a function that makes a list costs besides.
const LIST_CALL: u64 = 11;

/// A call without its parts.
pub(super) struct Call {
    pub cost: u64,
    /// `None` where nothing but the result's type is known.
    pub size: Option<Size>,
}

fn costs(cost: u64) -> Call {
    Call { cost, size: None }
}

fn sized(cost: u64, size: Size) -> Call {
    Call { cost, size: Some(size) }
}

/// A call of a function. `item` is the declared size of a list's items.
pub(super) fn call<'e>(
    name: &str,
    target: Option<&Known<'e>>,
    arguments: &[Known<'e>],
    item: &dyn Fn(&Known<'e>) -> Size,
) -> Call {
    match (target, arguments) {
        (Some(target), _) => on(name, target, arguments, item),
        (None, [of]) => of_one(name, of),
        (None, [a, b]) => match name {
            "sets.contains" | "sets.intersects" => costs(a.size().times(b.size()).by(1.0).saturating_add(1)),
            "sets.equivalent" => costs(a.size().times(b.size()).by(2.0).saturating_add(1)),
            _ => costs(1),
        },
        _ => costs(1),
    }
}

fn of_one(name: &str, of: &Known<'_>) -> Call {
    let size = of.size();
    match (name, &of.of) {
        ("url" | "format.named", _) => costs(size.by(TRAVERSAL)),
        ("bytes", Type::String) => {
            sized(size.by(TRAVERSAL), Size { least: size.least, most: size.most.saturating_mul(4) })
        }
        ("string", Type::Bytes) => sized(size.by(TRAVERSAL), Size { least: size.least / 4, most: size.most }),
        ("strings.quote", _) => sized(
            size.by(TRAVERSAL),
            Size { least: size.least.saturating_add(2), most: size.most.saturating_mul(2).saturating_add(2) },
        ),
        ("lists.range", _) => {
            let count = of.number.unwrap_or(u64::MAX);
            sized(count.saturating_add(LIST_CALL), Size::exactly(count))
        }
        _ => costs(1),
    }
}

fn on<'e>(
    name: &str,
    target: &Known<'e>,
    arguments: &[Known<'e>],
    item: &dyn Fn(&Known<'e>) -> Size,
) -> Call {
    let size = target.size();
    match (name, arguments) {
        ("check", _) => costs(CHECK),
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", _) => match &target.of {
            Type::List(of) => {
                let read = match **of {
                    Type::String | Type::Bytes => item(target).by(TRAVERSAL),
                    _ => 0,
                };
                costs(size.most.saturating_mul(read.saturating_add(1)))
            }
            _ => costs(size.by(TRAVERSAL)),
        },
        ("lowerAscii" | "upperAscii" | "substring" | "trim", _) => sized(size.by(TRAVERSAL), size),
        ("replace", [old, new, ..]) => {
            sized(size.by(2.0 * TRAVERSAL), replaced(size, old.size(), new.size()))
        }
        ("split", _) => {
            let most = arguments.get(1).and_then(|limit| limit.number).unwrap_or(size.most);
            sized(size.by(2.0 * TRAVERSAL), Size::up_to(most))
        }
        ("join", _) => {
            let joined = joined(size, item(target), arguments.first().map(Known::size));
            sized(joined.by(TRAVERSAL), joined)
        }
        ("find" | "findAll", [pattern, ..]) => sized(matched(size, pattern.size()), Size::up_to(size.most)),
        ("matches", [pattern]) => costs(matched(size, pattern.size())),
        ("contains", [part]) => costs(size.by(TRAVERSAL).saturating_mul(part.size().by(TRAVERSAL))),
        ("startsWith" | "endsWith", [part]) => costs(part.size().by(TRAVERSAL)),
        ("format", [values]) => {
            costs(size.by(TRAVERSAL).saturating_add(scaled(formatted(values, item), TRAVERSAL)))
        }
        ("validate", [text]) => {
            costs(scaled(text.size().by(TRAVERSAL), PATTERN).saturating_mul(FORMAT_PATTERN))
        }
        ("containsIP" | "containsCIDR", [of]) => {
            let ranges = if name == "containsCIDR" { 3 } else { 0 };
            let read = if of.of == Type::String { of.size().by(TRAVERSAL) } else { 0 };
            costs(4_u64.saturating_add(ranges).saturating_add(read))
        }
        ("slice", [from, to]) => {
            let end = to.number.unwrap_or(size.most);
            let count = end.saturating_sub(from.number.unwrap_or(0));
            sized(count.saturating_add(LIST_CALL), Size::exactly(count))
        }
        ("reverse", []) => sized(size.most.saturating_add(LIST_CALL), size),
        ("flatten", depth) => {
            let depth = depth.first().map_or(1, |depth| depth.number.unwrap_or(u64::MAX));
            let more = if depth == 0 { 0 } else { inner_items(target, depth, item) };
            let cost = size.most.saturating_mul(depth).saturating_add(more).saturating_add(LIST_CALL);
            sized(cost, Size { least: 0, most: size.most.max(more) })
        }
        ("distinct", []) => compared(size, 2.0),
        ("sort", []) => compared(size, order_factor(&target.of)),
        (SORT_BY, [keys]) => compared(keys.size(), order_factor(&keys.of)),
        _ => costs(1),
    }
}

/// The most that each value of a list can be; the largest number where that is not known.
fn inner_of<'e>(list: &Known<'e>, item: &dyn Fn(&Known<'e>) -> Size) -> u64 {
    list.entries.map_or_else(|| item(list), |(_, value)| value).most
}

/// The most bytes of the values that a text is filled with.
fn formatted<'e>(values: &Known<'e>, item: &dyn Fn(&Known<'e>) -> Size) -> u64 {
    let count = values.size().most;
    let each = match inner_of(values, item) {
        u64::MAX => REQUEST_BYTES,
        known => known,
    };
    held(values, count.saturating_mul(each), REQUEST_BYTES)
}

/// The most items of the lists inside a list, down to a depth.
fn inner_items<'e>(list: &Known<'e>, depth: u64, item: &dyn Fn(&Known<'e>) -> Size) -> u64 {
    let Type::List(of) = &list.of else { return 0 };
    let deeper = match &**of {
        Type::List(of) => matches!(**of, Type::List(_) | Type::Dyn),
        Type::Dyn => true,
        _ => return 0,
    };
    let each = match inner_of(list, item) {
        u64::MAX => REQUEST_ITEMS,
        known if deeper && depth > 1 => known.max(REQUEST_ITEMS),
        known => known,
    };
    held(list, list.size().most.saturating_mul(each), REQUEST_ITEMS)
}

/// What lies in an object is no more than what fits into a request.
fn held(of: &Known<'_>, amount: u64, fits: u64) -> u64 {
    if matches!(of.place, Some(Some(_))) { amount.min(fits) } else { amount }
}

/// A list whose items are compared with each other.
fn compared(size: Size, factor: f64) -> Call {
    let pairs = size.times(size);
    sized(pairs.by(factor).saturating_add(LIST_CALL), pairs)
}

fn order_factor(list: &Type) -> f64 {
    match list {
        Type::List(of) if matches!(**of, Type::String | Type::Bytes) => 2.0 + TRAVERSAL,
        _ => 2.0,
    }
}

/// A text that a pattern is looked for in. One more than the text, since an empty one costs too.
fn matched(text: Size, pattern: Size) -> u64 {
    text.plus(Size::ONE).by(TRAVERSAL).saturating_mul(pattern.by(PATTERN))
}

/// The size of a text after its parts are replaced.
fn replaced(text: Size, old: Size, new: Size) -> Size {
    let longest = if old.least == 0 {
        text.most.saturating_add(1).saturating_mul(new.most).saturating_add(text.most)
    } else if new.most <= old.least {
        text.most
    } else {
        text.most.div_ceil(old.least).saturating_mul(new.most)
    };
    let shortest = if old.most == 0 {
        text.least.saturating_add(1).saturating_mul(new.least).saturating_add(text.least)
    } else if old.most <= new.least {
        text.least
    } else {
        text.least.div_ceil(old.most).saturating_mul(new.least)
    };
    Size { least: shortest, most: longest }
}

/// The size of a list's items with something between them.
fn joined(list: Size, item: Size, between: Option<Size>) -> Size {
    let items = list.times(item);
    let Some(between) = between else { return items };
    let gaps = Size { least: list.least.saturating_sub(1), most: list.most.saturating_sub(1) };
    items.plus(between.times(gaps))
}
