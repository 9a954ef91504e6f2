//! The library `format`.

use std::sync::Arc;

use super::{Budget, Evaluated, no_overload};
use crate::formats::{found, known};
use crate::value::Value;

/// `format.named(…)` and `format.dns1123Label()` with their siblings.
pub(super) fn make<'a>(name: &str, arguments: &[Value<'a>]) -> Evaluated<'a> {
    match (name, arguments) {
        ("named", [Value::String(wanted)]) => {
            Ok(Value::Optional(known(wanted).map(|found| Arc::new(Value::Format(found)))))
        }
        (name, []) => known(name).map_or_else(no_overload, |found| Ok(Value::Format(found))),
        _ => no_overload(),
    }
}

/// What is wrong with a text; an optional without a value where nothing is.
pub(super) fn validate<'a>(format: &str, text: &str, budget: &mut Budget) -> Evaluated<'a> {
    let Some((check, pattern)) = found(format) else { return no_overload() };
    budget.charge((text.len() as u64 / 10 + 1).saturating_mul(pattern / 4 + 1))?;
    let faults: Vec<Value<'a>> = check(text).into_iter().map(Value::string).collect();
    Ok(Value::Optional((!faults.is_empty()).then(|| Arc::new(Value::List(Arc::new(faults))))))
}
