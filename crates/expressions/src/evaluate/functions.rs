//! The functions of `signatures`: conversions, sizes, times, optionals; others are in the files beside this one.

use std::sync::Arc;

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::{
    Budget, Evaluated, Fault, failed, formats, index_value, lists, network, no_overload, quantities, strings,
    versions,
};
use crate::foreign::{Foreign, Given};
use crate::value::{self, Value};

/// What asking whether something is authorized costs, in steps (upstream: `k8s.io/apiserver/pkg/cel/library/cost.go`).
const CHECK_COST: u64 = 350_000;

/// Calls a function.
pub(super) fn call<'a>(
    name: &str,
    target: Option<&Value<'a>>,
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Evaluated<'a> {
    match (name, target, arguments) {
        ("size", Some(of), []) | ("size", None, [of]) => {
            of.size().map_or_else(no_overload, |size| Ok(index_value(size)))
        }
        ("dyn", None, [of]) => Ok(of.clone()),
        ("type", None, [of]) => Ok(Value::Type(of.type_name().into())),
        ("int" | "uint" | "double" | "string" | "bytes" | "bool" | "duration" | "timestamp", None, [of]) => {
            converted(name, of)
        }
        ("matches", None, [text, pattern]) => {
            strings::call(name, text, std::slice::from_ref(pattern), budget)
        }
        (_, Some(text @ Value::String(_)), _) => strings::call(name, text, arguments, budget),
        (_, Some(list @ (Value::List(_) | Value::Array(..))), _) => {
            lists::call(name, list, arguments, budget)
        }
        (_, Some(Value::Timestamp(time)), zone) => of_time(name, *time, zone),
        (_, Some(Value::Duration(duration)), []) => of_duration(name, *duration),
        (_, Some(Value::Optional(inner)), _) => of_optional(name, inner.as_ref(), arguments),
        ("jsonpatch.escapeKey", None, [Value::String(key)]) => {
            Ok(Value::string(key.replace('~', "~0").replace('/', "~1")))
        }
        ("optional.of", None, [of]) => Ok(Value::Optional(Some(Arc::new(of.clone())))),
        ("optional.none", None, []) => Ok(Value::Optional(None)),
        ("optional.ofNonZeroValue", None, [of]) => {
            Ok(Value::Optional((!is_zero(of)).then(|| Arc::new(of.clone()))))
        }
        ("optional.unwrap", None, [list]) => lists::unwrapped(list),
        ("quantity" | "isQuantity", None, [Value::String(text)]) => quantities::read(name, text),
        (_, Some(Value::Quantity(of)), _) => quantities::call(name, of, arguments),
        ("semver" | "isSemver", None, _) | (_, Some(Value::Version(_)), _) => {
            versions::call(name, target, arguments)
        }
        ("validate", Some(Value::Format(format)), [Value::String(text)]) => {
            formats::validate(format, text, budget)
        }
        ("strings.quote", None, [Value::String(text)]) => Ok(Value::string(strings::quoted(text))),
        ("lists.range", None, [Value::Int(size)]) => lists::range(*size, budget),
        (_, Some(Value::Foreign(of)), _) => foreign(&**of, name, arguments, budget),
        _ if name.starts_with("sets.") => lists::sets(name, arguments, budget),
        _ => match name.strip_prefix("format.") {
            Some(format) if target.is_none() => formats::make(format, arguments),
            _ => network::call(name, target, arguments, budget),
        },
    }
}

/// Has a value of the evaluation's owner compute a function.
fn foreign<'a>(of: &dyn Foreign, name: &str, arguments: &[Value<'a>], budget: &mut Budget) -> Evaluated<'a> {
    if name == "check" {
        budget.charge(CHECK_COST)?;
    }
    let texts: Option<Vec<&str>> = arguments.iter().map(text).collect();
    texts.map_or_else(no_overload, |texts| given(of.call(name, &texts)))
}

