//! Kinds without a describer of their own: all fields, titles made of their names.

use serde_json::{Map, Value};

use super::events;
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;
use crate::printing::go_text;

/// Shown in the head, or not at all.
const SKIPPED: [&str; 5] = [
    ".metadata.managedFields",
    ".metadata.name",
    ".metadata.namespace",
    ".metadata.labels",
    ".metadata.annotations",
];
const ACRONYMS: [&str; 5] = ["API", "URL", "UID", "OSB", "GUID"];
/// Deeper fields are not indented further.
const MAX_LEVEL: usize = 64;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    metadata::head(text, view.object);
    if let Some(fields) = view.object.as_object() {
        content(text, 0, fields, "");
    }
    events::write(view, text);
    Ok(())
}

fn content(text: &mut Text, level: usize, fields: &Map<String, Value>, prefix: &str) {
    let inner = (level + 1).min(MAX_LEVEL);
    for (name, value) in fields {
        let path = format!("{prefix}.{name}");
        if SKIPPED.contains(&path.as_str()) {
            continue;
        }
        match value {
            Value::Object(fields) => {
                put!(text, level, "{}:", title(name));
                content(text, inner, fields, &path);
            }
            Value::Array(items) => {
                put!(text, level, "{}:", title(name));
                for item in items {
                    match item {
                        Value::Object(fields) => content(text, inner, fields, &path),
                        other => put!(text, inner, "{}", go_text::plain(other)),
                    }
                }
            }
            other => put!(text, level, "{}:\t{}", title(name), go_text::plain(other)),
        }
    }
}

/// A field's name in words: `creationTimestamp` is `Creation Timestamp`.
fn title(name: &str) -> String {
    if name.chars().any(|c| !c.is_alphabetic() && c != '-') {
        return name.to_owned();
    }
    let words: Vec<String> = words(name).iter().map(|word| word_title(word)).collect();
    words.join(" ")
}

fn word_title(word: &str) -> String {
    let upper = word.to_uppercase();
    if ACRONYMS.contains(&upper.as_str()) {
        return upper;
    }
    let mut chars = word.chars();
    let Some(first) = chars.next() else { return String::new() };
    first.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect()
}

/// Splits where the case changes, where a run of capitals gives its last one to the word behind: `podIPs` becomes `pod`,
/// `I`, `Ps`, as in stock kubectl.
fn words(name: &str) -> Vec<String> {
    #[derive(PartialEq, Clone, Copy)]
    enum Case {
        Lower,
        Upper,
        Other,
    }
    let case = |c: char| {
        if c.is_lowercase() {
            Case::Lower
        } else if c.is_uppercase() {
            Case::Upper
        } else {
            Case::Other
        }
    };
    let mut runs: Vec<(Case, String)> = Vec::new();
    for c in name.chars() {
        match runs.last_mut() {
            Some((known, run)) if *known == case(c) => run.push(c),
            _ => runs.push((case(c), c.to_string())),
        }
    }
    for index in 1..runs.len() {
        if runs[index - 1].0 == Case::Upper
            && runs[index].0 == Case::Lower
            && let Some(last) = runs[index - 1].1.pop()
        {
            runs[index].1.insert(0, last);
        }
    }
    runs.into_iter().map(|(_, run)| run).filter(|run| !run.is_empty()).collect()
}
