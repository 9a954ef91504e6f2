//! `--sort-by`.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::failure::{Failure, quoted};

/// Tables of one kind as one.
pub fn joined(pages: Vec<Value>) -> Value {
    let mut pages = pages.into_iter();
    let Some(mut table) = pages.next() else { return json!({"kind": "Table"}) };
    let mut rows = table["rows"].as_array().cloned().unwrap_or_default();
    rows.extend(pages.flat_map(|page| page["rows"].as_array().cloned().unwrap_or_default()));
    table["rows"] = rows.into();
    table
}

/// Sorts the rows of a table by a field of their objects.
pub fn rows(table: &mut Value, by: &str) -> Result<(), Failure> {
    let path = path(by)?;
    let Some(rows) = table["rows"].as_array_mut() else { return Ok(()) };
    let objects: Vec<&Value> = rows.iter().map(|row| &row["object"]).collect();
    known(&objects, &path, by)?;
    rows.sort_by(|a, b| order(at(&a["object"], &path), at(&b["object"], &path)));
    Ok(())
}

/// Sorts objects by a field.
pub fn objects(objects: &mut [Value], by: &str) -> Result<(), Failure> {
    let path = path(by)?;
    known(&objects.iter().collect::<Vec<_>>(), &path, by)?;
    objects.sort_by(|a, b| order(at(a, &path), at(b, &path)));
    Ok(())
}

/// At least one object must have the field.
fn known(objects: &[&Value], path: &[String], by: &str) -> Result<(), Failure> {
    if objects.is_empty() || objects.iter().any(|object| !at(object, path).is_null()) {
        return Ok(());
    }
    Err(Failure::message(format!(
        "couldn't find any field with path {} in the list of objects",
        quoted(&relaxed(by))
    )))
}

/// `{.a.b}` from any of its forms: `.a.b`, `a.b`, `{a.b}`.
fn relaxed(by: &str) -> String {
    let inner = by.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(by);
    format!("{{.{}}}", inner.strip_prefix('.').unwrap_or(inner))
}

/// The steps of a simple path (`{.a.b[0].c}`).
///
/// # Errors
/// When the path is more than steps.
fn path(by: &str) -> Result<Vec<String>, Failure> {
    let relaxed = relaxed(by);
    let inner = relaxed.trim_start_matches("{.").trim_end_matches('}');
    let mut steps = Vec::new();
    let mut step = String::new();
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => step.extend(characters.next()),
            '.' => steps.extend(Some(std::mem::take(&mut step)).filter(|step| !step.is_empty())),
            '[' => {
                steps.extend(Some(std::mem::take(&mut step)).filter(|step| !step.is_empty()));
                let index: String = characters.by_ref().take_while(|c| *c != ']').collect();
                steps.push(index.trim_matches(['\'', '"']).to_owned());
            }
            '*' | '?' | '(' => {
                let why = format!(
                    "knarr kubectl does not know --sort-by {} yet; use the stock kubectl",
                    quoted(by)
                );
                return Err(Failure::message(why));
            }
            c => step.push(c),
        }
    }
    steps.extend(Some(step).filter(|step| !step.is_empty()));
    Ok(steps)
}

/// What a path leads to; null where there is nothing.
fn at<'a>(object: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(object, |value, step| match value {
        Value::Array(items) => step.parse::<usize>().ok().and_then(|i| items.get(i)).unwrap_or(&Value::Null),
        value => &value[step.as_str()],
    })
}

/// What is missing comes first; texts by the numbers in them, times and quantities by their values.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => texts(a, b),
        (a, b) => a.to_string().cmp(&b.to_string()),
    }
}

/// Times come before quantities, and quantities before other texts, so that there is one order of all.
fn texts(a: &str, b: &str) -> Ordering {
    match (Text::read(a), Text::read(b)) {
        (Text::Time(a), Text::Time(b)) => a.cmp(&b),
        (Text::Quantity(a), Text::Quantity(b)) => a.cmp(&b),
        (Text::Other, Text::Other) => natural(a, b),
        (a, b) => a.place().cmp(&b.place()),
    }
}

enum Text {
    Time(Timestamp),
    Quantity(api::quantity::Quantity),
    Other,
}

impl Text {
    fn read(text: &str) -> Self {
        let quantity = || text.parse().map_or(Self::Other, Self::Quantity);
        text.parse().map_or_else(|_| quantity(), Self::Time)
    }

    fn place(&self) -> u8 {
        match self {
            Self::Time(_) => 0,
            Self::Quantity(_) => 1,
            Self::Other => 2,
        }
    }
}

/// Digits by their value, everything else byte by byte.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (a.first(), b.first()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (m, n) = (digits(a), digits(b));
            let significant =
                |digits: &[u8]| digits.iter().skip_while(|byte| **byte == b'0').copied().collect::<Vec<u8>>();
            let (x, y) = (significant(&a[..m]), significant(&b[..n]));
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(&y)).then(m.cmp(&n));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[m..], &b[n..]);
        } else if x != y {
            return x.cmp(y);
        } else {
            (a, b) = (&a[1..], &b[1..]);
        }
    }
    a.len().cmp(&b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_count() {
        let mut names = ["web-10", "web-9", "db"].map(|name| json!({"metadata": {"name": name}})).to_vec();
        objects(&mut names, ".metadata.name").expect("sorted");
        let sorted: Vec<&str> = names.iter().filter_map(|o| o["metadata"]["name"].as_str()).collect();
        assert_eq!(sorted, ["db", "web-9", "web-10"]);
        assert!(objects(&mut names, "{.spec}").is_err());
    }

    #[test]
    fn quantities_and_times_are_compared_by_value() {
        assert_eq!(texts("1Gi", "900Mi"), Ordering::Greater);
        assert_eq!(texts("2026-01-02T00:00:00Z", "2025-12-31T00:00:00Z"), Ordering::Greater);
    }

    #[test]
    fn there_is_one_order_of_all_texts() {
        let mut all = ["1k", "2", "1z", "2026-01-02T00:00:00Z", "b", "1z", "10Mi", ""];
        let order = |a: &&str, b: &&str| texts(a, b);
        all.sort_by(order);
        for (i, a) in all.iter().enumerate() {
            assert!(all[i..].iter().all(|b| texts(a, b) != Ordering::Greater), "{all:?}");
        }
    }

    #[test]
    fn a_step_may_be_an_index() {
        assert_eq!(path("{.a[0].b}").expect("a path"), ["a", "0", "b"]);
        assert_eq!(path(".a['x.y'].b").expect("a path"), ["a", "x.y", "b"]);
    }
}
