//! [`FieldSet`]: a set of field paths, as `FieldsV1` stores it.
//!
//! A node of the tree is an object whose keys are path elements (see [`super::element`]) or `.`. The
//! path to a node is in the set when the node is empty or has the key `.`.

use serde_json::{Map, Value};

use super::element;

pub(super) type Node = Map<String, Value>;

/// The key that makes a node with children a member itself.
const SELF: &str = ".";

/// A set of field paths.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldSet(pub(super) Node);

impl FieldSet {
    /// Reads a `fieldsV1` value; `None` when it is not one.
    pub fn decode(value: Value) -> Option<Self> {
        match value {
            Value::Object(node) if well_formed(&node) => Some(Self(node)),
            _ => None,
        }
    }

    /// The `fieldsV1` value.
    pub fn encode(self) -> Value {
        Value::Object(self.0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds all paths of `other`.
    pub fn unite(&mut self, other: &Self) {
        unite(&mut self.0, &other.0);
    }

    /// Removes all paths of `other`.
    pub fn subtract(&mut self, other: &Self) {
        subtract(&mut self.0, &other.0);
    }

    /// The paths in both sets, printed as upstream does (`.spec.containers[name="a"].image`), sorted.
    pub fn common_paths(&self, other: &Self) -> Vec<String> {
        let mut out = Vec::new();
        common(&self.0, &other.0, &mut String::new(), &mut out);
        out.sort_unstable();
        out
    }
}

fn well_formed(node: &Node) -> bool {
    node.iter().all(|(key, child)| {
        (key == SELF || element::is_element(key)) && child.as_object().is_some_and(well_formed)
    })
}

/// Whether the path to a node is in the set.
pub(super) fn is_member(node: &Node) -> bool {
    node.is_empty() || node.contains_key(SELF)
}

/// The node below an element.
pub(super) fn child<'n>(node: &'n Node, element: &str) -> Option<&'n Node> {
    node.get(element)?.as_object()
}

/// The elements below a node, with their nodes.
pub(super) fn children(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    node.iter()
        .filter(|(key, _)| *key != SELF)
        .filter_map(|(key, child)| Some((key.as_str(), child.as_object()?)))
}

/// Puts a node below its parent, if there is anything to it.
pub(super) fn put(parent: &mut Node, element: String, member: bool, mut below: Node) {
    if member && !below.is_empty() {
        below.insert(SELF.to_owned(), Value::Object(Node::new()));
    }
    if member || !below.is_empty() {
        parent.insert(element, Value::Object(below));
    }
}

/// Restores the form of a node after its children changed. Whether anything is left of it.
fn settle(node: &mut Node, member: bool) -> bool {
    let has_children = node.len() > usize::from(node.contains_key(SELF));
    if !has_children {
        node.clear();
    } else if member {
        node.entry(SELF).or_insert_with(|| Value::Object(Node::new()));
    } else {
        node.remove(SELF);
    }
    member || has_children
}

fn unite(into: &mut Node, other: &Node) {
    for (key, theirs) in children(other) {
        match into.get_mut(key) {
            Some(Value::Object(ours)) => {
                let member = is_member(ours) || is_member(theirs);
                unite(ours, theirs);
                settle(ours, member);
            }
            _ => {
                into.insert(key.to_owned(), Value::Object(theirs.clone()));
            }
        }
    }
}

fn subtract(from: &mut Node, other: &Node) {
    for (key, theirs) in children(other) {
        let Some(Value::Object(ours)) = from.get_mut(key) else { continue };
        let member = is_member(ours) && !is_member(theirs);
        subtract(ours, theirs);
        if !settle(ours, member) {
            from.remove(key);
        }
    }
}

fn common(a: &Node, b: &Node, path: &mut String, out: &mut Vec<String>) {
    for (key, ours) in children(a) {
        let Some(theirs) = child(b, key) else { continue };
        let length = path.len();
        element::print(key, path);
        if is_member(ours) && is_member(theirs) {
            out.push(path.clone());
        }
        common(ours, theirs, path, out);
        path.truncate(length);
    }
}
