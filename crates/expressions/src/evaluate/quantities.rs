//! Quantities of resources.

use std::sync::Arc;

use api::quantity::{Format, Quantity};

use super::{Evaluated, failed, no_overload};
use crate::value::Value;

/// A function that makes a quantity of a text.
pub(super) fn read<'a>(name: &str, text: &str) -> Evaluated<'a> {
    match (name, text.parse::<Quantity>()) {
        ("isQuantity", read) => Ok(Value::Bool(read.is_ok())),
        (_, Ok(quantity)) => Ok(Value::Quantity(Arc::new(quantity))),
        (_, Err(error)) => failed(error.to_string()),
    }
}

pub(super) fn call<'a>(name: &str, of: &Quantity, arguments: &[Value<'a>]) -> Evaluated<'a> {
    let whole = Quantity::from_units(of.value(), Format::default());
    let is_whole = whole == *of;
    match (name, arguments) {
        ("sign", []) => Ok(Value::Int(i64::from(of.signum()))),
        ("isInteger", []) => Ok(Value::Bool(is_whole)),
        ("asInteger", []) if is_whole => Ok(Value::Int(of.value())),
        ("asInteger", []) => failed("cannot convert value to integer"),
        ("asApproximateFloat", []) => Ok(Value::Double(of.approximate())),
        ("isLessThan", [Value::Quantity(other)]) => Ok(Value::Bool(*of < **other)),
        ("isGreaterThan", [Value::Quantity(other)]) => Ok(Value::Bool(*of > **other)),
        ("compareTo", [Value::Quantity(other)]) => Ok(Value::Int(of.cmp(other) as i64)),
        ("add" | "sub", [other]) => {
            let other = match other {
                Value::Quantity(other) => **other,
                Value::Int(units) => Quantity::from_units(*units, Format::default()),
                _ => return no_overload(),
            };
            let made = if name == "add" { of.plus(&other) } else { of.minus(&other) };
            Ok(Value::Quantity(Arc::new(made)))
        }
        _ => no_overload(),
    }
}
