//! The order of a mapping's keys in go-yaml: letters behind everything else, numbers within keys by their value.

use std::cmp::Ordering;

use serde_json::{Map, Value};

/// The fields in order. The order is not total where numbers overflow, so the sort must not rely on that.
pub fn sorted(fields: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut entries: Vec<(Vec<char>, &str, &Value)> =
        fields.iter().map(|(key, value)| (key.chars().collect(), key.as_str(), value)).collect();
    let mut width = 1;
    while width < entries.len() {
        entries = entries
            .chunks(2 * width)
            .flat_map(|pair| {
                let (left, right) = pair.split_at(width.min(pair.len()));
                merged(left, right)
            })
            .collect();
        width *= 2;
    }
    entries.into_iter().map(|(_, key, value)| (key, value)).collect()
}

type Entry<'a> = (Vec<char>, &'a str, &'a Value);

fn merged<'a>(left: &[Entry<'a>], right: &[Entry<'a>]) -> Vec<Entry<'a>> {
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let next = match (left.peek(), right.peek()) {
            (Some(l), Some(r)) if is_less(&r.0, &l.0) => right.next(),
            (Some(_), _) => left.next(),
            (None, _) => right.next(),
        };
        match next {
            Some(entry) => out.push(entry.clone()),
            None => return out,
        }
    }
}

fn is_less(a: &[char], b: &[char]) -> bool {
    let Some(at) = a.iter().zip(b).position(|(a, b)| a != b) else {
        return a.len() < b.len();
    };
    match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
        (true, true) => return a[at] < b[at],
        (false, false) => {}
        (_, b_is_letter) => return b_is_letter,
    }
    // A zero at the place of difference counts by the digits before.
    let has_digits_before = (a[at] == '0' || b[at] == '0')
        && a[..at].iter().rev().take_while(|c| is_digit(**c)).any(|c| *c != '0');
    let start = i64::from(has_digits_before);
    let (a_number, a_end) = number(a, at, start);
    let (b_number, b_end) = number(b, at, start);
    match a_number.cmp(&b_number).then(a_end.cmp(&b_end)) {
        Ordering::Equal => a[at] < b[at],
        order => order == Ordering::Less,
    }
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn number(text: &[char], from: usize, start: i64) -> (i64, usize) {
    let mut value = start;
    let mut end = from;
    while let Some(c) = text.get(end).filter(|c| is_digit(**c)) {
        value = value.wrapping_mul(10).wrapping_add(i64::from(*c as u32) - i64::from('0' as u32));
        end += 1;
    }
    (value, end)
}