fn text<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// What the owner of the evaluation gave.
pub(super) fn given<'a>(given: Option<Given>) -> Evaluated<'a> {
    match given {
        Some(Given::Bool(flag)) => Ok(Value::Bool(flag)),
        Some(Given::Text(text)) => Ok(Value::string(text)),
        Some(Given::Foreign(of)) => Ok(Value::Foreign(of)),
        None => no_overload(),
    }
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Int(0) | Value::Uint(0) | Value::Optional(None) => true,
        Value::Double(n) => *n == 0.0,
        Value::Made(made) => made.fields().next().is_none(),
        other => other.size() == Some(0),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "ranges are checked before"
)]
fn converted<'a>(to: &str, of: &Value<'a>) -> Evaluated<'a> {
    let range = || failed("range error");
    match (to, of) {
        ("int", Value::Int(_))
        | ("uint", Value::Uint(_))
        | ("double", Value::Double(_))
        | ("string", Value::String(_))
        | ("bytes", Value::Bytes(_))
        | ("bool", Value::Bool(_))
        | ("duration", Value::Duration(_))
        | ("timestamp", Value::Timestamp(_)) => Ok(of.clone()),
        ("int", Value::Uint(n)) => i64::try_from(*n).map(Value::Int).or_else(|_| range()),
        ("int", Value::Double(n)) if n.abs() < 9.2e18 => Ok(Value::Int(*n as i64)),
        ("uint", Value::Int(n)) => u64::try_from(*n).map(Value::Uint).or_else(|_| range()),
        ("uint", Value::Double(n)) if (0.0..1.8e19).contains(n) => Ok(Value::Uint(*n as u64)),
        ("int" | "uint", Value::Double(_)) => range(),
        ("int", Value::Timestamp(time)) => Ok(Value::Int(time.as_second())),
        ("int", Value::String(text)) => {
            text.parse().map(Value::Int).or_else(|_| failed("type conversion error from 'string' to 'int'"))
        }
        ("uint", Value::String(text)) => {
            text.parse().map(Value::Uint).or_else(|_| failed("type conversion error from 'string' to 'uint'"))
        }
        ("double", Value::Int(n)) => Ok(Value::Double(*n as f64)),
        ("double", Value::Uint(n)) => Ok(Value::Double(*n as f64)),
        ("double", Value::String(text)) => text
            .parse()
            .map(Value::Double)
            .or_else(|_| failed("type conversion error from 'string' to 'double'")),
        ("string", of) => strings::text_of(of).map(Value::string).map_or_else(no_overload, Ok),
        ("bytes", Value::String(text)) => Ok(Value::Bytes(text.as_bytes().into())),
        ("bool", Value::String(text)) => match &**text {
            "true" | "True" | "TRUE" | "t" | "1" => Ok(Value::Bool(true)),
            "false" | "False" | "FALSE" | "f" | "0" => Ok(Value::Bool(false)),
            _ => failed("type conversion error from 'string' to 'bool'"),
        },
        ("duration", Value::String(text)) => match value::duration(text) {
            Some(duration) => Ok(Value::Duration(duration)),
            None => failed("type conversion error from 'string' to 'google.protobuf.Duration'"),
        },
        ("duration", Value::Int(seconds)) => Ok(Value::Duration(SignedDuration::from_secs(*seconds))),
        ("timestamp", Value::String(text)) => text
            .parse()
            .map(Value::Timestamp)
            .or_else(|_| failed("type conversion error from 'string' to 'google.protobuf.Timestamp'")),
        ("timestamp", Value::Int(seconds)) => {
            Timestamp::from_second(*seconds).map(Value::Timestamp).or_else(|_| range())
        }
        _ => no_overload(),
    }
}

/// A time zone by its name, or by its distance from UTC, such as `-02:00`.
fn zone(text: &str) -> Result<TimeZone, Fault> {
    let unknown = || Fault::Failed(format!("unknown time zone {text}"));
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let Some((hours, minutes)) = rest.split_once(':') else {
        return if text.is_empty() { Ok(TimeZone::UTC) } else { TimeZone::get(text).map_err(|_| unknown()) };
    };
    let (hours, minutes) = (hours.parse::<u8>(), minutes.parse::<u8>());
    let (Ok(hours), Ok(minutes)) = (hours, minutes) else { return Err(unknown()) };
    let seconds = sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60);
    Offset::from_seconds(seconds).map(TimeZone::fixed).map_err(|_| unknown())
}

fn of_time<'a>(name: &str, time: Timestamp, given: &[Value<'a>]) -> Evaluated<'a> {
    let at = time.to_zoned(match given {
        [] => TimeZone::UTC,
        [Value::String(name)] => zone(name)?,
        _ => return no_overload(),
    });
    Ok(Value::Int(match name {
        "getFullYear" => i64::from(at.year()),
        "getMonth" => i64::from(at.month()) - 1,
        "getDate" => i64::from(at.day()),
        "getDayOfMonth" => i64::from(at.day()) - 1,
        "getDayOfWeek" => i64::from(at.weekday().to_sunday_zero_offset()),
        "getDayOfYear" => i64::from(at.day_of_year()) - 1,
        "getHours" => i64::from(at.hour()),
        "getMinutes" => i64::from(at.minute()),
        "getSeconds" => i64::from(at.second()),
        "getMilliseconds" => i64::from(at.millisecond()),
        _ => return no_overload(),
    }))
}

fn of_duration<'a>(name: &str, duration: SignedDuration) -> Evaluated<'a> {
    Ok(Value::Int(match name {
        "getHours" => duration.as_hours(),
        "getMinutes" => duration.as_mins(),
        "getSeconds" => duration.as_secs(),
        "getMilliseconds" => i64::from(duration.subsec_millis()),
        _ => return no_overload(),
    }))
}

fn of_optional<'a>(name: &str, inner: Option<&Arc<Value<'a>>>, arguments: &[Value<'a>]) -> Evaluated<'a> {
    match (name, inner, arguments) {
        ("hasValue", inner, []) => Ok(Value::Bool(inner.is_some())),
        ("value", Some(inner), []) => Ok(Value::clone(inner)),
        ("value", None, []) => Err(Fault::Failed("optional.none() dereference".to_owned())),
        ("orValue", Some(inner), [_]) => Ok(Value::clone(inner)),
        ("or", Some(inner), [_]) => Ok(Value::Optional(Some(Arc::clone(inner)))),
        ("orValue" | "or", None, [other]) => Ok(other.clone()),
        _ => no_overload(),
    }
}
