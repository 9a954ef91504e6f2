//! Numbers: bounds, multiples, and when two values are one.

use api::field::{ErrorList, FieldError, Path};
use serde_json::{Number, Value};

use crate::custom::structural::{Keywords, Structural, Type};

/// Everything wrong with a number.
pub(super) fn judge(
    schema: &Structural,
    keywords: &Keywords,
    number: &Number,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if let Some(text) = out_of_format(schema, keywords, number) {
        errors.push(FieldError::invalid(
            path,
            number.clone(),
            format!("Checked value must be of type {text} in {path}"),
        ));
    }
    let mut refuse = |text: String| errors.push(FieldError::invalid(path, number.clone(), text));
    if let Some(factor) = &keywords.multiple_of
        && !is_multiple(number, factor)
    {
        refuse(format!("{path} in body should be a multiple of {factor}"));
    }
    if let Some(max) = &keywords.maximum {
        match compare(number, max) {
            std::cmp::Ordering::Greater if !keywords.exclusive_maximum => {
                refuse(format!("{path} in body should be less than or equal to {max}"));
            }
            std::cmp::Ordering::Greater | std::cmp::Ordering::Equal if keywords.exclusive_maximum => {
                refuse(format!("{path} in body should be less than {max}"));
            }
            _ => {}
        }
    }
    if let Some(min) = &keywords.minimum {
        match compare(number, min) {
            std::cmp::Ordering::Less if !keywords.exclusive_minimum => {
                refuse(format!("{path} in body should be greater than or equal to {min}"));
            }
            std::cmp::Ordering::Less | std::cmp::Ordering::Equal if keywords.exclusive_minimum => {
                refuse(format!("{path} in body should be greater than {min}"));
            }
            _ => {}
        }
    }
}

/// The type and format that a number is too large for.
fn out_of_format(schema: &Structural, keywords: &Keywords, number: &Number) -> Option<String> {
    let whole = matches!(schema.of_type, Some(Type::Integer)) || schema.int_or_string;
    let fits = match &*keywords.format {
        "int32" if whole => number.as_i64().is_none_or(|n| i32::try_from(n).is_ok()),
        "int64" if whole => number.as_u64().is_none_or(|n| i64::try_from(n).is_ok()),
        "float" if schema.of_type == Some(Type::Number) => {
            number.as_f64().is_none_or(|n| n.abs() <= f64::from(f32::MAX))
        }
        _ => true,
    };
    let name = if whole { "integer" } else { "number" };
    (!fits).then(|| format!("{name} with format {}", keywords.format))
}

fn compare(a: &Number, b: &Number) -> std::cmp::Ordering {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        return a.cmp(&b);
    }
    let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
    a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal)
}

fn is_multiple(number: &Number, factor: &Number) -> bool {
    if let (Some(n), Some(f)) = (number.as_i64(), factor.as_i64()) {
        return f == 0 || n.checked_rem(f).unwrap_or(0) == 0;
    }
    let (Some(n), Some(f)) = (number.as_f64(), factor.as_f64()) else { return true };
    f == 0.0 || (n / f).fract() == 0.0
}

/// Whether two values are the same, whole numbers by their value.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare(a, b).is_eq(),
        (a, b) => a == b,
    }
}
