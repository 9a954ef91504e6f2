//! What a template's nodes find in an object.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::{Error, Found, Node, Slice, error};
use crate::printing::go_text::{self, Numeric};

/// Results beyond this many are refused: templates multiply (`..*` of a deep object, ranges in ranges).
const MAX_RESULTS: usize = 1_000_000;

/// The state of loops while a template is evaluated.
pub struct Evaluation {
    allow_missing: bool,
    range_begins: usize,
    ranges: usize,
    range_ends: usize,
    /// How many nodes stood behind the end that was met last.
    behind_end: Option<usize>,
    results: usize,
}

type Results<'a> = Vec<Found<'a>>;

impl Evaluation {
    pub fn new(allow_missing: bool) -> Self {
        Self { allow_missing, range_begins: 0, ranges: 0, range_ends: 0, behind_end: None, results: 0 }
    }

    /// Evaluates the nodes up to the end of the loop they are in. Without an object (a loop without a turn) only the
    /// place of the end matters.
    pub fn run<'a>(
        &mut self,
        nodes: &'a [Node],
        object: Option<Found<'a>>,
    ) -> Result<Vec<Results<'a>>, Error> {
        let current: Results<'a> = vec![object.unwrap_or(Cow::Owned(Value::Null))];
        let mut all = Vec::new();
        let mut index = 0;
        while let Some(node) = nodes.get(index) {
            let results = self.walk(current.clone(), node)?;
            if self.range_ends > 0 && self.range_ends <= self.ranges {
                self.range_ends -= 1;
                self.behind_end = Some(nodes.len() - index);
                break;
            }
            if self.range_begins > 0 {
                self.range_begins -= 1;
                self.turns(&nodes[index + 1..], results, &mut all)?;
                if let Some(behind) = self.behind_end.filter(|behind| *behind < nodes.len() - index) {
                    index = nodes.len() - behind;
                }
                index += 1;
                continue;
            }
            self.count(results.len())?;
            all.push(results);
            index += 1;
        }
        Ok(all)
    }

    fn turns<'a>(
        &mut self,
        nodes: &'a [Node],
        over: Results<'a>,
        all: &mut Vec<Results<'a>>,
    ) -> Result<(), Error> {
        if self.ranges >= super::MAX_DEPTH {
            return error("ranges are nested too deeply");
        }
        self.ranges += 1;
        if over.is_empty() {
            self.run(nodes, None)?;
        }
        for value in over {
            all.extend(self.run(nodes, Some(value))?);
        }
        self.ranges -= 1;
        Ok(())
    }

    fn count(&mut self, more: usize) -> Result<(), Error> {
        self.results += more + 1;
        if self.results > MAX_RESULTS { error("the template has too many results") } else { Ok(()) }
    }

    fn list<'a>(&mut self, input: Results<'a>, nodes: &'a [Node]) -> Result<Results<'a>, Error> {
        nodes.iter().try_fold(input, |input, node| self.walk(input, node))
    }

    fn walk<'a>(&mut self, input: Results<'a>, node: &'a Node) -> Result<Results<'a>, Error> {
        match node {
            Node::List(nodes) => self.list(input, nodes),
            Node::Text(text) => Ok(vec![Cow::Owned(Value::from(text.as_str()))]),
            Node::Bool(value) => Ok(constant(&input, &Value::from(*value))),
            Node::Int(value) => Ok(constant(&input, &Value::from(*value))),
            Node::Float(value) => {
                Ok(constant(&input, &Number::from_f64(*value).map_or(Value::Null, Value::Number)))
            }
            Node::Field(name) => self.field(input, name),
            Node::Array(slice) => array(input, *slice),
            Node::Filter { left, right, operator } => self.filter(input, left, right, operator),
            Node::Wildcard => {
                let found: Results<'a> = input.into_iter().flat_map(children).collect();
                self.count(found.len())?;
                Ok(found)
            }
            Node::Recursive => {
                let mut found = Vec::new();
                self.descend(input, &mut found)?;
                Ok(found)
            }
            Node::Union(lists) => {
                let mut found = Vec::new();
                for nodes in lists {
                    found.extend(self.list(input.clone(), nodes)?);
                }
                self.count(found.len())?;
                Ok(found)
            }
            Node::Identifier(name) => self.identifier(input, name),
        }
    }

    fn identifier<'a>(&mut self, input: Results<'a>, name: &str) -> Result<Results<'a>, Error> {
        match name {
            "range" => {
                self.range_begins += 1;
                Ok(input)
            }
            "end" if self.ranges > 0 => {
                self.range_ends += 1;
                Ok(Vec::new())
            }
            "end" => error("not in range, nothing to end"),
            _ => error(format!("unrecognized identifier {name}")),
        }
    }

    fn field<'a>(&self, input: Results<'a>, name: &str) -> Result<Results<'a>, Error> {
        if input.is_empty() {
            return Ok(input);
        }
        let found: Results<'a> = input
            .into_iter()
            .filter_map(|value| match value {
                Cow::Borrowed(value) => value.as_object()?.get(name).map(Cow::Borrowed),
                Cow::Owned(Value::Object(mut fields)) => fields.remove(name).map(Cow::Owned),
                Cow::Owned(_) => None,
            })
            .collect();
        if found.is_empty() && !self.allow_missing {
            return error(format!("{name} is not found"));
        }
        Ok(found)
    }

    /// The values that hold others, outermost first.
    fn descend<'a>(&mut self, input: Results<'a>, found: &mut Results<'a>) -> Result<(), Error> {
        for value in input {
            let inner = children(value.clone());
            if !inner.is_empty() {
                self.count(1)?;
                found.push(value);
                self.descend(inner, found)?;
            }
        }
        Ok(())
    }

    fn filter<'a>(
        &mut self,
        input: Results<'a>,
        left: &'a [Node],
        right: &'a [Node],
        operator: &str,
    ) -> Result<Results<'a>, Error> {
        let mut found = Vec::new();
        for value in input {
            if !value.is_array() {
                let shown = shown_unfiltered(&value);
                return error(format!("{shown} is not array or slice and cannot be filtered"));
            }
            for item in children(value) {
                let lefts = self.list(vec![item.clone()], left);
                if operator == "exists" {
                    if lefts.is_ok_and(|lefts| !lefts.is_empty()) {
                        found.push(item);
                    }
                    continue;
                }
                let Some(left) = single(lefts?)? else { continue };
                let Some(right) = single(self.list(vec![item.clone()], right)?)? else { continue };
                if compares(&left, &right, operator)? {
                    found.push(item);
                }
            }
        }
        Ok(found)
    }
}

