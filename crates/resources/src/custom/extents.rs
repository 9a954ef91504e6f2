//! How large values of a schema can be, for estimates of what rules cost. Source: upstream's
//! `k8s.io/apiserver/pkg/cel/common/schemas.go` and `cel/limits.go`.

use expressions::{Extent, Inside, ObjectType};

use super::structural::{Additional, Structural, Type};

/// The largest request.
pub(super) const REQUEST_BYTES: u64 = 3 * 1024 * 1024;
/// The shortest JSON of an empty text, list or object.
const EMPTY_BYTES: u64 = 2;

/// The extent of a schema's values, and the bytes of the shortest one's JSON. `whole`: an object with the fields that
/// all objects have.
pub(super) fn of(schema: &Structural, whole: bool) -> (Extent, u64) {
    let keywords = schema.keywords.as_deref();
    let most_characters = keywords.and_then(|keywords| keywords.max_length);
    let text = REQUEST_BYTES - 2;
    if schema.int_or_string {
        return (leaf(most_characters.map_or(text, |most| most.saturating_mul(4))), 1);
    }
    match schema.of_type {
        Some(Type::Array) => {
            let (items, least) =
                schema.items.as_deref().map_or((Extent::default(), 0), |items| of(items, items.embedded));
            let fit = text / (least + 1);
            let most = keywords.and_then(|keywords| keywords.max_items).unwrap_or(fit);
            (Extent { most, inside: Inside::Items(Box::new(items)) }, EMPTY_BYTES)
        }
        Some(Type::Object) => match &schema.additional {
            Additional::Of(values) => {
                let (values, least) = of(values, values.embedded);
                let most =
                    keywords.and_then(|keywords| keywords.max_properties).unwrap_or(text / (least + 6));
                (Extent { most, inside: Inside::Values(Box::new(values)) }, EMPTY_BYTES)
            }
            _ => object(schema, whole || schema.embedded),
        },
        Some(Type::String) => {
            let format = keywords.map_or("", |keywords| &*keywords.format);
            match format {
                "duration" => (leaf(32), 3),
                "date" => (leaf(12), 12),
                "date-time" => (leaf(32), 21),
                "byte" => (leaf(most_characters.unwrap_or(text)), EMPTY_BYTES),
                _ => (leaf(characters(schema)), EMPTY_BYTES),
            }
        }
        Some(Type::Boolean) => (leaf(0), 4),
        Some(Type::Integer | Type::Number) => (leaf(0), 1),
        None => (leaf(text), 1),
    }
}

/// The most bytes of a text: a character has up to four.
fn characters(schema: &Structural) -> u64 {
    let Some(keywords) = schema.keywords.as_deref() else { return REQUEST_BYTES - 2 };
    if let Some(most) = keywords.max_length {
        return most.saturating_mul(4);
    }
    let longest =
        keywords.values.iter().filter_map(|value| value.as_str()).map(|text| text.len() as u64).max();
    if keywords.values.is_empty() { REQUEST_BYTES - 2 } else { longest.unwrap_or(0) }
}

fn object(schema: &Structural, whole: bool) -> (Extent, u64) {
    let mut fields = std::collections::BTreeMap::new();
    let mut least = EMPTY_BYTES;
    let required = schema.keywords.as_deref().map_or(&[][..], |keywords| &keywords.required);
    for (name, below) in &schema.properties {
        let (extent, bytes) = of(below, below.embedded);
        if below.default.is_none() && required.contains(name) {
            least = least.saturating_add(name.len() as u64).saturating_add(bytes).saturating_add(4);
        }
        if let Some(name) = ObjectType::escaped(name) {
            fields.insert(name, extent);
        }
    }
    if whole {
        let text = || leaf(REQUEST_BYTES - 2);
        let names = ["name", "generateName"].map(|name| (name.to_owned(), text()));
        let metadata = Extent { most: 0, inside: Inside::Fields(names.into_iter().collect()) };
        for (name, extent) in [("apiVersion", text()), ("kind", text()), ("metadata", metadata)] {
            fields.insert(name.to_owned(), extent);
        }
    }
    (Extent { most: 0, inside: Inside::Fields(fields) }, least)
}

fn leaf(most: u64) -> Extent {
    Extent { most, inside: Inside::Nothing }
}
