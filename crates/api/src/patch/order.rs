//! The order of a merged list, as `$setElementOrder` asks for it.

use std::collections::HashMap;

use serde_json::Value;

use crate::Error;

/// The part of an item that tells it apart: its merge key, or the item itself.
fn identity<'v>(item: &'v Value, merge_key: Option<&str>) -> Option<&'v Value> {
    match merge_key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

fn position(list: &[Value], item: &Value, merge_key: Option<&str>) -> Option<usize> {
    let wanted = identity(item, merge_key)?;
    list.iter().position(|other| identity(other, merge_key) == Some(wanted))
}

/// Refuses a patch list whose items are not in the asked order, or not in it at all.
pub(super) fn check(patch: &[Value], order: &[Value], merge_key: Option<&str>) -> Result<(), Error> {
    let kept = patch.iter().filter(|item| item.get("$patch").is_none());
    let mut next = 0;
    for item in kept {
        match position(&order[next..], item, merge_key) {
            Some(at) => next += at + 1,
            None => {
                return Err(Error::bad_request(format!(
                    "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                    Value::from(patch),
                    Value::from(order)
                )));
            }
        }
    }
    Ok(())
}

/// Where each item stands, by its identity.
fn places(list: &[Value], merge_key: Option<&str>) -> HashMap<String, usize> {
    let mut out = HashMap::with_capacity(list.len());
    for (at, item) in list.iter().enumerate() {
        if let Some(identity) = identity(item, merge_key) {
            out.entry(identity.to_string()).or_insert(at);
        }
    }
    out
}

/// Puts `merged` in order: items named in `order` as they stand there, the others where they stood in
/// `live`, as far as both can be had.
pub(super) fn arrange(
    merged: Vec<Value>,
    order: &[Value],
    live: &[Value],
    merge_key: Option<&str>,
) -> Vec<Value> {
    let (in_order, in_live) = (places(order, merge_key), places(live, merge_key));
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for item in merged {
        let identity = identity(&item, merge_key).map(Value::to_string).unwrap_or_default();
        let live_at = in_live.get(&identity).copied();
        match in_order.get(&identity) {
            Some(at) => named.push((*at, live_at, item)),
            None => others.push((live_at, item)),
        }
    }
    named.sort_by_key(|(at, ..)| *at);
    others.sort_by_key(|(live_at, _)| live_at.unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (_, named_at, item) in named {
        while let Some((Some(other_at), _)) = others.peek()
            && named_at.is_some_and(|named_at| *other_at < named_at)
        {
            out.extend(others.next().map(|(_, item)| item));
        }
        out.push(item);
    }
    out.extend(others.map(|(_, item)| item));
    out
}