fn constant<'a>(input: &Results<'a>, value: &Value) -> Results<'a> {
    input.iter().map(|_| Cow::Owned(value.clone())).collect()
}

fn shown_unfiltered(value: &Value) -> String {
    if value.is_null() { "<invalid reflect.Value>".to_owned() } else { go_text::plain(value) }
}

fn single(mut values: Results<'_>) -> Result<Option<Found<'_>>, Error> {
    if values.len() > 1 {
        return error("can only compare one element at a time");
    }
    Ok(values.pop())
}

/// The parts of a value: a map's values, a list's items, a string's bytes.
fn children(value: Found<'_>) -> Results<'_> {
    match value {
        Cow::Borrowed(Value::Object(fields)) => fields.values().map(Cow::Borrowed).collect(),
        Cow::Borrowed(Value::Array(items)) => items.iter().map(Cow::Borrowed).collect(),
        Cow::Owned(Value::Object(fields)) => fields.into_iter().map(|(_, value)| Cow::Owned(value)).collect(),
        Cow::Owned(Value::Array(items)) => items.into_iter().map(Cow::Owned).collect(),
        Cow::Borrowed(Value::String(text)) => text.bytes().map(|b| Cow::Owned(Value::from(b))).collect(),
        Cow::Owned(Value::String(text)) => text.bytes().map(|b| Cow::Owned(Value::from(b))).collect(),
        _ => Vec::new(),
    }
}

fn array(input: Results<'_>, slice: Slice) -> Result<Results<'_>, Error> {
    let mut found = Vec::new();
    for value in input {
        if value.is_null() {
            continue;
        }
        if !value.is_array() {
            return error(format!("{} is not array or slice", go_text::type_name(&value)));
        }
        let items = children(value);
        let (from, to, step) = bounds(slice, items.len())?;
        if from == to {
            // As upstream: where nothing is asked of one list, the lists behind it are not looked at.
            return Ok(found);
        }
        found.extend(items.into_iter().take(to).skip(from).step_by(step));
    }
    Ok(found)
}

fn bounds(slice: Slice, length: usize) -> Result<(usize, usize, usize), Error> {
    let length_signed = i64::try_from(length).unwrap_or(i64::MAX);
    let mut from = slice.from.unwrap_or(0);
    if from < 0 {
        from = from.saturating_add(length_signed);
    }
    let mut to = slice.to.unwrap_or(length_signed);
    if to < 0 || (to == 0 && slice.single) {
        to = to.saturating_add(length_signed);
    }
    if to == from {
        return Ok((0, 0, 1));
    }
    let outside = |index: i64| error(format!("array index out of bounds: index {index}, length {length}"));
    if from >= length_signed || from < 0 {
        return outside(from);
    }
    if to > length_signed || to < 0 {
        return outside(to - 1);
    }
    if from > to {
        return error(format!("starting index {from} is greater than ending index {to}"));
    }
    let step = slice.step.unwrap_or(1);
    if step <= 0 {
        return error("step must be > 0");
    }
    let size = |value: i64| usize::try_from(value).unwrap_or(usize::MAX);
    Ok((size(from), size(to), size(step)))
}

/// The operators of filters, which compare values of one kind only.
fn compares(left: &Value, right: &Value, operator: &str) -> Result<bool, Error> {
    let test: fn(Ordering) -> bool = match operator {
        "<" => Ordering::is_lt,
        ">" => Ordering::is_gt,
        "==" => Ordering::is_eq,
        "!=" => Ordering::is_ne,
        "<=" => Ordering::is_le,
        ">=" => Ordering::is_ge,
        _ => return error(format!("unrecognized filter operator {operator}")),
    };
    let ordering = match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) if matches!(operator, "==" | "!=") => Some(left.cmp(right)),
        (Value::Bool(_), Value::Bool(_)) => return error("invalid type for comparison"),
        (Value::Number(left), Value::Number(right)) => match (Numeric::of(left), Numeric::of(right)) {
            (Numeric::Int(left), Numeric::Int(right)) => Some(left.cmp(&right)),
            (Numeric::Float(left), Numeric::Float(right)) => left.partial_cmp(&right),
            _ => None,
        },
        _ if !is_basic(left) || !is_basic(right) => return error("invalid type for comparison"),
        _ => None,
    };
    ordering.map_or_else(|| error("incompatible types for comparison"), |ordering| Ok(test(ordering)))
}

fn is_basic(value: &Value) -> bool {
    matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_))
}
