//! Three-way patches: what makes of the object that is there the one that a file wants, without what others have set,
//! and taking away what the file had before and has no more.
//!
//! Pure. [`strategic`] knows how a built-in kind's lists merge; [`merge`] replaces lists, as custom kinds have it.

use api::schema::{Field, Shape, Struct, Types};
use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

/// A JSON merge patch.
pub fn merge(original: &Value, modified: &Value, current: &Value) -> Value {
    let empty = Fields::new();
    let map = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (original, current) = (map(original), map(current));
    Value::Object(Differ { types: None }.fields(
        None,
        &original,
        modified.as_object().unwrap_or(&empty),
        &current,
    ))
}

/// A strategic merge patch for a kind whose structure is known.
pub fn strategic(
    types: &Types,
    structure: &Struct,
    original: &Value,
    modified: &Value,
    current: &Value,
) -> Value {
    let empty = Fields::new();
    let map = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (original, current) = (map(original), map(current));
    let modified = modified.as_object().unwrap_or(&empty);
    Value::Object(Differ { types: Some(types) }.fields(Some(structure), &original, modified, &current))
}

struct Differ<'a> {
    types: Option<&'a Types>,
}

impl<'a> Differ<'a> {
    fn structure(&self, shape: Option<&Shape>) -> Option<&'a Struct> {
        match (self.types, shape) {
            (Some(types), Some(Shape::Struct(id))) => Some(types.get(*id)),
            _ => None,
        }
    }

    fn fields(&self, of: Option<&Struct>, original: &Fields, modified: &Fields, current: &Fields) -> Fields {
        let mut patch = Fields::new();
        for (key, wanted) in modified {
            let field = of.and_then(|structure| structure.field(key));
            let before = original.get(key).unwrap_or(&Value::Null);
            match current.get(key) {
                None if wanted.is_null() => {}
                None => {
                    patch.insert(key.clone(), wanted.clone());
                }
                Some(present) => {
                    let shape = field.map(|field| &field.shape);
                    self.field(&mut patch, key, shape, [before, wanted, present]);
                    if field.is_some_and(|field| field.retain_keys)
                        && let (Some(Value::Object(inner)), Some(wanted)) =
                            (patch.get_mut(key), wanted.as_object())
                    {
                        let keys: Vec<&String> = wanted.keys().collect();
                        inner.insert("$retainKeys".into(), json!(keys));
                    } else if field.is_some_and(|field| field.retain_keys) {
                        retain_in_items(&mut patch, key, field, wanted);
                    }
                }
            }
        }
        for key in original.keys().filter(|key| !modified.contains_key(*key)) {
            patch.insert(key.clone(), Value::Null);
        }
        patch
    }

    fn field(
        &self,
        patch: &mut Fields,
        key: &str,
        shape: Option<&Shape>,
        [before, wanted, present]: [&Value; 3],
    ) {
        match (wanted, present) {
            (Value::Object(wanted), Value::Object(present)) => {
                let before = before.as_object().cloned().unwrap_or_default();
                let inner = match shape {
                    Some(Shape::Map(of)) => self.entries(&of.value, &before, wanted, present),
                    shape => self.fields(self.structure(shape), &before, wanted, present),
                };
                if !inner.is_empty() {
                    patch.insert(key.to_owned(), Value::Object(inner));
                }
            }
            (Value::Array(wanted), Value::Array(present)) => {
                let before = before.as_array().map(Vec::as_slice).unwrap_or_default();
                match shape {
                    Some(Shape::List(list)) if list.merge && list.merge_key.is_some() => {
                        let merge_key = list.merge_key.as_deref().unwrap_or_default();
                        let item = self.structure(Some(&list.item));
                        self.items(patch, key, (merge_key, item), [before, wanted, present]);
                    }
                    Some(Shape::List(list)) if list.merge => scalars(patch, key, [before, wanted, present]),
                    _ if wanted != present => {
                        patch.insert(key.to_owned(), wanted.clone().into());
                    }
                    _ => {}
                }
            }
            (wanted, present) if wanted != present => {
                patch.insert(key.to_owned(), wanted.clone());
            }
            _ => {}
        }
    }

    fn entries(&self, shape: &Shape, original: &Fields, modified: &Fields, current: &Fields) -> Fields {
        let mut patch = Fields::new();
        for (key, wanted) in modified {
            match current.get(key) {
                None => {
                    patch.insert(key.clone(), wanted.clone());
                }
                Some(present) => {
                    let before = original.get(key).unwrap_or(&Value::Null);
                    self.field(&mut patch, key, Some(shape), [before, wanted, present]);
                }
            }
        }
        for key in original.keys().filter(|key| !modified.contains_key(*key)) {
            patch.insert(key.clone(), Value::Null);
        }
        patch
    }

    /// Items that a key tells apart.
    fn items(
        &self,
        patch: &mut Fields,
        key: &str,
        (merge_key, item): (&str, Option<&Struct>),
        [before, wanted, present]: [&[Value]; 3],
    ) {
        let find = |items: &[Value], id: &Value| items.iter().find(|item| item[merge_key] == *id).cloned();
        let mut changes = Vec::new();
        for want in wanted {
            let id = &want[merge_key];
            let Some(Value::Object(there)) = find(present, id) else {
                changes.push(want.clone());
                continue;
            };
            let was = find(before, id).and_then(|was| was.as_object().cloned()).unwrap_or_default();
            let Value::Object(want) = want else { continue };
            let mut inner = self.fields(item, &was, want, &there);
            if !inner.is_empty() {
                inner.insert(merge_key.to_owned(), id.clone());
                changes.push(Value::Object(inner));
            }
        }
        for gone in before.iter().filter(|was| find(wanted, &was[merge_key]).is_none()) {
            changes.push(json!({"$patch": "delete", merge_key: gone[merge_key]}));
        }
        let ids = |items: &[Value]| -> Vec<Value> {
            let both = |item: &&Value| {
                find(wanted, &item[merge_key]).is_some() && find(present, &item[merge_key]).is_some()
            };
            items.iter().filter(both).map(|item| item[merge_key].clone()).collect()
        };
        if changes.is_empty() && ids(present) == ids(wanted) {
            return;
        }
        let order: Vec<Value> = wanted.iter().map(|want| json!({merge_key: want[merge_key]})).collect();
        patch.insert(format!("$setElementOrder/{key}"), order.into());
        if !changes.is_empty() {
            patch.insert(key.to_owned(), changes.into());
        }
    }
}

