//! What differs between two pod specs, for the text of a refusal: a line for each value taken away
//! and each put in its place.

use serde_json::{Map, Value};

/// At most so many lines: the message travels in headers and logs.
const MAX_LINES: usize = 64;

/// A listing in the manner of a struct's differences: what is equal is only counted.
pub(super) fn pod_spec(old: &Value, new: &Value) -> String {
    let mut lines = vec!["  core.PodSpec{".to_owned()];
    let empty = Map::new();
    let fields = |v: &Value| v.as_object().cloned().unwrap_or_else(|| empty.clone());
    object(&fields(old), &fields(new), 1, &mut lines);
    if lines.len() > MAX_LINES {
        let more = lines.len() - MAX_LINES;
        lines.truncate(MAX_LINES);
        lines.push(format!("  \t... // {more} more lines"));
    }
    lines.push("  }\n".to_owned());
    lines.join("\n")
}

fn object(old: &Map<String, Value>, new: &Map<String, Value>, depth: usize, lines: &mut Vec<String>) {
    let mut keys: Vec<&String> = old.keys().chain(new.keys().filter(|k| !old.contains_key(*k))).collect();
    keys.sort();
    let mut same = 0;
    for key in keys {
        let (before, after) = (old.get(key), new.get(key));
        if before == after {
            same += 1;
            continue;
        }
        flush(&mut same, depth, lines);
        value(&go_name(key), before, after, depth, lines);
    }
    flush(&mut same, depth, lines);
}

fn flush(same: &mut usize, depth: usize, lines: &mut Vec<String>) {
    if *same > 0 {
        let noun = if *same == 1 { "field" } else { "fields" };
        lines.push(format!("  {}... // {same} identical {noun}", "\t".repeat(depth)));
        *same = 0;
    }
}

fn value(name: &str, before: Option<&Value>, after: Option<&Value>, depth: usize, lines: &mut Vec<String>) {
    let indent = "\t".repeat(depth);
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            lines.push(format!("  {indent}{name}: {{"));
            object(old, new, depth + 1, lines);
            lines.push(format!("  {indent}}},"));
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
            lines.push(format!("  {indent}{name}: {{"));
            for (i, (old, new)) in old.iter().zip(new).enumerate().filter(|(_, (o, n))| o != n) {
                value(&format!("[{i}]"), Some(old), Some(new), depth + 1, lines);
            }
            lines.push(format!("  {indent}}},"));
        }
        _ => {
            let show = |v: Option<&Value>| v.map_or_else(|| "nil".to_owned(), ToString::to_string);
            lines.push(format!("- {indent}{name}: {},", show(before)));
            lines.push(format!("+ {indent}{name}: {},", show(after)));
        }
    }
}

/// Field names as upstream's types spell them.
fn go_name(key: &str) -> String {
    let mut chars = key.chars();
    chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect()
}
