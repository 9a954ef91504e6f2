//! [`OneField`]: who manages a field of an object that is also shown as a field of another kind's object, as the count
//! of replicas is in a scale. Source: upstream's `apimachinery/pkg/util/managedfields/scalehandler.go`.

use serde_json::{Map, Value};

use super::entry::{self, Entry, Operation};
use super::set::{FieldSet, Node};
use crate::Object;

/// Where the field is in the whole object and in the part that shows it.
pub struct OneField<'a, S> {
    pub whole: &'a [S],
    /// The whole object's API version.
    pub version: &'a str,
    pub part: &'a [&'a str],
}

impl<S: AsRef<str>> OneField<'_, S> {
    /// Gives the part the managers of the whole's field.
    pub fn show(&self, whole: &Object, part: &mut Object) {
        let entries = entry::of(Some(whole)).into_iter().filter(|entry| owns(&entry.fields.0, self.whole));
        let version = part.api_version().to_owned();
        let shown =
            entries.map(|entry| Entry { api_version: version.clone(), fields: only(self.part), ..entry });
        let shown = shown.collect();
        entry::store(part, shown);
    }

    /// Gives the whole's field the managers that the part has.
    pub fn put(&self, part: &Object, whole: &mut Object) {
        let mut shown = entry::of(Some(part));
        shown.retain(|entry| owns(&entry.fields.0, self.part));
        let field = only(self.whole);
        let mut entries = entry::of(Some(whole));
        for entry in &mut entries {
            if !owns(&entry.fields.0, self.whole) {
                continue;
            }
            // Whoever keeps the field keeps the entry as it is.
            match shown.iter().position(|shown| same(shown, entry)) {
                Some(kept) => {
                    let kept = shown.remove(kept);
                    if entry.operation == Operation::Apply {
                        entry.time = kept.time;
                    }
                }
                None => entry.fields.subtract(&field),
            }
        }
        let more = shown.into_iter();
        entries.extend(more.map(|entry| Entry {
            api_version: self.version.to_owned(),
            fields: field.clone(),
            ..entry
        }));
        entry::store(whole, entries);
    }
}

fn same(a: &Entry, b: &Entry) -> bool {
    (a.manager.as_str(), a.operation, a.subresource.as_str())
        == (b.manager.as_str(), b.operation, b.subresource.as_str())
}

fn owns<S: AsRef<str>>(fields: &Node, path: &[S]) -> bool {
    let mut node = Some(fields);
    for name in path {
        node = node.and_then(|node| node.get(&format!("f:{}", name.as_ref()))?.as_object());
    }
    node.is_some()
}

/// The set of one field.
fn only<S: AsRef<str>>(path: &[S]) -> FieldSet {
    let leaf = Map::new();
    FieldSet(
        path.iter().rev().fold(leaf, |below, name| {
            Map::from_iter([(format!("f:{}", name.as_ref()), Value::Object(below))])
        }),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(fields: &[(&str, Value)]) -> Object {
        let entries: Vec<Value> = fields
            .iter()
            .map(|(manager, fields)| {
                json!({"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "time": "2026-01-01T00:00:00Z",
                    "fieldsType": "FieldsV1", "fieldsV1": fields})
            })
            .collect();
        Object::from_value(
            json!({"apiVersion": "apps/v1", "metadata": {"name": "a", "managedFields": entries}}),
        )
        .expect("an object")
    }

    fn managers(object: &Object) -> Vec<(String, Value)> {
        let entries = object.at(&["metadata", "managedFields"]).and_then(Value::as_array).cloned();
        entries
            .unwrap_or_default()
            .into_iter()
            .map(|entry| (entry["manager"].as_str().unwrap_or("").to_owned(), entry["fieldsV1"].clone()))
            .collect()
    }

    #[test]
    fn a_field_is_shown_and_its_new_owner_put_in_place_of_the_old() {
        let field = OneField { whole: &["spec", "size"], version: "apps/v1", part: &["spec", "replicas"] };
        let mut whole = object(&[
            ("a", json!({"f:spec": {"f:size": {}, "f:other": {}}})),
            ("b", json!({"f:spec": {"f:size": {}}})),
            ("c", json!({"f:spec": {"f:other": {}}})),
        ]);
        let mut part =
            Object::from_value(json!({"apiVersion": "autoscaling/v1", "metadata": {}})).expect("an object");
        field.show(&whole, &mut part);
        let shown = json!({"f:spec": {"f:replicas": {}}});
        assert_eq!(managers(&part), [("a".to_owned(), shown.clone()), ("b".to_owned(), shown)]);
        let mut next = object(&[
            ("b", json!({"f:spec": {"f:replicas": {}}})),
            ("d", json!({"f:spec": {"f:replicas": {}}})),
        ]);
        next.set_meta_str("name", "a");
        field.put(&next, &mut whole);
        assert_eq!(
            managers(&whole),
            [
                ("a".to_owned(), json!({"f:spec": {"f:other": {}}})),
                ("b".to_owned(), json!({"f:spec": {"f:size": {}}})),
                ("c".to_owned(), json!({"f:spec": {"f:other": {}}})),
                ("d".to_owned(), json!({"f:spec": {"f:size": {}}})),
            ]
        );
    }
}