/// Of items that are changed, and not new, only the fields stay that are wanted: a volume has one source.
fn retain_in_items(patch: &mut Fields, key: &str, field: Option<&Field>, wanted: &Value) {
    let Some(Shape::List(list)) = field.map(|field| &field.shape) else { return };
    let (Some(merge_key), Some(Value::Array(changes))) = (list.merge_key.as_deref(), patch.get_mut(key))
    else {
        return;
    };
    for change in changes.iter_mut().filter(|change| change.get("$patch").is_none()) {
        let wanted =
            wanted.as_array().into_iter().flatten().find(|item| item[merge_key] == change[merge_key]);
        let Some(wanted) =
            wanted.and_then(Value::as_object).filter(|wanted| change.as_object() != Some(*wanted))
        else {
            continue;
        };
        let mut keys: Vec<&String> = wanted.keys().collect();
        keys.sort();
        change["$retainKeys"] = json!(keys);
    }
}

/// Values that are each in the list or not.
fn scalars(patch: &mut Fields, key: &str, [before, wanted, present]: [&[Value]; 3]) {
    let added: Vec<Value> = wanted.iter().filter(|value| !present.contains(value)).cloned().collect();
    let gone: Vec<Value> = before.iter().filter(|value| !wanted.contains(value)).cloned().collect();
    if added.is_empty() && gone.is_empty() {
        return;
    }
    patch.insert(format!("$setElementOrder/{key}"), wanted.to_vec().into());
    if !added.is_empty() {
        patch.insert(key.to_owned(), added.into());
    }
    if !gone.is_empty() {
        patch.insert(format!("$deleteFromPrimitiveList/{key}"), gone.into());
    }
}

#[cfg(test)]
mod tests {
    use api::GroupVersionKind;

    use super::*;

    #[test]
    fn what_others_set_stays_and_what_the_file_had_goes() {
        let original = json!({"spec": {"a": 1, "b": 1, "list": [1]}});
        let modified = json!({"spec": {"a": 2, "list": [1]}});
        let current = json!({"spec": {"a": 1, "b": 1, "default": 7, "list": [1]}});
        assert_eq!(merge(&original, &modified, &current), json!({"spec": {"a": 2, "b": null}}));
        assert_eq!(merge(&modified, &modified, &modified), json!({}));
    }

    fn of_pods(original: &Value, modified: &Value, current: &Value) -> Value {
        let schema =
            resources::schema_of_kind(&GroupVersionKind::new("", "v1", "Pod")).expect("a built-in kind");
        let spec = |spec: &Value| json!({"spec": spec});
        let (types, structure) = (schema.types(), schema.structure());
        strategic(types, structure, &spec(original), &spec(modified), &spec(current))["spec"].take()
    }

    #[test]
    fn a_volume_keeps_one_source() {
        let empty = json!({"volumes": [{"name": "a", "emptyDir": {}}]});
        let host = json!({"volumes": [{"name": "a", "hostPath": {"path": "/x"}}]});
        let patch = of_pods(&empty, &host, &empty);
        assert_eq!(patch["volumes"][0]["$retainKeys"], json!(["hostPath", "name"]));
        assert_eq!(patch["volumes"][0]["emptyDir"], Value::Null);
    }

    #[test]
    fn a_new_order_alone_is_a_change() {
        let one = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        let other = json!({"containers": [{"name": "b"}, {"name": "a"}]});
        let order = json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]});
        assert_eq!(of_pods(&one, &other, &one), order);
        let more = json!({"containers": [{"name": "a"}, {"name": "x"}, {"name": "b"}]});
        assert_eq!(of_pods(&one, &one, &more), Value::Null);
    }

    #[test]
    fn containers_are_told_apart_by_name() {
        let schema = resources::schema_of_kind(&GroupVersionKind::new("apps", "v1", "Deployment"))
            .expect("a built-in kind");
        let deployment =
            |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let original = deployment(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]));
        let modified = deployment(json!([{"name": "a", "image": "2"}]));
        let current = deployment(
            json!([{"name": "a", "image": "1", "imagePullPolicy": "Always"}, {"name": "b", "image": "1"}]),
        );
        let patch = strategic(schema.types(), schema.structure(), &original, &modified, &current);
        let pod = &patch["spec"]["template"]["spec"];
        assert_eq!(
            pod["containers"],
            json!([{"name": "a", "image": "2"}, {"$patch": "delete", "name": "b"}])
        );
        assert_eq!(pod["$setElementOrder/containers"], json!([{"name": "a"}]));
    }
}
