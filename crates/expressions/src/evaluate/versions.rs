//! Semantic versions. Source of the rules: upstream's `k8s.io/apiserver/pkg/cel/library/semverlib.go`.

use std::cmp::Ordering;
use std::sync::Arc;

use semver::Version;

use super::{Evaluated, failed, no_overload};
use crate::value::Value;

pub(super) fn call<'a>(name: &str, target: Option<&Value<'a>>, arguments: &[Value<'a>]) -> Evaluated<'a> {
    match (name, target, arguments) {
        ("semver" | "isSemver", None, [Value::String(text), normalize @ ..]) => {
            let normalize = match normalize {
                [] => false,
                [Value::Bool(flag)] => *flag,
                _ => return no_overload(),
            };
            let read = if normalize { normalized(text).and_then(|text| parse(&text)) } else { parse(text) };
            match (name, read) {
                ("isSemver", read) => Ok(Value::Bool(read.is_ok())),
                (_, Ok(version)) => Ok(Value::Version(Arc::new(version))),
                (_, Err(why)) => failed(why),
            }
        }
        (_, Some(Value::Version(version)), []) => number(match name {
            "major" => version.major,
            "minor" => version.minor,
            "patch" => version.patch,
            _ => return no_overload(),
        }),
        (_, Some(Value::Version(a)), [Value::Version(b)]) => {
            let order = a.cmp_precedence(b);
            match name {
                "compareTo" => Ok(Value::Int(order as i64)),
                "isLessThan" => Ok(Value::Bool(order == Ordering::Less)),
                "isGreaterThan" => Ok(Value::Bool(order == Ordering::Greater)),
                _ => no_overload(),
            }
        }
        _ => no_overload(),
    }
}

fn number<'a>(number: u64) -> Evaluated<'a> {
    i64::try_from(number).map(Value::Int).or_else(|_| failed("integer overflow"))
}

/// Reads a version; the words for its three numbers are upstream's.
fn parse(text: &str) -> Result<Version, String> {
    if text.is_empty() {
        return Err("Version string empty".to_owned());
    }
    let parts: Vec<&str> = text.splitn(3, '.').collect();
    let [major, minor, rest] = parts[..] else {
        return Err("No Major.Minor.Patch elements found".to_owned());
    };
    let patch = rest.split(['-', '+']).next().unwrap_or(rest);
    for (what, name, part) in
        [("Major", "major", major), ("Minor", "minor", minor), ("Patch", "patch", patch)]
    {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("Invalid character(s) found in {name} number {part:?}"));
        }
        if part.len() > 1 && part.starts_with('0') {
            return Err(format!("{what} number must not contain leading zeroes {part:?}"));
        }
    }
    Version::parse(text).map_err(|error| error.to_string())
}

/// The version without a leading `v` and leading zeros, and with all three numbers.
fn normalized(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text
        .splitn(3, '.')
        .map(|part| match part.trim_start_matches('0') {
            _ if part.len() < 2 => part.to_owned(),
            rest if rest.starts_with(|c: char| c.is_ascii_digit()) => rest.to_owned(),
            rest => format!("0{rest}"),
        })
        .collect();
    if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
        return Err("short version cannot contain PreRelease/Build meta data".to_owned());
    }
    parts.resize(3, "0".to_owned());
    Ok(parts.join("."))
}
